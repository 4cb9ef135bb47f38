#!/usr/bin/env bash
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: a graph of one BatchNormalization, as decoders have it, with operator set 9 (9 to 13 share it), run by
# onnxruntime and by onnx.reference.ReferenceEvaluator, which the ONNX project offers to check others with.
# One would expect: with one output, inference, both normalise by the mean and variance of the inputs of that name.
# What happens: the reference first moves mean and variance a tenth of the way to those of the batch at hand, as
# training would, so an image's result depends on the images beside it. From operator set 14 on it does not. No warning.
# Seen: largest differences from the formula: onnxruntime 5e-07 with both; reference 0.3 with operator set 9, 5e-07
# with 15; and an image alone and in company differ by 0.05 in the reference of 9.
#
# What our library does: its exports have operator set 18 or later and are compared with onnxruntime.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

draws = np.random.default_rng(0)
images = draws.standard_normal((2, 4, 5, 6)).astype(np.float32)
scale, shift, mean, variance = (draws.random(4).astype(np.float32) + 0.5 for _ in range(4))
wide = [values[None, :, None, None] for values in (scale, shift, mean, variance)]
formula = (images - wide[2]) / np.sqrt(wide[3] + 1e-5) * wide[0] + wide[1]
for opset in (9, 15):
    names = ("scale", "shift", "mean", "variance")
    shape = ["n", 4, 5, 6]
    graph = helper.make_graph(
        [helper.make_node("BatchNormalization", ["x", *names], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(*pair) for pair in zip((scale, shift, mean, variance), names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reference = ReferenceEvaluator(model)
    found = {
        "onnxruntime": abs(session.run(None, {"x": images})[0] - formula).max(),
        "reference": abs(reference.run(None, {"x": images})[0] - formula).max(),
        "alone and in company": abs(
            reference.run(None, {"x": images[:1]})[0] - reference.run(None, {"x": images})[0][:1]
        ).max(),
    }
    print("operator set", opset, {name: f"{value:.1g}" for name, value in found.items()})
    assert found["onnxruntime"] < 1e-5
    assert (found["reference"] > 0.1) == (opset == 9)
    assert (found["alone and in company"] > 0.01) == (opset == 9)
PY
"$work/env/bin/python" look.py
