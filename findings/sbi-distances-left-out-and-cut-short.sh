#!/usr/bin/env bash
# sbi 0.27.0, torch 2.13.0 (CPU), numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, Python 3.11.
#
# Input: Distance of sbi, the distances of its ABC. "l2" of simulations to an observation, in batches of 10, with
# batch_size; the same in MCABC, with distance_batch_size=300 for 1,000 simulations. Then the squared 2-Wasserstein
# distance of 40 draws of N(0, I) and 40 of N(1, I), in one and two dimensions, with its defaults.
# One would expect: batches save memory and change no distance. The Wasserstein distance is near the exact one, as its
# regularisation is small; otherwise there is the warning that its source has for iterations that did not converge.
# What happens: the number of whole batches is counted one too low. It is right where the simulations divide by the
# batch; elsewhere the last whole batch is left out, and its distances are what was in memory before. Zeros are common
# there, and are accepted by any threshold. Sinkhorn's algorithm stops after 1,000 steps, long before it converges with
# the default epsilon of 0.001. Its plan then leaves rows out, those far away, so the distance is too small. The test
# for the warning comes after the last step only, so it is never true.
# Seen: of 25 simulations the 11th to the 20th have no distance; of 1,000 in batches of 300 it is 300. The Wasserstein
# distance is 0.34 and 1.73 in place of 1.30 and 3.97, without a warning; with epsilon=0.1, 1.34 and 4.02.
#
# What our library does: a test compares the squared discrepancy mmd2 in blocks with that of the whole. It has no
# Sinkhorn divergence; its sliced distances sort numbers, which is exact in each direction.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 matplotlib==3.11.2 \
  tensorboard==2.21.0 skorch==1.4.0 tqdm==4.70.1 setuptools==84.2.1
"$work/env/bin/pip" install --quiet --no-deps sbi==0.27.0 zuko==1.6.0 nflows==0.14
cd "$work"
cat > look.py <<'PY'
import warnings

import torch
from scipy.optimize import linear_sum_assignment
from sbi.inference import MCABC
from sbi.utils.metrics import Distance, regularized_ot_dual, wasserstein_2_squared

# memory that nothing was written to is NaN, so that it can be seen
torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
observed = torch.zeros(1, 2)
for number in (20, 25, 39, 40):
    simulated = torch.randn(number, 2)
    whole = Distance("l2")(observed, simulated)
    parts = Distance("l2", batch_size=10)(observed, simulated)
    missing = parts.isnan().nonzero().flatten().tolist()
    print(f"{number} simulations, batches of 10: no distance for {len(missing)}", missing[:1], "to", missing[-1:])
    assert len(missing) == (10 if number % 10 else 0)
    assert torch.equal(parts[~parts.isnan()], whole[~parts.isnan()])

handed = []


def distance(x_o, x):
    handed.append(len(x))
    return (x - x_o).norm(dim=-1)


prior = torch.distributions.Independent(torch.distributions.Uniform(torch.zeros(2), torch.ones(2)), 1)
abc = MCABC(
    lambda theta: theta + 0.1 * torch.randn_like(theta),
    prior,
    distance=distance,
    requires_iid_data=False,
    distance_batch_size=300,
    show_progress_bars=False,
)
abc(torch.full((1, 2), 0.5), num_simulations=1000, quantile=0.1)
print("MCABC, 1,000 simulations, batches of 300: batches handed to the distance", handed)
assert sum(handed) == 700

for dimensions in (1, 2):
    one, other = torch.randn(40, dimensions), torch.randn(40, dimensions) + 1
    cost = torch.cdist(one, other) ** 2
    rows, columns = linear_sum_assignment(cost.numpy())
    exact = cost[rows, columns].mean().item()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = {epsilon: wasserstein_2_squared(one, other, epsilon=epsilon).item() for epsilon in (1e-3, 1e-1)}
        plan = regularized_ot_dual(torch.ones(40) / 40, torch.ones(40) / 40, cost)
    misplaced = (plan.sum(1) - 1 / 40).abs().sum().item() / 2
    print(f"{dimensions} dimensions: exact {exact:.2f}; by epsilon", {k: round(v, 2) for k, v in found.items()})
    print(f"    mass that the plan leaves out: {misplaced:.2f}; warnings: {[str(c.message) for c in caught]}")
    assert found[1e-3] < 0.5 * exact and misplaced > 0.2 and not caught
    assert abs(found[1e-1] / exact - 1) < 0.15
PY
"$work/env/bin/python" look.py 2>/dev/null
