#!/usr/bin/env bash
# openvino 2026.4.1 (CPU plugin, precision f32), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: a graph of one MatMul of a batch, n x 4, with a constant stack of three matrices, 3 x 4 x 4: a draw from each
# component of a mixture, of which one is chosen then. The number of rows is free, or 5.
# One would expect: what ONNX says, products as NumPy broadcasts them.
# What happens: with 5 rows it runs. With a free number it is read and then refused while it is compiled; with a leading
# dimension of 1 before the batch it is compiled and refused at the first call. A single matrix does no harm.
# Seen: "Can't create dummy inputs if argument shapes ranks are not equal" and "ParameterMismatch: Can not clone with
# new dims"; with 5 rows or one matrix the values are those of onnxruntime.
#
# What our library does: the exported sampler of a mixture has the matrices side by side, one product for all of them; a
# test holds that.
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
stack = draws.standard_normal((3, 4, 4)).astype(np.float32)


def both(shape, result, matrices):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(matrices, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model, full_check=True)
    values = draws.standard_normal([5 if size == "n" else size for size in shape], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": values})[0]
    assert np.allclose(expected, values @ matrices, atol=1e-5)
    core = openvino.Core()
    try:
        compiled = core.compile_model(
            core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        return abs(expected - compiled(values)[0]).max()
    except RuntimeError as error:
        return str(error)


for shape, result, matrices, refused in (
    (["n", 4], ["n", 4], stack[0], None),
    ([5, 4], [3, 5, 4], stack, None),
    (["n", 4], [3, "n", 4], stack, "shapes ranks are not equal"),
    ([1, "n", 4], [3, "n", 4], stack, "Can not clone with new dims"),
):
    found = both(shape, result, matrices)
    print(shape, matrices.shape, found if refused is None else refused)
    if refused is None:
        assert found < 1e-5
    else:
        assert refused in found
PY
"$work/env/bin/python" look.py
