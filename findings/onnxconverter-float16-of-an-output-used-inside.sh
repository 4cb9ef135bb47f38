#!/usr/bin/env bash
# onnxconverter-common 1.16.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: a graph of two Gemm in a row, of which the first gives codes and the second images, and both are outputs: a
# sampler that also says what it drew. It is converted by float16.convert_float_to_float16(keep_io_types=True), which
# keeps inputs and outputs in float32.
# One would expect: a graph that onnxruntime loads, as it does if the images are the only output.
# What happens: the codes are cast back to float32 as an output, under the same name, and the second Gemm, whose weights
# are float16 now, takes that. The converter reports nothing; onnxruntime refuses the file. With an Identity between the
# codes and the output of that name it works.
# Seen: "Type parameter (T) of Optype (Gemm) bound to different types"; with the Identity or one output, differences of
# 2e-4 at most.
#
# What our library does: in exported samplers no output is used inside, which a test holds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps onnxconverter-common==1.16.0
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from onnxconverter_common import float16

draws = np.random.default_rng(0)
noise, one, two = (draws.standard_normal((4, 4)).astype(np.float32) / 2 for _ in range(3))


def run(nodes, outputs):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in outputs],
        [numpy_helper.from_array(one, "one"), numpy_helper.from_array(two, "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model, full_check=True)
    whole = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    half = float16.convert_float_to_float16(model, keep_io_types=True)
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    pairs = zip(whole.run(None, {"noise": noise}), session.run(None, {"noise": noise}), strict=True)
    return max(abs(a - b).max() for a, b in pairs)


def gemms(codes):
    return [
        helper.make_node("Gemm", ["noise", "one"], [codes], name="first"),
        helper.make_node("Gemm", [codes, "two"], ["images"], name="second"),
    ]


identity = helper.make_node("Identity", ["inside"], ["codes"], name="third")
found = {
    "images alone": run(gemms("codes"), ["images"]),
    "identity": run([*gemms("inside"), identity], ["images", "codes"]),
}
print({name: f"{value:.0e}" for name, value in found.items()})
assert max(found.values()) < 0.01
try:
    run(gemms("codes"), ["images", "codes"])
except Exception as error:
    print(error)
    assert "bound to different types" in str(error)
else:
    raise AssertionError("both outputs work now")
PY
"$work/env/bin/python" look.py
