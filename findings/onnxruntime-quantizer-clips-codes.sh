#!/usr/bin/env bash
# onnxruntime 1.32.0 (its quantization tools, CPU), onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Input: quantize_static with its defaults, calibrated with the data that are evaluated. First a graph of an encoder and
# a decoder, Gemm - Relu - Gemm, with two outputs: the codes in front of the Relu, and the images. Then one Gemm with a
# bias, with the factors alpha of the product and beta of the bias, as torch.addmm has them for a draw with a
# temperature, in both formats, QDQ and QOperator.
# One would expect: errors of a percent, by the rounding to 8 bits, as with alpha and beta 1.
# What happens: the range of what goes into a Relu is taken from what comes out of it, if no other node reads it. An
# output of the graph is no node. So the codes are quantised from 0 on, and all negative ones are 0; a second node that
# reads them mends it. beta is part of the scale of the quantised bias and then set to 1, but the bias itself is not
# multiplied by it, so the bias counts 1/beta times, and in a graph without fusion once. In the format QOperator alpha
# is one factor for the product and for the bias. Nothing is reported.
# Seen: codes off by 72 % of their standard deviation, images by 2 %; with an Identity that reads the codes, codes by
# 1 %. For alpha and beta of 1 and 3, the factors found are 1.00 and 0.33, without fusion 1.00 and 1.00 in QDQ; for 0.5
# and 1 in the format QOperator 0.50 and 0.50, and in QDQ 0.50 and 1.00.
#
# What our library does: it exports float32 and quantises nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(4)
draws = np.random.default_rng(0)


def normal(*shape):
    return draws.standard_normal(shape).astype(np.float32)


images = normal(256, 16)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"x": images}])

    def get_next(self):
        return next(self.batches, None)


def both(nodes, outputs, constants, fusion=True, **settings):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, images.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (256, width)) for name, width in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    onnx.save(model, "graph.onnx")
    quantize_static("graph.onnx", "quantised.onnx", Reader(), **settings)
    options = onnxruntime.SessionOptions()
    if not fusion:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    results = []
    for name in ("graph.onnx", "quantised.onnx"):
        session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        results.append(session.run(list(outputs), {"x": images}))
    return results


constants = {"w": normal(16, 6), "b": normal(6), "v": normal(6, 16), "c": normal(16)}
autoencoder = [
    helper.make_node("Gemm", ["x", "w", "b"], ["codes"]),
    helper.make_node("Relu", ["codes"], ["hidden"]),
    helper.make_node("Gemm", ["hidden", "v", "c"], ["images"]),
]
outputs = {"codes": 6, "images": 16}
for name, nodes, more in (
    ("as it is", [], {}),
    ("with an Identity", [helper.make_node("Identity", ["codes"], ["copy"])], {"copy": 6}),
):
    exact, quantised = both(autoencoder + nodes, outputs | more, constants)
    errors = [((a - b) ** 2).mean() ** 0.5 / a.std() for a, b in zip(exact, quantised, strict=True)]
    print(f"{name}: codes off by {errors[0]:.2f}, images by {errors[1]:.2f};", end=" ")
    print(f"least code {quantised[0].min():.2f}, exactly {exact[0].min():.2f}")
    assert errors[1] < 0.03 and (errors[0] > 0.5) == (not more)
    assert more or np.allclose(quantised[0], np.maximum(exact[0], 0), atol=0.2)

product, bias = images @ constants["w"], np.broadcast_to(constants["b"], (256, 6))
design = np.stack([product.ravel(), bias.ravel()], axis=1)
found = {}
for alpha, beta, fusion in ((1.0, 1.0, True), (1.0, 3.0, True), (1.0, 3.0, False), (1.0, 0.5, True), (0.5, 1.0, True)):
    for kind in (QuantFormat.QDQ, QuantFormat.QOperator):
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=alpha, beta=beta)
        given = {name: constants[name] for name in "wb"}
        exact, quantised = both([node], {"y": 6}, given, fusion=fusion, quant_format=kind)
        assert np.allclose(exact[0], alpha * product + beta * bias, atol=1e-4)
        factors = np.linalg.lstsq(design, quantised[0].ravel(), rcond=None)[0]
        found[alpha, beta, kind.name if fusion else f"{kind.name}, no fusion"] = factors
        print(f"alpha {alpha}, beta {beta}, {kind.name}, fusion {fusion}: factors {factors[0]:.2f}, {factors[1]:.2f}")
for kind in ("QDQ", "QOperator"):
    assert np.allclose(found[1.0, 1.0, kind], (1, 1), atol=0.05)
    assert np.allclose(found[1.0, 3.0, kind], (1, 1 / 3), atol=0.05)
    assert np.allclose(found[1.0, 0.5, kind], (1, 2), atol=0.05)
assert np.allclose(found[1.0, 3.0, "QDQ, no fusion"], (1, 1), atol=0.05)
assert np.allclose(found[0.5, 1.0, "QDQ"], (0.5, 1), atol=0.05)
assert np.allclose(found[0.5, 1.0, "QOperator"], (0.5, 0.5), atol=0.05)
PY
"$work/env/bin/python" look.py 2>/dev/null
