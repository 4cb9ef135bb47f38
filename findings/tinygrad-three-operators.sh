#!/usr/bin/env bash
# tinygrad 0.14.0 (device PYTHON, which needs no compiler), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: graphs of one operator each: ReduceLogSumExp of two log densities, as a mixture in many dimensions has them;
# Softmax of operator set 11 over the channels of an image; and a linear Upsample of operator set 9 by a factor of 2.
# Each is run by tinygrad's OnnxRunner and by onnxruntime.
# One would expect: equal values, or an error, which OnnxRunner gives for what it does not know.
# What happens: ReduceLogSumExp is the logarithm of a sum of exponentials, without a maximum subtracted, so it overflows
# and underflows, though tinygrad's own logsumexp does not. Before operator set 13 Softmax is over all dimensions from
# its axis on; tinygrad has two versions of it, which differ by the default axis alone, and both take one dimension.
# Upsample is a Resize with the later default, half-pixel coordinates, and so shifted by half an output pixel. No error,
# no warning.
# Seen: of -200 and -201 minus infinity, of 200 and 201 infinity, by onnxruntime -199.69 and 201.31; probabilities of an
# image sum to 4, one for each pixel, by onnxruntime to 1; a ramp 0, 1, 2, 3 becomes 0, 0.25, 0.75, ... instead of 0,
# 0.5, 1, ...
#
# What our library does: exports have operator set 18 or later and no linear resizing. Graphs with the transport of a
# mixture do have ReduceLogSumExp, in double; each file is compared with PyTorch by onnxruntime, not by tinygrad.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner


def both(operator, version, values, constants=(), **attributes):
    """Return the results of onnxruntime and of tinygrad."""
    names = ["x", *(name for name, _ in constants)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node(operator, names, ["y"], **attributes)], "one", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.save(model, "one.onnx")
    right = onnxruntime.InferenceSession("one.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": values})[0]
    found = OnnxRunner("one.onnx")({"x": Tensor(values)})["y"].numpy()
    return right, found


logs = np.array([[-200, -201], [200, 201], [20, 21]], np.float32)
right, found = both("ReduceLogSumExp", 17, logs, axes=[1])
own = Tensor(logs).logsumexp(1).numpy()
print("ReduceLogSumExp: onnxruntime", right.ravel(), "tinygrad", found.ravel(), "its logsumexp", own)
assert np.allclose(right.ravel(), logs.max(1) + np.log1p(np.exp(-1))) and np.allclose(own, right.ravel())
assert found[0] == -np.inf and found[1] == np.inf and np.allclose(found[2], right[2])

image = np.random.default_rng(0).standard_normal((1, 3, 2, 2)).astype(np.float32)
right, found = both("Softmax", 11, image, axis=1)
print("Softmax: sums of an image: onnxruntime", right.sum().round(3), "tinygrad", found.sum().round(3))
exponentials = np.exp(image)
assert np.allclose(right, exponentials / exponentials.sum(), atol=1e-6)
assert np.allclose(found, exponentials / exponentials.sum(1, keepdims=True), atol=1e-6)
right, found = both("Softmax", 11, image, axis=3)
assert np.allclose(found, right, atol=1e-6)  # over the last dimension both are the same

ramp = np.broadcast_to(np.arange(4, dtype=np.float32), (1, 1, 2, 4)).copy()
right, found = both("Upsample", 9, ramp, [("scales", np.array([1, 1, 1, 2], np.float32))], mode="linear")
print("Upsample: onnxruntime", right[0, 0, 0], "tinygrad", found[0, 0, 0])
assert np.allclose(right[0, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
assert np.allclose(found[0, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
PY
DEV=PYTHON "$work/env/bin/python" look.py 2>/dev/null
