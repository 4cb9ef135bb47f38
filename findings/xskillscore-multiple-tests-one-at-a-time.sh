#!/usr/bin/env bash
# xskillscore 0.0.29, statsmodels 0.15.0, xarray 2026.9.0, numpy 2.3.5, scipy 1.17.1, pandas 3.1.1, Python 3.11.
#
# Input: `multipletests`, which corrects p-values of many tests, such as one for each pixel of an image or each code. It
# is given 64 p-values that are spread evenly over 0 to 1, as no effect at all gives them, as a list and as a grid of 8
# by 8, with a level of 0.05 and three methods.
# One would expect: what statsmodels gives for the 64, since it is what does the work: no p-value is rejected, the
# smallest one is corrected from 0.008 to 0.5, and Bonferroni's level is 0.05 / 64 = 0.0008.
# What happens: the function of statsmodels is applied to each number by itself, as to a family of one test. So nothing
# is corrected, whatever the method, and levels are those of one test. The warning of NumPy that would tell of it is
# suppressed. Examples in its own documentation have a level of Bonferroni of 0.1 for nine tests at 0.1. With numpy 2.4
# the same call raises a ValueError.
# Seen: corrected p-values are the p-values, the level is 0.05, and 3 of 64 are rejected, with each method and shape.
#
# What our library does: it corrects nothing with xskillscore. Give p.values.ravel() to statsmodels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet xskillscore==0.0.29 statsmodels==0.15.0 xarray==2026.9.0 numpy==2.3.5 \
    scipy==1.17.1 pandas==3.1.1
cd "$work"
cat > look.py <<'PY'
import warnings

import numpy as np
import xarray as xr
import xskillscore as xs
from statsmodels.stats.multitest import multipletests

warnings.simplefilter("ignore")
even = (np.random.default_rng(0).permutation(64) + 0.5) / 64
for name, values in (("a list of 64", even), ("a grid of 8 x 8", even.reshape(8, 8))):
    p = xr.DataArray(values, dims=("row", "column")[: values.ndim])
    for method in ("bonferroni", "holm", "fdr_bh"):
        rejected, corrected, _, level = xs.multipletests(p, 0.05, method=method, return_results="all_as_tuple")
        due = multipletests(even, 0.05, method=method)
        print(f"{name}, {method}: rejected {int(rejected.sum())}, smallest p {float(corrected.min()):.4f},", end=" ")
        print(f"level {float(level.max()):.4f}; of all at once {due[0].sum()}, {due[1].min():.4f}, {due[3]:.4f}")
        assert np.allclose(corrected, values) and np.array_equal(rejected, values <= 0.05) and np.allclose(level, 0.05)
        assert int(rejected.sum()) == 3
        assert due[0].sum() == 0 and due[1].min() > 0.4 and np.isclose(due[3], 0.05 / 64)
PY
"$work/env/bin/python" look.py
