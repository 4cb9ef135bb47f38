#!/usr/bin/env bash
# onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Input: a graph that draws with RandomNormal, without a seed; one process opens two sessions of it, as a server with
# two workers does.
# One would expect: two sessions draw different numbers, since the operator's seed is generated when none is given.
# What happens: the generated seed is one of the process, and each session starts from it. Both sessions draw the same
# sequence. Another process has another sequence.
# Seen: three draws of the first session equal the three of the second; those of a second process differ.
#
# What our library does instead: its graphs have noise as an input, and the caller draws it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import json
import subprocess
import sys

import onnxruntime
from onnx import TensorProto, helper

node = helper.make_node("RandomNormal", [], ["z"], shape=[4])
output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])
model = helper.make_model(
    helper.make_graph([node], "noise", [], [output]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
).SerializeToString()


def sequence():
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [session.run(None, {})[0].round(4).tolist() for _ in range(3)]


if len(sys.argv) > 1:
    print(json.dumps(sequence()))
else:
    first, second = sequence(), sequence()
    command = [sys.executable, __file__, "once"]
    other = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print("sessions of one process equal:", first == second, "runs of a session equal:", first[0] == first[1])
    print("session of another process equal:", first == other)
    assert first == second and first[0] != first[1] and first != other
PY
"$work/env/bin/python" look.py
echo "as described"
