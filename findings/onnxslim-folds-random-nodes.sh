#!/usr/bin/env bash
# onnxslim 0.1.98, onnx 1.23.2, onnxruntime 1.32.0, Python 3.11.
#
# Input: a graph that draws codes with RandomNormal and decodes them by a product with a constant matrix, so that it
# makes new samples without an input. The same with RandomUniform, and with RandomNormalLike and Multinomial of
# constants.
# One would expect: a simplifier computes what is constant, and leaves nodes that draw.
# What happens: onnxslim runs the node once and stores what it drew. The graph is valid and gives the same "samples"
# in every run, session and process. onnxsim, onnxoptimizer and onnxscript's optimizer leave a single such node alone.
# Seen: before, two runs differ; after onnxslim, the node is gone and all runs are equal.
#
# What our library does instead: its graphs have noise as an input, so that nothing can be folded.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

matrix = numpy_helper.from_array(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "matrix")
zeros = numpy_helper.from_array(np.zeros((5, 3), np.float32), "zeros")
flat = numpy_helper.from_array(np.zeros((5, 50), np.float32), "flat")
draws = {
    "RandomNormal": helper.make_node("RandomNormal", [], ["z"], shape=[5, 3]),
    "RandomNormalLike": helper.make_node("RandomNormalLike", ["zeros"], ["z"]),
    "RandomUniform": helper.make_node("RandomUniform", [], ["z"], shape=[5, 3]),
    "Multinomial": helper.make_node("Multinomial", ["flat"], ["symbols"], sample_size=3),
}


def graph(node):
    nodes = [node]
    if node.op_type == "Multinomial":
        nodes.append(helper.make_node("Cast", ["symbols"], ["z"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("MatMul", ["z", "matrix"], ["y"]))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 4])
    used = [matrix, *(t for t in (zeros, flat) if t.name in node.input)]
    body = helper.make_graph(nodes, "decoder", [], [output], used)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def varies(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    first, second = session.run(None, {})[0], session.run(None, {})[0]
    return not np.array_equal(first, second)


for name, node in draws.items():
    slim = onnxslim.slim(graph(node))
    kinds = [node.op_type for node in slim.graph.node]
    before, after = varies(graph(node)), varies(slim)
    print(f"{name}: two runs differ before: {before}, after: {after}; nodes left {kinds}")
    assert before and not after and name not in kinds
PY
"$work/env/bin/python" look.py
echo "as described"
