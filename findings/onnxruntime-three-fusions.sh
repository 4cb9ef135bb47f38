#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Input: graphs of a few operators, opened with the defaults of onnxruntime and with ORT_DISABLE_ALL. First what looks
# like a layer normalisation written out: one, the same with the mean minus the codes, and with the mean of fourth
# powers in place of squares. torch.onnx.export writes these nodes for such modules. Then 1 // a * b of integers; and a
# Relu with a Clip behind it, in float32 and float64.
# One would expect: the values without optimisation, up to rounding.
# What happens: the fusion into a LayerNormalization looks for a Sub with the mean and for a Pow, and neither at the
# order of the first nor at the exponent of the second. So the sign is lost, and the deviation is taken from squares.
# 1 / a * b becomes b / a for integers too. The fusion of Relu and Clip knows float32 and float16, and raises for a
# minimum of another type, so the float64 graph does not open. All happen from ORT_ENABLE_BASIC on; only the
# last is reported.
# Seen, differences in standard deviations of the right result: 2 for the mean minus the codes, 0.4 for fourth powers,
# 8e-08 without optimisation. 1 // a * b of (1, 2, 3, 7) and (10, 11, 9, 20) is (10, 5, 3, 2) in place of (10, 0, 0, 0).
# The error is "Unexpected data type for Clip 'min' input of 11".
#
# What our library does: every export is compared with PyTorch, in onnxruntime with its default optimisation.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
from onnx import checker, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
levels = onnxruntime.GraphOptimizationLevel
disabled = levels.ORT_DISABLE_ALL
draws = np.random.default_rng(0)
node = helper.make_node


def run(nodes, inputs, constants, level=None):
    kinds = {name: helper.np_dtype_to_tensor_dtype(values.dtype) for name, values in inputs.items()}
    shape = next(iter(inputs.values())).shape
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kinds[name], values.shape) for name, values in inputs.items()],
        [helper.make_tensor_value_info("y", next(iter(kinds.values())), shape)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if level is not None:
        options.graph_optimization_level = level
    file = model.SerializeToString()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


codes = draws.standard_normal((50, 6)).astype(np.float32)
scale, shift = draws.standard_normal((2, 6)).astype(np.float32)
for sign, power in ((1, 2), (-1, 2), (1, 4)):
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"] if sign > 0 else ["mean", "x"], ["centred"]),
        node("Pow", ["centred", "power"], ["powers"]),
        node("ReduceMean", ["powers"], ["average"], axes=[-1]),
        node("Add", ["average", "small"], ["positive"]),
        node("Sqrt", ["positive"], ["root"]),
        node("Div", ["centred", "root"], ["normal"]),
        node("Mul", ["normal", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["y"]),
    ]
    constants = {"power": np.float32(power), "small": np.float32(1e-5), "scale": scale, "shift": shift}
    centred = sign * (codes - codes.mean(1, keepdims=True)).astype(np.float64)
    right = centred / np.sqrt((centred**power).mean(1, keepdims=True) + 1e-5) * scale + shift
    found = run(nodes, {"x": codes}, constants)
    results = (found, *(run(nodes, {"x": codes}, constants, level) for level in (levels.ORT_ENABLE_BASIC, disabled)))
    off, basic, plain = (((result - right) ** 2).mean() ** 0.5 / right.std() for result in results)
    print(f"sign {sign:+d}, power {power}: off by {off:.1g}, without optimisation {plain:.1g}")
    usual = (codes - codes.mean(1, keepdims=True)) / np.sqrt(codes.var(1, keepdims=True) + 1e-5) * scale + shift
    assert plain < 1e-5 and np.allclose(found, usual, atol=1e-5)
    assert (off > 0.2) == (basic > 0.2) == ((sign, power) != (1, 2))

nodes = [node("Div", ["one", "a"], ["quotient"]), node("Mul", ["quotient", "b"], ["y"])]
for kind in (np.int32, np.int64):
    whole = {"a": np.array([1, 2, 3, 7], kind), "b": np.array([10, 11, 9, 20], kind)}
    found = run(nodes, whole, {"one": kind(1)})
    plain = run(nodes, whole, {"one": kind(1)}, disabled)
    print("1 // a * b:", found.tolist(), "without optimisation", plain.tolist())
    assert np.array_equal(plain, 1 // whole["a"] * whole["b"]) and found.tolist() == [10, 5, 3, 2]

nodes = [node("Relu", ["x"], ["positive"]), node("Clip", ["positive", "least", "most"], ["y"])]
for kind in (np.float32, np.float64):
    given = {"x": codes.astype(kind)}, {"least": kind(-0.5), "most": kind(1)}
    assert np.array_equal(run(nodes, *given, disabled), codes.clip(0, 1))
    try:
        found = "right" if np.array_equal(run(nodes, *given), codes.clip(0, 1)) else "wrong"
    except Exception as error:
        found = str(error)
    print("Relu and Clip,", kind.__name__, "", found[-160:].strip())
    assert found == "right" if kind is np.float32 else "Unexpected data type for Clip" in found
PY
"$work/env/bin/python" look.py
