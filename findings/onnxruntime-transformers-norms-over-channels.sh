#!/usr/bin/env bash
# onnxruntime 1.32.0 (its onnxruntime.transformers), onnx 1.23.2, sympy 1.14.0, numpy 2.4.6, Python 3.11.
#
# Input: normalisations written out, as torch.onnx.export writes them, for onnxruntime.transformers.optimizer, which
# fuses them, with its default model type and with those of other networks: over the last axis; of images over their
# channels, with a scale for each channel (as LayerNorm2d of ConvNeXt and of SAM); of sequences (image, place, channel)
# over the places, that is instance normalisation; and the root mean square over the channels.
# One would expect: graphs with the same values, since it says that it optimises models, or graphs left as they are.
# What happens: the fusion into a LayerNormalization never looks at the axes of the means, though its description names
# them, and the new node is over the last axis. Another fusion takes any one axis of a root mean square, of which the
# deviation is one, as the first axis of a SimplifiedLayerNormalization, which is over it and all that follow: over
# channels and pixels. Only the types unet and vae have a fusion of their own for channels, and it is right. No warning.
# Seen, differences in standard deviations of the right result: over the last axis 6e-08 with all types. Over channels
# 0.2 with bert, the default, clip, vit and others, 0.5 with mmdit, 1 with sam2, 5e-08 with unet and vae. Over places
# 0.5 with all. The root mean square over channels 0.2 with most, 4e-08 with unet, vae and sam2.
#
# What our library does: its exports are not changed by such a tool; they are compared with PyTorch as they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 sympy==1.14.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime.transformers.optimizer import optimize_model

logging.disable(logging.CRITICAL)
onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)
node = helper.make_node


def normalisation(x, axis, shape, centred):
    """A graph, and its values by NumPy."""
    scale, shift = draws.standard_normal((2, *shape)).astype(np.float32)
    first = [node("ReduceMean", ["x"], ["mean"], axes=[axis], keepdims=1), node("Sub", ["x", "mean"], ["d"])]
    names = "d" if centred else "x"
    nodes = [
        *(first if centred else []),
        node("Pow", [names, "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["average"], axes=[axis], keepdims=1),
        node("Add", ["average", "small"], ["positive"]),
        node("Sqrt", ["positive"], ["root"]),
        node("Div", [names, "root"], ["normal"]),
        node("Mul", ["normal", "scale"], ["scaled" if centred else "y"]),
        *([node("Add", ["scaled", "shift"], ["y"])] if centred else []),
    ]
    constants = {"two": np.float32(2), "small": np.float32(1e-5), "scale": scale}
    constants |= {"shift": shift} if centred else {}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    given = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    d = x - x.mean(axis, keepdims=True) if centred else x
    right = d / np.sqrt((d**2).mean(axis, keepdims=True) + 1e-5) * scale
    return model, right + shift if centred else right


def off(model, x, right):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": x})[0]
    return ((result - right) ** 2).mean() ** 0.5 / right.std()


sequences = draws.standard_normal((20, 6, 8)).astype(np.float32)
images = draws.standard_normal((20, 8, 6, 6)).astype(np.float32)
kinds = ["bert", "clip", "vit", "swin", "gpt_neox", "conformer", "sam2", "mmdit", "unet", "vae"]
cases = {
    "last axis": (sequences, -1, (8,), True, kinds),
    "channels of images": (images, 1, (8, 1, 1), True, ["unet", "vae"]),
    "places of sequences": (sequences, 1, (8,), True, []),
    "root mean square, last axis": (sequences, -1, (8,), False, kinds),
    "root mean square, channels": (images, 1, (8, 1, 1), False, ["unet", "vae", "sam2"]),
}
for name, (x, axis, shape, centred, right_kinds) in cases.items():
    model, right = normalisation(x, axis, shape, centred)
    assert off(model, x, right) < 1e-5
    onnx.save(model, "graph.onnx")
    found = {}
    for kind in [None, *kinds]:
        chosen = {} if kind is None else {"model_type": kind}
        fused = optimize_model("graph.onnx", opt_level=0, **chosen).model
        found[kind or "default"] = off(fused, x, right)
    print(f"{name}:", {kind: f"{value:.1g}" for kind, value in found.items()})
    assert found["default"] == found["bert"]
    for kind in kinds:
        assert found[kind] < 1e-5 if kind in right_kinds else found[kind] > 0.1, (name, kind)
PY
"$work/env/bin/python" look.py
