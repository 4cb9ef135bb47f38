#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Input: graphs that turn an image of 3 x 4 x 5 to channels last, use one operator on it and turn it back: Pad
# (constant, reflect and edge), Resize by a factor of 2 and CenterCropPad, each with axes for height and width, as
# operator sets from 18 on allow; then Pad of all four axes, named last first. Each is opened with the defaults of
# onnxruntime and with ORT_DISABLE_ALL.
# One would expect: the same images, or at least that what runs without optimisation runs with it.
# What happens: the optimiser moves the transpose past the operator, so that both transposes vanish. It then reorders
# pads, scales and sizes as if there were one for each dimension, and leaves the axes as they are. With two axes it adds
# a Gather that asks for more numbers than there are: the session does not open, or fails when it runs, with an error
# about a node that is not in the graph. With four axes in another order other sides are padded, without an error.
# Seen: without optimisation all are exact. By default all with two axes fail; Pad of four axes makes two images of one,
# (2, 6, 4, 5) in place of (1, 3, 5, 8). For Pad ORT_ENABLE_BASIC is enough, the others need ORT_ENABLE_EXTENDED. Pad
# and Resize of all dimensions, without axes, are right.
#
# What our library does: its exports have channels first, and neither Pad nor Resize with axes.
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

onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)
levels = onnxruntime.GraphOptimizationLevel


def outcome(image, kind, inputs, shape, level=None, **kwargs):
    """The result, or the error, of the operator on an image with channels last, as an image with channels first."""
    names = [f"given{i}" if values is not None else "" for i, values in enumerate(inputs)]
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node(kind, ["last", *names], ["changed"], **kwargs),
            helper.make_node("Transpose", ["changed"], ["y"], perm=[0, 3, 1, 2]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v, name) for v, name in zip(inputs, names, strict=True) if v is not None],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if level is not None:
        options.graph_optimization_level = level
    try:
        file = model.SerializeToString()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": image})[0]
    except Exception as error:
        return str(error)


image = draws.standard_normal((1, 3, 4, 5)).astype(np.float32)
whole = np.array([1, 2])
pads = np.array([1, 0, 1, 2])
sides = ((0, 0), (0, 0), (1, 1), (0, 2))
cases = {
    f"Pad, {mode}": ("Pad", (pads, None, whole), {"mode": mode}, np.pad(image, sides, mode=mode))
    for mode in ("constant", "reflect", "edge")
}
twice = image.repeat(2, axis=2).repeat(2, axis=3)
settings = {"mode": "nearest", "axes": [1, 2]}
cases["Resize, scales"] = ("Resize", (None, np.array([2, 2], np.float32)), settings, twice)
cases["Resize, sizes"] = ("Resize", (None, None, np.array([8, 10])), settings, twice)
cases["CenterCropPad"] = ("CenterCropPad", (np.array([2, 3]),), {"axes": [1, 2]}, image[:, :, 1:3, 1:4])
full = np.array([0, 1, 0, 0, 0, 1, 2, 0])
cases["Pad, all dimensions, no axes"] = ("Pad", (full,), {}, np.pad(image, sides[:2] + ((1, 1), (0, 2))))
cases["Resize, all dimensions, no axes"] = (
    "Resize", (None, np.array([1, 2, 2, 1], np.float32)), {"mode": "nearest"}, twice
)  # fmt: skip
for name, (kind, inputs, kwargs, right) in cases.items():
    plain = outcome(image, kind, inputs, right.shape, levels.ORT_DISABLE_ALL, **kwargs)
    assert np.array_equal(plain, right), name
    for level in (None, levels.ORT_ENABLE_BASIC, levels.ORT_ENABLE_EXTENDED):
        found = outcome(image, kind, inputs, right.shape, level, **kwargs)
        failed = isinstance(found, str)
        said = found.split("Status Message: ")[-1][:70] if failed else "as without optimisation"
        print(f"{name}, {level.name if level is not None else 'default'}: {said}")
        assert failed or np.array_equal(found, right)
        basic = level == levels.ORT_ENABLE_BASIC and kind != "Pad"
        assert failed == ("no axes" not in name and not basic)

backwards = np.array([3, 2, 1, 0])  # channels, width, height, images
pads = np.array([0, 1, 0, 0, 0, 2, 1, 0])
right = np.pad(image, ((0, 0), (0, 0), (0, 1), (1, 2)))
plain = outcome(image, "Pad", (pads, None, backwards), right.shape, levels.ORT_DISABLE_ALL)
found = outcome(image, "Pad", (pads, None, backwards), right.shape)
assert np.array_equal(plain, right)
print("Pad, axes last first: shape", found.shape, "in place of", right.shape)
assert found.shape == (2, 6, 4, 5)
PY
"$work/env/bin/python" look.py
