#!/usr/bin/env bash
# gmr 2.0.3, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: 4,000 draws of the normal distribution N(0, I), and gmr's MVN with that mean and covariance.
# One would expect: 90 % of the draws are in the confidence region of 0.9.
# What happens: gmr compares the squared distance with the chi-squared law of D - 1 degrees of freedom, so the region is
# too small, most in the plane. In one dimension it takes the variance for the standard deviation, which is right for
# the variance 1 only. Draws of sample_confidence_region are cut off at the same distance.
# Seen: 0.75 in two dimensions, 0.85 in eight, 0.87 in sixteen; in one 0.90, and 1.00 of draws of variance 4.
#
# What our library does instead: its p-values are ranks among ordinary images, and assume no law of the distances.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 gmr==2.0.3
cd "$work"
cat > look.py <<'PY'
import numpy as np
from gmr import MVN
from scipy.stats import chi2

rng = np.random.default_rng(0)
for dimensions in (1, 2, 8, 16):
    normal = MVN(mean=np.zeros(dimensions), covariance=np.eye(dimensions))
    draws = rng.standard_normal((4000, dimensions))
    inside = np.mean([normal.is_in_confidence_region(draw, 0.9) for draw in draws])
    implied = chi2(dimensions).cdf(chi2(max(dimensions - 1, 1)).ppf(0.9))
    print(f"{dimensions} dimensions: {inside:.3f} of the draws are in the region of 0.9; D - 1 implies {implied:.3f}")
    assert abs(inside - implied) < 0.02 and (dimensions == 1 or inside < 0.88)
wide = MVN(mean=np.zeros(1), covariance=4 * np.eye(1))
inside = np.mean([wide.is_in_confidence_region(draw, 0.9) for draw in 2 * rng.standard_normal((4000, 1))])
print(f"1 dimension, variance 4: {inside:.3f}")
assert inside > 0.99
normal = MVN(mean=np.zeros(2), covariance=np.eye(2), random_state=0)
distances = (normal.sample_confidence_region(2000, 0.5) ** 2).sum(axis=1)
print(f"largest squared distance of draws of the region of 0.5: {distances.max():.3f}, not {chi2(2).ppf(0.5):.3f}")
assert distances.max() < 0.5
PY
"$work/env/bin/python" look.py
echo "as described"
