#!/usr/bin/env bash
# pyod 3.6.7, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1, numba of the same day, Python 3.11.
#
# Input: the detector QMCD, fitted to 2,000 draws from N(0, I) in 16 dimensions with its defaults, then asked about
# other draws, and about points 2, 4, 8 and 100 standard deviations from the mean in each dimension.
# One would expect: the further out, the more certainly an anomaly.
# What happens: points at 2 and 4 are anomalies, points at 8 and 100 are more normal than any draw. The detector scales
# features to the range of the training data and measures a discrepancy that wraps around at its end; outside of it the
# discrepancy grows with the distance, and for such data the detector has turned its sign.
# Seen, area under the ROC curve against other draws: 1.0 at 2 and 4, 0.0 at 8 and 100, where predict says 0, normal.
#
# What our library does: entropic_ae's score is a log-likelihood or an error, which falls or grows with the distance.
# The comparison with PyOD in docs/anomaly.md does not use this detector.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 numba joblib matplotlib
"$work/env/bin/pip" install --quiet --no-deps pyod==3.6.7
cd "$work"
cat > look.py <<'PY'
import numpy as np
from pyod.models.qmcd import QMCD
from sklearn.metrics import roc_auc_score

draws = np.random.default_rng(0)
model = QMCD().fit(draws.standard_normal((2000, 16)))
others = draws.standard_normal((500, 16))
for deviations, expected in ((2, 1), (4, 1), (8, 0), (100, 0)):
    far = np.full((500, 16), float(deviations))
    scores = np.r_[model.decision_function(others), model.decision_function(far)]
    area = roc_auc_score(np.repeat([0, 1], 500), scores)
    print(deviations, "deviations: area", round(area, 3), "predict", model.predict(far[:1])[0])
    assert abs(area - expected) < 0.01
    assert model.predict(far[:1])[0] == expected
PY
"$work/env/bin/python" look.py 2>/dev/null
