#!/usr/bin/env bash
# onnx2torch 1.5.15, onnx 1.23.2, onnxruntime 1.32.0, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: graphs of one ConvTranspose each, as decoders have them: once with padding and output_padding, once with the
# attribute output_shape, from which ONNX derives the padding. Each is converted to PyTorch and compared with
# onnxruntime.
# One would expect: equal images, or the NotImplementedError that the converter raises for asymmetric padding, auto_pad
# SAME and others that it does not know.
# What happens: output_shape is ignored, without an error or a warning, so images have another size.
# Seen: (1, 4, 11, 11) by onnxruntime and (1, 4, 12, 12) by the converted module; equal images for the other graph.
#
# What our library does: its exported decoders have output_padding, which is converted exactly, and no output_shape.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pillow
"$work/env/bin/pip" install --quiet --no-deps onnx2torch==1.5.15 torchvision==0.29.1
cd "$work"
cat > look.py <<'PY'
import sys
import warnings

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

try:
    import torchvision  # noqa: F401
except RuntimeError:  # beside another build of torch its compiled operators are missing; none is needed here
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from onnx2torch import convert

draws = np.random.default_rng(0)
image = draws.standard_normal((1, 3, 5, 5)).astype(np.float32)
weights = draws.standard_normal((3, 4, 4, 4)).astype(np.float32)


def both(node, name, values):
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        converted = convert(model).eval()(torch.from_numpy(image)).detach().numpy()
    assert not [one for one in told if issubclass(one.category, UserWarning)], told[0].message
    return session.run(None, {"x": image})[0], converted


def transposed(**kwargs):
    return both(helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], **kwargs), "w", weights)


same, converted = transposed(pads=[1, 1, 1, 1], output_padding=[1, 1])
assert np.allclose(same, converted, atol=1e-4)
expected, converted = transposed(output_shape=[11, 11])
print("output_shape:", expected.shape, converted.shape)
assert expected.shape == (1, 4, 11, 11) and converted.shape == (1, 4, 12, 12)
PY
"$work/env/bin/python" look.py
