#!/usr/bin/env bash
# torch 2.13.0 on the CPU, scipy 1.17.1, Python 3.11.
#
# Input: the normal distribution function and its inverse, torch.special.ndtr and torch.special.ndtri, of float64
# values in a tail that float64 holds easily.
# One would expect: SciPy's values to a dozen digits, since torch.special.log_ndtr and torch.erfc have them.
# What happens: ndtr is (1 + erf) / 2, so it has no digits left at -8 and is exactly 0 from about -8.3 on; ndtri has
# the accuracy of float32 (5e-11 off at 1e-15) and is minus infinity for a probability of 1e-50.
# Seen: ndtr(-9) = 0.0 (SciPy 1.13e-19), ndtri(1e-50) = -inf (SciPy -14.93).
#
# What our library does instead: entropic_ae/priors.py takes tails from erfc and log_ndtr, and refines ndtri by Newton's
# steps on log_ndtr.
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


ours = torch.special.ndtr(double(-9.0)).item()
theirs = scipy.special.ndtr(-9.0)
print("ndtr(-9):", ours, "SciPy:", theirs)
assert ours == 0.0 and 1.1e-19 < theirs < 1.2e-19
assert math.isclose(torch.special.log_ndtr(double(-9.0)).exp().item(), theirs, rel_tol=1e-12)
assert math.isclose(torch.erfc(double(9.0 / math.sqrt(2))).item() / 2, theirs, rel_tol=1e-12)

near, far = torch.special.ndtri(double(1e-15)).item(), torch.special.ndtri(double(1e-50)).item()
print("ndtri(1e-15):", near, "SciPy:", scipy.special.ndtri(1e-15))
print("ndtri(1e-50):", far, "SciPy:", scipy.special.ndtri(1e-50))
assert 1e-11 < abs(near - scipy.special.ndtri(1e-15)) < 1e-8
assert far == -math.inf and -15 < scipy.special.ndtri(1e-50) < -14.9
PY
"$work/env/bin/python" look.py
