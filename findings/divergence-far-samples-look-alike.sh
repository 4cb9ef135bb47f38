#!/usr/bin/env bash
# divergence 1.1.0, statsmodels 0.15.0, numpy 2.4.6, scipy 1.17.1, pandas 2.3.3, numba 0.68.1, Python 3.11.
#
# Input: 1,000 draws of N(0, 1) and as many of N(m, 1), for m of 1, 3, 6 and 20, as one dimension of codes that drifts
# from its prior; the divergences that the package estimates from kernel densities of two samples.
# One would expect: the further apart, the larger each of them. Total variation goes to 1 and the squared Hellinger
# distance to 2, their bounds in the docstrings; both, and Jeffreys' divergence, are the same for exchanged samples.
# What happens: the integrals run over the grid of one sample's density, the longer grid or, if both are of one length,
# which samples of one size have, the first. What the other has outside of it does not count. So measures fall as
# samples part: far apart, half of each bounded one is left, Jeffreys, chi-squared and Renyi are 0, as for equal
# samples, and the Kullback-Leibler divergence, cut to the overlap, is negative first and then an error.
# Seen for m of 1, 3, 6 and 20: total variation 0.38, 0.75, 0.51, 0.50; squared Hellinger 0.24, 1.12, 1.01, 1.00;
# Jeffreys 1.0, 5.7, 0.2, 0; chi-squared 1.5, 274, 5.2, 0; Renyi of order 2 0.9, 5.6, 1.7, 0; Kullback-Leibler 0.4,
# 2.5, -1.3, an error. SciPy's densities have a total variation of 0.39, 0.86, 1.00 and 1.00. A wide and a narrow
# sample have 0.82, exchanged 0.45.
#
# What our library does: its divergence of samples is by nearest neighbours, without a grid; a shift makes it grow.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 statsmodels==0.15.0 numba==0.68.1 \
  cubature==0.18.8
"$work/env/bin/pip" install --quiet --no-deps divergence==1.1.0
cd "$work"
cat > look.py <<'PY'
import divergence
import numpy as np
from scipy.stats import gaussian_kde

MEASURES = {
    "total variation": divergence.total_variation_distance,
    "squared Hellinger": divergence.squared_hellinger_distance,
    "Jeffreys": divergence.jeffreys_divergence,
    "chi-squared": divergence.chi_squared_divergence,
    "Renyi, order 2": lambda p, q: divergence.renyi_divergence(p, q, alpha=2),
}
SHIFTS = (1, 3, 6, 20)
assert "in [0, 1]" in divergence.total_variation_distance.__doc__
assert "**Symmetric**" in divergence.total_variation_distance.__doc__


def kullback_leibler(p, q):
    try:
        return divergence.continuous_relative_entropy_from_sample(p, q)
    except ValueError as error:
        assert "does not overlap" in str(error)
        return np.nan


rng = np.random.default_rng(0)
first = rng.standard_normal(1000)
second = rng.standard_normal(1000)
found = {name: [measure(first, second + m) for m in SHIFTS] for name, measure in MEASURES.items()}
found["Kullback-Leibler"] = [kullback_leibler(first, second + m) for m in SHIFTS]
for name, values in found.items():
    print(f"{name}:", [round(float(value), 3) for value in values])
grid = np.linspace(-6, 30, 20_001)
densities = [[gaussian_kde(x)(grid) for x in (first, second + m)] for m in SHIFTS]
exact = [np.trapezoid(np.abs(p - q), grid) / 2 for p, q in densities]
print("total variation by SciPy's kernel densities:", [round(float(value), 3) for value in exact])
assert exact == sorted(exact) and exact[2] > 0.98 and exact[3] > 0.999
assert abs(found["total variation"][2] - 0.51) < 0.02 and abs(found["total variation"][3] - 0.5) < 0.01
assert found["total variation"][1] > 0.7 > found["total variation"][2]
assert abs(found["squared Hellinger"][3] - 1) < 0.01 and found["squared Hellinger"][1] > 1.1
for name in ("Jeffreys", "chi-squared", "Renyi, order 2"):
    assert found[name][1] > found[name][2] > found[name][3] == 0, name
assert found["Kullback-Leibler"][1] > 1 > 0 > found["Kullback-Leibler"][2] > -2
assert np.isnan(found["Kullback-Leibler"][3])
# the grid is the first sample's, so exchanged samples differ
narrow = 0.5 + 0.1 * second
pair = [divergence.total_variation_distance(*samples) for samples in ((first, narrow), (narrow, first))]
right = np.abs(gaussian_kde(first)(grid) - gaussian_kde(narrow)(grid))
right = np.trapezoid(right, grid) / 2
print(f"total variation of a wide and a narrow sample: {pair[0]:.3f}, exchanged {pair[1]:.3f}; by SciPy's {right:.3f}")
assert abs(pair[0] - right) < 0.05 and pair[1] < right - 0.2
PY
"$work/env/bin/python" -W ignore look.py
