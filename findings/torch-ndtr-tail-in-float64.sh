#!/usr/bin/env bash
# torch 2.13.0 on the CPU, scipy 1.17.1, Python 3.11.
#
# Input: the normal distribution function, torch.special.ndtr, of float64 values in a tail that float64 holds easily.
# One would expect: SciPy's values to a dozen digits, since torch.special.log_ndtr, torch.special.ndtri and torch.erfc
# have them.
# What happens: ndtr loses its digits as 1 + erf does: at -8 two digits are left, from about -8.3 on it is exactly 0,
# and ndtri(ndtr(x)) is minus infinity.
# Seen: ndtr(-8) = 6.106e-16 (SciPy 6.221e-16), ndtr(-9) = 0.0 (SciPy 1.129e-19), ndtri(ndtr(-9)) = -inf.
#
# What our library does instead: entropic_ae/transports takes tails from erfc and log_ndtr.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 scipy==1.17.1 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import math

import scipy.special
import torch


def double(x):
    return torch.tensor(x, dtype=torch.float64)


for x in (-8.0, -9.0):
    ours, theirs = torch.special.ndtr(double(x)).item(), scipy.special.ndtr(x)
    print(f"ndtr({x}):", ours, "SciPy:", theirs)
    assert abs(ours / theirs - 1) > 0.01
    for same in (torch.special.log_ndtr(double(x)).exp().item(), torch.erfc(double(-x / math.sqrt(2))).item() / 2):
        assert math.isclose(same, theirs, rel_tol=1e-12)
assert torch.special.ndtr(double(-9.0)).item() == 0.0
assert math.isclose(torch.special.ndtri(double(1e-50)).item(), scipy.special.ndtri(1e-50), rel_tol=1e-12)
print("ndtri(ndtr(-9)):", torch.special.ndtri(torch.special.ndtr(double(-9.0))).item())
assert torch.special.ndtri(torch.special.ndtr(double(-9.0))).item() == -math.inf
PY
"$work/env/bin/python" look.py
