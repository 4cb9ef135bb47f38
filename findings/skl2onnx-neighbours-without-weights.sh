#!/usr/bin/env bash
# skl2onnx 1.20.0, scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: KNeighborsRegressor and KNeighborsClassifier of five neighbours, with weights="uniform" and "distance", fitted
# to 300 codes of N(0, I) in four dimensions and the sum of a code, or its sign; asked about 200 other codes, and about
# the codes of the fit. All is in float64. Three metrics, and the operator sets 9 to 22.
# One would expect: the values of scikit-learn, to 1e-9, or the error that it raises for weights that are a function.
# What happens: the distances of the nearest codes have their sign turned before they become weights, 1 / max(distance,
# 1e-6). All are below 1e-6 then, so all weights are the same: weights="distance" is converted to "uniform". A code of
# the fit should have its own value, and has the mean of its neighbours. Nothing is reported.
# Seen: graphs of both weights have equal outputs. With "distance" values are off by up to 0.2, 0.3 and 1.0 for the
# Euclidean, Manhattan and cosine metrics, where "uniform" is off by 1e-15; by up to 2.2 for codes of the fit, of whose
# labels 5 % are wrong, where scikit-learn has none; probabilities by up to 0.12.
#
# What our library does: it does not use it; its estimates from nearest neighbours are not exported.
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
from scipy.spatial.distance import cdist
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)
codes, others = draws.standard_normal((300, 4)), draws.standard_normal((200, 4))
target = codes.sum(1)
labels = (target > 0).astype(int)
nearest = np.argsort(cdist(others, codes), axis=1)[:, :5]
inverse = 1 / np.take_along_axis(cdist(others, codes), nearest, 1)


def run(model, x, opset=None, **options):
    graph = to_onnx(model, codes[:1], target_opset=opset, options={id(model): options} if options else None)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})


for metric in ("euclidean", "manhattan", "cosine"):
    for opset in (9, 10, 11, 18, 22) if metric == "euclidean" else (18,):
        found, errors = {}, {}
        for weights in ("uniform", "distance"):
            model = KNeighborsRegressor(5, weights=weights, metric=metric, algorithm="brute").fit(codes, target)
            found[weights] = run(model, others, opset)[0].ravel()
            errors[weights] = abs(found[weights] - model.predict(others)).max()
        print(f"{metric}, operator set {opset}: off by", {name: f"{error:.1g}" for name, error in errors.items()})
        assert errors["uniform"] < 1e-9 and errors["distance"] > 0.1
        assert np.allclose(found["uniform"], found["distance"], atol=1e-9, rtol=0)

model = KNeighborsRegressor(5, weights="distance").fit(codes, target)
by_hand = (target[nearest] * inverse).sum(1) / inverse.sum(1)
assert np.allclose(model.predict(others), by_hand)
assert np.allclose(run(model, others)[0].ravel(), target[nearest].mean(1), atol=1e-6)
off = abs(run(model, codes)[0].ravel() - target).max()
print(f"codes of the fit: scikit-learn off by {abs(model.predict(codes) - target).max():.1g}, graph by {off:.1f}")
assert np.array_equal(model.predict(codes), target) and off > 1

model = KNeighborsClassifier(5, weights="distance").fit(codes, labels)
chances = run(model, others, zipmap=False)[1]
off = abs(chances - model.predict_proba(others)).max()
wrong = (run(model, codes, zipmap=False)[0] != labels).mean()
print(f"probabilities off by {off:.2f}; labels of the fit: wrong {wrong:.2f}")
assert np.array_equal(model.predict(codes), labels) and off > 0.05 and wrong > 0.02
PY
"$work/env/bin/python" look.py 2>/dev/null
