#!/usr/bin/env bash
# onnxsim 0.8.1, onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0, Python 3.11.
#
# Input: a graph with two RandomNormal nodes of one shape and without seeds, say the codes and the noise on them,
# whose outputs are a and b.
# One would expect: a and b stay independent. Elimination of common subexpressions holds for nodes that compute.
# What happens: both tools see two equal nodes and keep one, so that b is a. Nothing is reported; each run still draws
# anew.
# Seen: correlation of 20,000 draws of a and b about 0 before, and 1 after each of the tools.
#
# What our library does instead: its graphs have each noise as an input of its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnxsim==0.8.1 onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
import onnxsim
from onnx import TensorProto, helper

nodes = [
    helper.make_node("RandomNormal", [], ["codes"], shape=[20000]),
    helper.make_node("RandomNormal", [], ["noise"], shape=[20000]),
    helper.make_node("Identity", ["codes"], ["a"]),
    helper.make_node("Identity", ["noise"], ["b"]),
]
outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [20000]) for name in "ab"]
model = helper.make_model(
    helper.make_graph(nodes, "noise", [], outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
)
onnx.checker.check_model(model, full_check=True)
passes = onnxoptimizer.get_fuse_and_elimination_passes()
graphs = {
    "as given": model,
    "onnxsim": onnxsim.simplify(model)[0],
    "onnxoptimizer": onnxoptimizer.optimize(model, passes),
}
for name, graph in graphs.items():
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    a, b = session.run(None, {})
    again = session.run(None, {})[0]
    correlation = float(np.corrcoef(a, b)[0, 1])
    print(f"{name}: correlation {correlation:.3f}, a new draw differs: {not np.array_equal(a, again)}")
    assert not np.array_equal(a, again)
    assert abs(correlation) < 0.05 if name == "as given" else correlation > 0.999
PY
"$work/env/bin/python" look.py
echo "as described"
