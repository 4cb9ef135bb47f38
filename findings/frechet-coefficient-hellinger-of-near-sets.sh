#!/usr/bin/env bash
# frechet-coefficient 2.0.13, numpy 2.4.6, Python 3.11.
#
# Input: hellinger_distance of frechet-coefficient, which takes means and covariances: of N(0, 1) and N(m, 1) for m of
# 0.1, 0.5 and 1; and of N(0, v I) and itself in 16 dimensions, for v of 1, 0.1 and 0.01.
# One would expect: for the first sqrt(1 - exp(-m^2 / 8)), or its square; for the second 0.
# What happens: the exponent is divided by one eighth where it should be multiplied by it, so it is 64 times too large.
# The determinants of the factor before it have 1e-7 added to their root, which is more than the root itself where
# variances are small; and the result is the square of the distance.
# Seen: 0.077, 0.86 and 0.9997, where the squared distances are 0.0012, 0.031 and 0.12. A set has distances of 0.00,
# 0.91 and 1.00 from itself. Its documentation warns of small sets and large matrices, and these have neither.
#
# What our library does: it has no Hellinger distance; tests have the Frechet distance of known normal distributions and
# of a set to itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 imageio==2.37.3
"$work/env/bin/pip" install --quiet --no-deps frechet-coefficient==2.0.13
cd "$work"
cat > look.py <<'PY'
import sys
import types

# The package looks for a network library when it is imported; these functions use none.
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
networks = types.ModuleType("frechet_coefficient.models_tensorflow")
networks.PretrainedModelWrapper = object
sys.modules["frechet_coefficient.models_tensorflow"] = networks
import numpy as np  # noqa: E402
from frechet_coefficient import hellinger_distance  # noqa: E402

one = np.eye(1)
for shift in (0.1, 0.5, 1.0):
    seen = hellinger_distance(np.zeros(1), one, np.full(1, shift), one)
    squared = 1 - np.exp(-(shift**2) / 8)
    print(f"means {shift} apart: {seen:.4f}; Hellinger distance {squared**0.5:.4f}, squared {squared:.4f}")
    assert abs(seen - (1 - np.exp(-8 * shift**2))) < 1e-6
for variance in (1.0, 0.1, 0.01):
    covariance = variance * np.eye(16)
    seen = hellinger_distance(np.zeros(16), covariance, np.zeros(16), covariance)
    print(f"from itself in 16 dimensions, variance {variance}: {seen:.4f}")
    assert abs(seen - 1e-7 / (variance**8 + 1e-7)) < 1e-6
PY
"$work/env/bin/python" look.py
