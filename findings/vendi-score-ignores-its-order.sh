#!/usr/bin/env bash
# vendi-score 0.0.3, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11.
#
# Input: 100 features of 16 dimensions, of which 90 are nearly the same, and the Vendi score, the effective number of
# distinct ones, at the orders 0.1, 1, 2 and infinity: low orders count rare features, high ones common ones.
# One would expect: the same values from the kernel (score_K), from the features (score_X, which its helpers for images
# and texts call) and from their covariance (score_dual, which is offered for speed), and lower ones at higher orders.
# What happens: score_X takes the order and ignores it: all four are the value of order 1. The other two do as they
# should. Infinity is the string "inf"; numpy.inf gives NaN.
# Seen: score_dual 11.4, 1.6, 1.2 and 1.1; score_X 1.6 four times. score_K has 12.7 at 0.1, where its eigenvalues of
# rounding count.
#
# What our library does: it has no Vendi score; diversity is measured by recall and coverage.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/env/bin/pip" install --quiet --no-deps vendi-score==0.0.3
cd "$work"
cat > look.py <<'PY'
import numpy as np
from vendi_score import vendi

draws = np.random.default_rng(0)
features = draws.standard_normal((100, 16))
features[10:] = features[0] + 0.05 * features[10:]
unit = features / np.linalg.norm(features, axis=1, keepdims=True)
orders = (0.1, 1, 2, "inf")
found = {
    "score_K": [vendi.score_K(unit @ unit.T, q=order) for order in orders],
    "score_dual": [vendi.score_dual(features, q=order) for order in orders],
    "score_X": [vendi.score_X(features, q=order) for order in orders],
}
for name, values in found.items():
    print(name, [round(float(value), 1) for value in values])
print("numpy.inf", vendi.score_dual(features, q=np.inf))
assert np.allclose(found["score_K"][1:], found["score_dual"][1:])
assert found["score_dual"][0] > 2 * found["score_dual"][1] > 2 * found["score_dual"][2]
assert np.ptp(found["score_X"]) == 0
PY
"$work/env/bin/python" look.py 2>/dev/null
