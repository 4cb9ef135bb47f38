#!/usr/bin/env bash
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: a graph of one linear Resize by a factor of 2, as decoders have it, raised by onnx.version_converter from
# operator set 10 to 11. Both are run by onnxruntime.
# One would expect: the same images, since keeping the meaning is what the converter is for, or an error.
# What happens: operator set 10 has "asymmetric" coordinates; with 11 they became an attribute, whose default is
# "half_pixel". The converter does not set it, so images are shifted, at a factor of 2 by half an output pixel. It
# reports nothing.
# Seen: largest difference 1.1 of a random image with standard deviation 1; 0 after setting the attribute by hand.
#
# What our library does: it exports at one operator set and converts none; its decoders have no Resize of this kind.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, version_converter

onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)
image = draws.standard_normal((1, 4, 5, 6)).astype(np.float32)


def graph_of(kind, opset, constants, shape, **kwargs):
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *constants], ["y"], **kwargs)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
before = graph_of("Resize", 10, scales, (1, 4, 10, 12), mode="linear")
after = version_converter.convert_version(before, 11)
difference = abs(run(before) - run(after)).max()
print("Resize: largest difference", round(float(difference), 1))
assert difference > 0.5

(resize,) = [node for node in after.graph.node if node.op_type == "Resize"]
resize.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
by_hand = abs(run(before) - run(after)).max()
print("with the attribute", by_hand)
assert by_hand < 1e-6
PY
"$work/env/bin/python" look.py
