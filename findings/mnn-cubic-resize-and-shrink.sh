#!/usr/bin/env bash
# MNN 3.6.1 (Python package, CPU), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: graphs of one operator each: a cubic Resize by a factor of 2 with the attributes that PyTorch exports for
# bicubic upsampling; and Shrink with a threshold and a bias of 0.5, the soft threshold of sparse codes. Each is
# converted and run by MNN, in high precision, and by onnxruntime.
# One would expect: equal values, or an error, which the converter gives for what it does not know.
# What happens: at the left border the cubic Resize needs the position -0.25. MNN moves its whole part into the image
# and keeps the fraction, so it takes 0.75: the first column is a copy of the third. Shrink has the
# two cases of negative values the wrong way round: those beyond the threshold become 0, and those within it are moved
# by the bias. No error, no warning.
# Seen: a ramp 0, 1, 2, 3 begins with 0.668, 0.191, 0.668, by onnxruntime with -0.105, 0.191, 0.668; Shrink of -2, -0.2,
# 2 is 0, 0.3, 1.5, by onnxruntime -1.5, 0, 1.5.
#
# What our library does: its decoders repeat pixels and have no Shrink. Each exported file is compared with PyTorch by
# onnxruntime before it is kept, not by MNN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps MNN==3.6.1
cd "$work"
cat > look.py <<'PY'
import _tools  # the converter of the package MNN
import MNN
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def both(operator, values, constants=(), **attributes):
    """Return the results of onnxruntime and of MNN."""
    names = ["x", *(name for name, _ in constants)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants if name]
    node = helper.make_node(operator, names, ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "one", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, "one.onnx")
    session = onnxruntime.InferenceSession("one.onnx", providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": values})[0]
    files = ["--modelFile", "one.onnx", "--MNNModel", "one.mnn"]
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "one"])
    net = MNN.Interpreter("one.mnn")
    session = net.createSession({"numThread": 1, "precision": "high"})
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    net.getSessionInput(session, "x").copyFrom(MNN.Tensor(values.shape, kind, values, order))
    net.runSession(session)
    found = net.getSessionOutput(session, "y")
    host = MNN.Tensor(found.getShape(), kind, np.zeros(found.getShape(), np.float32), order)
    found.copyToHostTensor(host)
    return right.ravel(), np.array(host.getData()).ravel()


def show(name, right, found):
    rows = [" ".join(f"{value:.3f}" for value in values) for values in (right, found)]
    print(f"RESULT {name}: onnxruntime {rows[0]}, MNN {rows[1]}", flush=True)


ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
twice = np.array([1, 1, 1, 2], np.float32)
torchs = {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel", "cubic_coeff_a": -0.75}
right, found = both("Resize", ramp, (("", None), ("scales", twice)), **torchs)
show("Resize", right, found)
assert np.allclose(found[1:], right[1:], atol=1e-4) and abs(right[0] + 0.105) < 1e-3
assert abs(found[0] - found[2]) < 1e-5 and found[0] - right[0] > 0.7

right, found = both("Shrink", np.array([[-2, -0.2, 0.2, 2]], np.float32), lambd=0.5, bias=0.5)
show("Shrink", right, found)
assert np.allclose(right, [-1.5, 0, 0, 1.5]) and np.allclose(found, [0, 0.3, 0, 1.5])
PY
"$work/env/bin/python" look.py 2>/dev/null | sed -n "s/^RESULT //p"
