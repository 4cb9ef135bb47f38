#!/usr/bin/env bash
# skl2onnx 1.20.0, scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: three classifiers of 400 codes of six dimensions, converted to ONNX and asked about 500 other codes, all in
# float64: LinearDiscriminantAnalysis of two and of three classes; CalibratedClassifierCV(method="isotonic"); and
# SGDClassifier(loss="modified_huber") of three classes.
# One would expect: the probabilities and labels of scikit-learn, to 1e-6.
# What happens: for two classes the graph has the score s of a discriminant analysis as -s and s and takes their
# softmax, which is the logistic function of 2 s: the odds are squared. An isotonic calibration is a line from point to
# point; the graph takes the value of the nearest point, so it is a step. Labels of SGDClassifier are those of the
# largest score; the graph takes the first of the largest probabilities, and there are often two of 0.5, as scores are
# cut at 1. Nothing is reported.
# Seen: discriminant analysis off by up to 0.15, and equal to the squared odds, with three classes by 2e-16; calibration
# off by up to 0.07; a third of the labels of SGDClassifier wrong, though its probabilities are right.
#
# What our library does: it does not use it; its classifiers measure features and are not exported.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 \
  skl2onnx==1.20.0
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
from scipy.special import expit
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, SGDClassifier

onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)
codes, others = draws.standard_normal((400, 6)), draws.standard_normal((500, 6))
score = codes @ np.arange(6) + 5 * draws.standard_normal(400)
halves = (score > 0).astype(int)
thirds = np.digitize(score, np.quantile(score, [1 / 3, 2 / 3]))


def converted(model, labels):
    model.fit(codes, labels)
    graph = to_onnx(model, codes[:1], options={id(model): {"zipmap": False}})
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found, chances = session.run(None, {"X": others})
    wrong = (found != model.predict(others)).mean()
    off = abs(chances - model.predict_proba(others)).max()
    print(f"{type(model).__name__}, {len(model.classes_)} classes: off by {off:.2g}, labels wrong {wrong:.2f}")
    return found, chances, off, wrong


model = LinearDiscriminantAnalysis()
found, chances, off, wrong = converted(model, halves)
assert off > 0.1 and wrong == 0
assert np.allclose(model.predict_proba(others)[:, 1], expit(model.decision_function(others)))
assert np.allclose(chances[:, 1], expit(2 * model.decision_function(others)), atol=1e-6)
assert converted(LinearDiscriminantAnalysis(), thirds)[2] < 1e-6

model = CalibratedClassifierCV(LogisticRegression(), method="isotonic", ensemble=False)
found, chances, off, wrong = converted(model, halves)
(fitted,) = model.calibrated_classifiers_
(line,) = fitted.calibrators
scores = fitted.estimator.decision_function(others)
between = np.interp(scores, line.X_thresholds_, line.y_thresholds_)
steps = line.y_thresholds_[abs(scores[:, None] - line.X_thresholds_).argmin(1)]
assert np.allclose(model.predict_proba(others)[:, 1], between, atol=1e-6)
assert np.allclose(chances[:, 1], steps, atol=1e-6) and off > 0.03

model = SGDClassifier(loss="modified_huber", random_state=0)
found, chances, off, wrong = converted(model, thirds)
assert off < 1e-6 and wrong > 0.05
assert np.array_equal(model.predict(others), model.decision_function(others).argmax(1))
assert np.array_equal(found, chances.argmax(1))
PY
"$work/env/bin/python" look.py 2>/dev/null
