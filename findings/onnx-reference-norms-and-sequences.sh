#!/usr/bin/env bash
# onnx 1.23.2 (its ReferenceEvaluator), onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: graphs of one operator each, run by onnx.reference.ReferenceEvaluator, which the ONNX project offers to check
# others with, and by onnxruntime: LpNormalization of codes with p=1 and 2; LRN, the normalisation across channels of
# encoders like AlexNet, of one, two and four images of four channels; MaxPool with auto_pad SAME_LOWER of 5 x 6 pixels;
# LSTM with sequence_lens, two sequences of 7 and 4 steps, and with clip=0.1.
# One would expect: equal values, or the errors that the evaluator raises for what it does not know.
# What happens: the norm for p=1 is the sum of the values as they are, without absolute values, so that codes are
# divided by a number of either sign, or near 0. LRN loops over as many channels as there are images and leaves the sum
# of squares of the others at 0: of one image the first channel alone is right. MaxPool rounds its size down for
# SAME_LOWER, where the standard has up. LSTM accepts sequence_lens and clip and uses neither. Nothing is reported.
# Seen: largest differences from the formulas: LpNormalization 10 for p=1, 0 for p=2; LRN of one image 2.8, and 0 in the
# first channel, of four images 0; onnxruntime 2e-07 at most. MaxPool gives 2 x 3 pixels, onnxruntime 3 x 3. The last
# states of the LSTM differ by 0.6 with sequence_lens and by 0.8 with clip, and by 6e-08 without both.
#
# What our library does: its exports are compared with onnxruntime.
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
from onnx.reference import ReferenceEvaluator

draws = np.random.default_rng(0)


def normal(*shape):
    return draws.standard_normal(shape).astype(np.float32)


def both(kind, x, shape, constants=(), outputs=("y",), **kwargs):
    names = [name if values is not None else "" for name, values in dict(constants).items()]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *names], list(outputs), **kwargs)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(outputs[-1], TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(values, name) for name, values in dict(constants).items() if values is not None],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0], ReferenceEvaluator(model).run(None, {"x": x})[0]


codes = normal(50, 4)
for p in (1, 2):
    other, reference = both("LpNormalization", codes, codes.shape, axis=1, p=p)
    formula = codes / (np.abs(codes) ** p).sum(1, keepdims=True) ** (1 / p)
    print(f"LpNormalization, p={p}: reference {abs(reference - formula).max():.1g}", end=" ")
    print(f"onnxruntime {abs(other - formula).max():.1g}")
    assert abs(other - formula).max() < 1e-5 and (abs(reference - formula).max() > 1) == (p == 1)
    assert p == 2 or np.allclose(reference, codes / codes.sum(1, keepdims=True), rtol=1e-4)

for number in (1, 2, 4):
    images = normal(number, 4, 5, 6)
    other, reference = both("LRN", images, images.shape, size=3, alpha=1.0, beta=0.75, bias=1.0)
    padded = np.pad(images**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    formula = images / (1 + (padded[:, :4] + padded[:, 1:5] + padded[:, 2:]) / 3) ** 0.75
    off = abs(reference - formula).max((0, 2, 3))
    print(f"LRN, {number} images: reference by channel {[round(float(v), 2) for v in off]}", end=" ")
    print(f"onnxruntime {abs(other - formula).max():.1g}")
    assert abs(other - formula).max() < 1e-5
    assert off[:number].max() < 1e-5 and (number == 4 or off[number:].min() > 0.2)
    assert np.allclose(reference[:, number:], images[:, number:])

images = normal(2, 4, 5, 6)
settings = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}
other, reference = both("MaxPool", images, (2, 4, 3, 3), **settings)
print("MaxPool: reference", reference.shape[2:], "onnxruntime", other.shape[2:])
assert reference.shape[2:] == (2, 3) and other.shape[2:] == (3, 3)
padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 0)), constant_values=-np.inf)
windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
assert np.array_equal(other, windows.max((4, 5)))

steps = normal(7, 2, 3)
weights = {"w": normal(1, 20, 3), "r": normal(1, 20, 5), "b": normal(1, 40)}
lengths = np.array([7, 4], np.int32)
found = {}
for name, more, kwargs in (
    ("plain", {}, {}),
    ("sequence_lens", {"lengths": lengths}, {}),
    ("clip", {}, {"clip": 0.1}),
):
    found[name] = both("LSTM", steps, (1, 2, 5), weights | more, ("", "h"), hidden_size=5, **kwargs)
    print(f"LSTM, {name}: differ by {abs(found[name][0] - found[name][1]).max():.1g}")
    assert np.array_equal(found[name][1], found["plain"][1])
    assert (abs(found[name][0] - found[name][1]).max() > 0.05) == (name != "plain")
short, _ = both("LSTM", steps[:4], (1, 2, 5), weights, ("", "h"), hidden_size=5)
assert np.allclose(found["sequence_lens"][0][:, 1], short[:, 1], atol=1e-6)
PY
"$work/env/bin/python" look.py 2>/dev/null
