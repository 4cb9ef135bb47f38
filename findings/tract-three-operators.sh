#!/usr/bin/env bash
# tract 0.23.9 (Sonos, Python package), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: graphs of one operator each, as encoders and decoders have them: ConvTranspose with output_shape, Celu with an
# alpha of 2, and GlobalLpPool with p=2. Each is run by tract and by onnxruntime.
# One would expect: equal values, or an error, which tract gives for what it does not know.
# What happens: of ConvTranspose tract crops all at the end, where ONNX crops half, rounded up, at the start; here all
# pixels are off by one, and the size is right. Celu is right for alpha 1 only. GlobalLpPool is the mean where it should
# be the sum, so it is smaller by the root of the number of pixels. No error, no warning.
# Seen: largest differences from onnxruntime: ConvTranspose 18 of values with a standard deviation of 3.6, 0 without
# output_shape; Celu 0.8, with alpha 1 6e-08; GlobalLpPool 5.8, the ratio of both 0.18257, which is 30 to the power of
# -1/2.
#
# What our library does: its exports have none of the three; ConvTranspose with pads and output_padding agrees.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps tract==0.23.9
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, checker, helper, numpy_helper

draws = np.random.default_rng(0)
image = draws.standard_normal((2, 4, 5, 6)).astype(np.float32)
weights = draws.standard_normal((4, 3, 4, 4)).astype(np.float32)


def both(kind, opset, shape, constants=(), **kwargs):
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *dict(constants)], ["y"], **kwargs)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, name) for name, values in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model, full_check=True)
    onnx.save(model, "graph.onnx")
    session = onnxruntime.InferenceSession("graph.onnx", providers=["CPUExecutionProvider"])
    other = tract.onnx().load("graph.onnx").into_model().into_runnable().run([image])[0].to_numpy()
    assert other.shape == tuple(shape)
    return session.run(None, {"x": image})[0], other


found = {}
for name, shape, kwargs in (
    ("pads", (2, 3, 10, 12), {"pads": [1, 1, 1, 1]}),
    ("output_padding", (2, 3, 11, 13), {"pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    ("output_shape", (2, 3, 11, 13), {"output_shape": [11, 13]}),
):
    one, other = both("ConvTranspose", 11, shape, {"w": weights}, strides=[2, 2], **kwargs)
    found[name] = abs(one - other).max()
for alpha in (1.0, 2.0):
    one, other = both("Celu", 12, image.shape, alpha=alpha)
    found[f"alpha {alpha}"] = abs(one - other).max()
    expected = np.maximum(0, image) + np.minimum(0, alpha * (np.exp(image / alpha) - 1))
    assert np.allclose(one, expected, atol=1e-5)
one, other = both("GlobalLpPool", 11, (2, 4, 1, 1), p=2)
found["pool"] = abs(one - other).max()
print({name: f"{value:.2g}" for name, value in found.items()}, "ratio", (other / one).mean())
assert max(found["pads"], found["output_padding"], found["alpha 1.0"]) < 1e-4
assert found["output_shape"] > 5 and found["alpha 2.0"] > 0.5
assert np.allclose(one, np.sqrt((image**2).sum((2, 3), keepdims=True)), rtol=1e-5)
assert np.allclose(other / one, 30**-0.5, rtol=1e-4)
PY
"$work/env/bin/python" look.py
