#!/usr/bin/env bash
# alibi-detect 0.13.0, numpy 1.26.4, scipy 1.14.1, scikit-learn 1.9.1, Python 3.11.
#
# Input: 4,000 codes from N(0, I) in 8 dimensions for `Mahalanobis`, a detector of outliers that keeps the mean and the
# covariance of all that it has seen. The same codes are given in the same order, in batches of 100, of 2 and of 1, all
# of them, or after 1,000 of them were given to `infer_threshold` for 5 % outliers. The last 2,000 scores are counted.
# One would expect: the same scores, squared distances with a mean of 8, whatever the batches. Within a batch the mean
# and the covariance go on with each code.
# What happens: the sum of squares is divided by n + m - 1, where n codes were seen and m are new, but by n + 1 for one
# new code. So each call with one code takes a little off the covariance, which comes to half of the right one. Scores
# are twice as large, and codes are clipped at 3 deviations that are too small. Nothing is reported.
# Seen: in batches of 100 or 2 a variance of 0.99, a mean score of 8.1, and 5 % above the quantile of 0.95; one at a
# time a variance of 0.46, a mean score of 17.5, and 52 %. With the inferred threshold 3 % and 33 %.
#
# What our library does: it has no detector that goes on learning. Give this one two codes or more at a time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet alibi-detect==0.13.0 numpy==1.26.4 scipy==1.14.1 scikit-learn==1.9.1
cd "$work"
cat > look.py <<'PY'
import logging

import numpy as np
from alibi_detect.od import Mahalanobis
from scipy.stats import chi2

logging.disable(logging.WARNING)
dimensions = 8
codes = np.random.default_rng(0).normal(size=(4000, dimensions))
quantile = chi2(dimensions).ppf(0.95)
exact = (codes**2).sum(axis=1)
print(f"exact: mean score {exact[2000:].mean():.1f}, above the quantile {(exact[2000:] > quantile).mean():.3f}")
found = {}
for size in (100, 2, 1):
    detector = Mahalanobis(threshold=quantile, n_components=dimensions)
    scores = np.concatenate([detector.score(codes[start : start + size]) for start in range(0, 4000, size)])[2000:]
    variance = np.diag(detector.C).mean()

    detector = Mahalanobis(n_components=dimensions)
    detector.infer_threshold(codes[:1000], threshold_perc=95)
    parts = [detector.predict(codes[start : start + size])["data"] for start in range(1000, 4000, size)]
    outliers = np.concatenate([part["is_outlier"] for part in parts])[1000:].mean()
    found[size] = variance, scores.mean(), (scores > quantile).mean(), outliers
    print(f"batches of {size}: variance {variance:.2f}, mean score {scores.mean():.1f},", end=" ")
    print(f"above the quantile {found[size][2]:.3f}; above the inferred threshold {outliers:.3f}")
for size in (100, 2):
    variance, mean, above, outliers = found[size]
    assert abs(variance - 1) < 0.05 and abs(mean - dimensions) < 0.3 and max(above, outliers) < 0.07
variance, mean, above, outliers = found[1]
assert variance < 0.55 and mean > 15 and min(above, outliers) > 0.3
PY
"$work/env/bin/python" look.py 2>/dev/null
