#!/usr/bin/env bash
# gmm-mi 0.8.2, scikit-learn 1.5.2, numpy 2.2.6, scipy 1.15.3, Python 3.11.
#
# Input: 1,000 codes of one dimension with a label of 0 or 1, of which 50 %, 10 % and 5 % are 1, and the mutual
# information of code and label by fit_estimate_categorical. The classes are N(0, 1) and N(m, 1), with m of 10 and of 2.
# Then one EstimateMI for three pairs of codes, with correlations of 0.6, 0.99 and 0, one fit_estimate after the other.
# One would expect: about the value of the integral; for m = 10, where the code tells the label, the entropy of the
# labels, which is the most that there is. And three values for three pairs.
# What happens: the labels are only used to part the codes. Each class then counts the same in the integral, however
# many codes it has, which no docstring says. So any two classes that are apart share log 2, which is more than the
# entropy of the labels. And a second fit returns at once without a word, so that each further pair has the mutual
# information of the first.
# Seen: for m = 10 0.693 three times, where the entropies are 0.693, 0.325 and 0.199; for m = 2 0.33, 0.34 and 0.46,
# where the integral is 0.34, 0.14 and 0.08. For the three pairs 0.21, then 0.22 for the correlations 0.99 and 0, where
# new estimators find 2.02 and 0.00.
#
# What our library does: `label_information` counts each label as often as it comes, and a test compares it with the
# integral for two classes. It is a function of what it is given, and keeps no fit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.2.6 scipy==1.15.3 scikit-learn==1.5.2 tqdm==4.70.1
"$work/env/bin/pip" install --quiet --no-deps gmm-mi==0.8.2
cd "$work"
cat > look.py <<'PY'
import numpy as np
from gmm_mi.mi import EstimateMI
from gmm_mi.param_holders import MIDistParamHolder
from scipy.stats import norm

rng = np.random.default_rng(0)
once = MIDistParamHolder(n_bootstrap=0, MC_samples=20_000)
grid = np.linspace(-10, 20, 30_001)
for mean in (10, 2):
    for count in (500, 100, 50):
        labels = np.repeat([0, 1], [1000 - count, count])
        codes = rng.normal(size=1000) + mean * labels
        found = EstimateMI().fit_estimate_categorical(codes, labels, mi_dist_params=once)[0]
        shares = np.array([[1 - count / 1000], [count / 1000]])
        classes = norm.pdf(grid, np.array([[0], [mean]]))
        right = (shares * classes * (np.log(classes) - np.log((shares * classes).sum(0)))).sum() * (grid[1] - grid[0])
        entropy = -(shares * np.log(shares)).sum()
        print(f"m = {mean}, {count / 10:.0f} % of label 1: {found:.3f}; integral {right:.3f}, entropy {entropy:.3f}")
        if mean == 10:
            assert abs(found - np.log(2)) < 1e-3 and abs(right - entropy) < 1e-3
        elif count == 500:
            assert abs(found - right) < 0.06
        else:
            assert found > 2 * right

one = EstimateMI()
values = []
for correlation in (0.6, 0.99, 0.0):
    codes = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 500)
    value = one.fit_estimate(codes, mi_dist_params=once)[0]
    alone = EstimateMI().fit_estimate(codes, mi_dist_params=once)[0]
    right = abs(np.log(1 - correlation**2)) / 2
    print(f"correlation {correlation}: {value:.2f} by one estimator, {alone:.2f} by a new one; exact {right:.2f}")
    assert abs(alone - right) < 0.1
    values.append(value)
assert np.ptp(values) < 0.05
PY
"$work/env/bin/python" look.py 2>/dev/null
