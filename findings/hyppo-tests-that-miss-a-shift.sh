#!/usr/bin/env bash
# hyppo 0.5.2, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, numba 0.68.1, others of the same day, Python 3.11.
#
# Input: three two-sample tests of hyppo.ksample. FriedmanRafsky: 50 draws of N(0, I) in four dimensions beside 50 moved
# by 0, 1 and 3 in each. Hotelling: two samples in one dimension, in three units. MANOVA: 200 pairs of samples of 50 in
# eight dimensions, from N(0, I), as they are and with one dimension of the second moved by two standard deviations.
# One would expect: a small p-value where the samples are apart; in one dimension Hotelling's is near that of the t test
# in every unit; p-values of equal distributions spread over 0 to 1, and a shift that large is found each time.
# What happens: FriedmanRafsky counts runs, of which samples apart have few, and its p-value is the share of
# permutations with as many or more. In one dimension Hotelling does not divide by the variance. MANOVA adds the squared
# length of a vector to every entry of a matrix, in place of the vector's outer product, so it sees total variance only.
# Seen: FriedmanRafsky has 2 runs for samples 3 apart, a statistic of -10 and a p-value of 1.0; labels as a column,
# which its documentation asks for, give NaN and 1.0 for any samples. Hotelling has 0.97, 0.0004 and 3e-155 in three
# units, the t test 0.0009 in each. MANOVA has 0.95 or more for equal distributions and misses 93 % of the shifts;
# Hotelling's statistic, the same test for two samples, finds all.
#
# What our library does: it has none of the three. The p-value of label_information is the rank of its estimate, which
# rises with dependence, among those of permuted labels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 numba==0.68.1 hyppo==0.5.2
cd "$work"
cat > look.py <<'PY'
import warnings

import numpy as np

warnings.simplefilter("ignore")
from hyppo.ksample import MANOVA, FriedmanRafsky, Hotelling  # noqa: E402
from scipy.stats import ttest_ind  # noqa: E402

labels = np.repeat([0, 1], 50)
rng = np.random.default_rng(0)
for shift in (0.0, 1.0, 3.0):
    both = rng.standard_normal((100, 4)) + shift * labels[:, None]
    statistic, p_value, runs = FriedmanRafsky().test(both, labels, reps=500, random_state=1)
    print(f"Friedman-Rafsky, moved by {shift}: {runs} runs, statistic {statistic:.1f}, p-value {p_value:.3f}")
    assert shift == 0 or (statistic < -4 and p_value > 0.99)
    statistic, p_value, runs = FriedmanRafsky().test(both, labels[:, None], reps=20, random_state=1)
    print(f"  labels as a column: {runs} runs, statistic {statistic}, p-value {p_value}")
    assert np.isnan(statistic) and p_value == 1

first, second = rng.standard_normal((50, 1)), rng.standard_normal((50, 1)) + 0.5
for unit, low, high in ((0.01, 0.9, 1), (1.0, 1e-4, 1e-3), (100.0, 0, 1e-50)):
    p_value = float(np.squeeze(Hotelling().test(first * unit, second * unit)[1]))
    student = float(ttest_ind(first * unit, second * unit).pvalue.item())
    print(f"Hotelling in one dimension, unit {unit}: p-value {p_value:.2g}; t test {student:.2g}")
    assert low <= p_value <= high and 8e-4 < student < 1e-3

equal, moved, hotelling = [], [], []
for seed in range(200):
    first, second = np.random.default_rng(seed).standard_normal((2, 50, 8))
    equal.append(MANOVA().test(first, second)[1])
    second[:, 0] += 2
    moved.append(MANOVA().test(first, second)[1])
    hotelling.append(Hotelling().test(first, second)[1])
print(f"MANOVA, equal distributions: p-values of {min(equal):.3f} to {max(equal):.3f}")
found, known = (np.mean(np.array(values) < 0.05).item() for values in (moved, hotelling))
print(f"share of shifts found: MANOVA {found:.3f}, Hotelling {known:.3f}")
assert min(equal) > 0.9 and found < 0.15 and known == 1
PY
"$work/env/bin/python" look.py
