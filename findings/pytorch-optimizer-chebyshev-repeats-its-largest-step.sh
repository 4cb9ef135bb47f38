#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: get_chebyshev_schedule(optimizer, num_epochs) around torch.optim.SGD with a learning rate of 1, one step an
# epoch, on a quadratic function of 2,001 dimensions with curvatures from 0.05 to 1, the interval that the schedule has
# by default. All errors are 1 at the start. The multipliers are reciprocal nodes of the Chebyshev polynomial.
# One would expect: after n steps the largest error is 1 / T_n(1.05 / 0.95), the least that n steps can have, whatever
# their order: 0.0525 after 8, 0.00138 after 16, 0.00000095 after 32. The best constant rate has 0.45, 0.20, 0.041.
# What happens: the multiplier of an epoch is looked up at epoch - 2, and at 0 below that. So the epochs 0, 1 and 2 all
# have the first multiplier, the largest of all, nearly 20, and the last two are never used. An error of curvature 1
# grows by a factor of about 18 three times, and the factors that would undo it are two fewer. For a number of epochs
# that is no power of two, the multipliers are those of the next power, so that more are left out. And
# get_chebyshev_perm_steps itself, which is right for powers of two, gives too few for a number one or two above a
# power. Nothing is reported.
# Seen, of the largest error after 8, 16 and 32 epochs: 64, 4.7 and 0.0067. The steps of get_chebyshev_perm_steps have
# 0.0525, 0.00138 and 0.00000095, as expected; for 9 and 10 it gives 8 steps, for 17 and 18 it gives 16.
#
# What our library does: it has no such schedule. Here, put the multipliers in a LambdaLR: steps =
# get_chebyshev_perm_steps(n) with n a power of two, and LambdaLR(optimizer, lambda epoch: steps[min(epoch, n - 1)]).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps pytorch_optimizer==4.1.0
cd "$work"
cat > look.py <<'PY'
import math

import torch
from pytorch_optimizer import get_chebyshev_perm_steps, get_chebyshev_schedule
from torch.optim.lr_scheduler import LambdaLR

torch.set_num_threads(1)
curvatures = torch.linspace(0.05, 1, 2001, dtype=torch.float64)


def largest_error(number, schedule):
    errors = torch.nn.Parameter(torch.ones_like(curvatures))
    optimizer = torch.optim.SGD([errors], lr=1.0)
    scheduler = schedule(optimizer)
    rates = []
    for _ in range(number):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        (0.5 * curvatures * errors**2).sum().backward()
        optimizer.step()
        scheduler.step()
    return errors.abs().max().item(), rates


for number, least in ((8, 60), (16, 4), (32, 0.006)):
    bound = 1 / math.cosh(number * math.acosh(1.05 / 0.95))
    constant = largest_error(number, lambda optimizer: LambdaLR(optimizer, lambda epoch: 2 / 1.05))[0]
    steps = get_chebyshev_perm_steps(number)
    right, right_rates = largest_error(
        number, lambda optimizer, n=number, s=steps: LambdaLR(optimizer, lambda epoch: s[min(epoch, n - 1)])
    )
    found, rates = largest_error(number, lambda optimizer, n=number: get_chebyshev_schedule(optimizer, n))
    print(f"{number} epochs: largest error {found:.2g}, with all multipliers {right:.3g}, bound {bound:.3g},", end=" ")
    print(f"constant rate {constant:.2g}; first rates", ", ".join(f"{rate:.2f}" for rate in rates[:5]))
    assert found > least and math.isclose(right, bound, rel_tol=1e-3) and bound < constant < least * 10
    assert rates[0] == rates[1] == rates[2] == max(right_rates) and rates[3:] == right_rates[1:-2]
for number in (9, 10, 17, 18):
    print(f"{len(get_chebyshev_perm_steps(number))} multipliers for {number} epochs")
    assert len(get_chebyshev_perm_steps(number)) == (8 if number < 16 else 16)
PY
"$work/env/bin/python" look.py
