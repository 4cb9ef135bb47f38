#!/usr/bin/env bash
# openvino 2026.4.1 (CPU plugin, precision f32), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: graphs of one operator each: Softmax and LogSoftmax of operator set 11 over a batch of feature maps, with axis
# 1, as attention over an image had it, and a linear Resize to half the size with antialias=1, as a network of features
# has it before its first layer.
# One would expect: what the operator set says, as onnxruntime computes: up to operator set 12 a Softmax is over all
# dimensions from its axis on. Or an error.
# What happens: OpenVINO's Softmax is over the axis alone, as since operator set 13, while its LogSoftmax is as it
# should be; so the two disagree with each other. Up to operator set 10 it is right. antialias is ignored. No error, no
# warning.
# Seen: largest difference of Softmax from onnxruntime and from the formula 0.8, of LogSoftmax 0; of the resized random
# image of standard deviation 1, 0.6.
#
# What our library does: its exports have operator set 18 or later, where Softmax and LogSoftmax are over one axis, and
# no Resize with antialias.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps openvino==2026.4.1 openvino-telemetry
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, checker, helper, numpy_helper

draws = np.random.default_rng(0)
images = draws.standard_normal((2, 4, 6, 8)).astype(np.float32)
core = openvino.Core()


def both(kind, opset, shape, constants, inputs=("x",), **kwargs):
    graph = helper.make_graph(
        [helper.make_node(kind, list(inputs), ["y"], **kwargs)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return session.run(None, {"x": images})[0], compiled(images)[0]


def softmax(values, axes):
    raised = np.exp(values - values.max(axes, keepdims=True))
    return raised / raised.sum(axes, keepdims=True)


expected, found = both("Softmax", 11, images.shape, {}, axis=1)
print("Softmax differs by", round(float(abs(expected - found).max()), 1))
assert np.allclose(expected, softmax(images, (1, 2, 3)), atol=1e-6)
assert np.allclose(found, softmax(images, (1,)), atol=1e-6)
expected, found = both("LogSoftmax", 11, images.shape, {}, axis=1)
print("LogSoftmax differs by", abs(np.exp(expected) - np.exp(found)).max())
assert np.allclose(np.exp(found), softmax(images, (1, 2, 3)), atol=1e-6)
half = {"scales": np.array([1, 1, 0.5, 0.5], np.float32)}
expected, found = both("Resize", 18, (2, 4, 3, 4), half, ("x", "", "scales"), mode="linear", antialias=1)
_, without = both("Resize", 18, (2, 4, 3, 4), half, ("x", "", "scales"), mode="linear")
print("Resize differs by", round(float(abs(expected - found).max()), 1))
assert abs(expected - found).max() > 0.3
assert np.allclose(found, without)
PY
"$work/env/bin/python" look.py
