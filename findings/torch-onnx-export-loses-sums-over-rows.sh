#!/usr/bin/env bash
# torch 2.13.0 on the CPU, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, Python 3.11.
#
# Input: three modules, exported by torch.onnx.export with its default exporter: sums.index_add(0, rows, parts), as sums
# by class have it, where the rows are 0 to 3 of 4 in order; the same codes clamped to two windows, each written as
# clamp(min=...) and clamp(max=...), as for a decoder and for a picture of the codes; and relu of codes clamped to a
# window below 0. Then onnxscript.optimizer.optimize of a graph of operator set 13 that flattens a batch of any size by
# the usual nodes, Shape, Gather, Concat and Reshape.
# One would expect: the numbers of the modules and of the graph.
# What happens: by rules of the optimiser of onnxscript, which the exporter calls. ScatterND of all rows in order
# becomes its updates, whatever its attribute reduction says, so that the sums before are forgotten. Max and Min with
# constants become a Clip, whose bounds are named after the input alone: the second window of one input gets a name
# that nothing has, and the file is refused. Relu of a Clip becomes a Clip from 0 to its old maximum; if that is
# negative, everything is the maximum. Reshape gets the attribute allowzero, which operator sets before 14 have not.
# There is no warning, and with optimize=False all is right.
# Seen: the sums are parts alone, off by 1 to 4 where 1 to 4 were there before. onnxruntime and the checker of onnx
# refuse the two windows; onnxruntime refuses the flattened graph: "Unrecognized attribute: allowzero". relu gives -1
# in place of 0.
#
# What our library does: its export runs each graph and compares it with PyTorch. Do so too, or export with
# optimize=False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, checker, helper, numpy_helper
from onnxscript import optimizer

torch.set_num_threads(1)
onnxruntime.set_default_logger_severity(4)


def run(proto, *given):
    """Return the outputs, or the error of onnxruntime."""
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip((one.name for one in session.get_inputs()), given, strict=True)))
    except Exception as error:
        return str(error)


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, parts):
        return self.function(x, parts)


def sums(x, parts):
    return x.index_add(0, torch.arange(4), parts)


def windows(x, parts):
    return x.clamp(min=0).clamp(max=1), x.clamp(min=-2).clamp(max=2) + parts


def below(x, parts):
    return torch.relu(x.clamp(-3, -1)) + 0 * parts


x = torch.arange(1.0, 5)[:, None].expand(4, 3).contiguous()
parts = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
found = {}
for function, optimise in ((sums, True), (windows, True), (below, True), (windows, False), (sums, False)):
    module = Function(function).eval()
    proto = torch.onnx.export(
        module, (x, parts), dynamo=True, verbose=False, optimize=optimise, input_names=["x", "parts"]
    ).model_proto
    got = run(proto, x.numpy(), parts.numpy())
    exact = module(x, parts)
    exact = [one.numpy() for one in (exact if isinstance(exact, tuple) else (exact,))]
    found[function.__name__, optimise] = got, exact, proto
    said = got if isinstance(got, str) else [float(np.abs(a - b).max()) for a, b in zip(got, exact, strict=True)]
    print(f"{function.__name__}, optimiser {optimise}: {[node.op_type for node in proto.graph.node]}, off by {said}")

got, exact, _ = found["sums", True]
assert np.array_equal(got[0], parts.numpy()) and np.allclose(exact[0] - got[0], x.numpy(), atol=1e-5)
got, exact, proto = found["windows", True]
assert isinstance(got, str) and "is not a graph input, initializer, or output of a previous node" in got
try:
    checker.check_model(proto, full_check=True)
    raise SystemExit("the checker takes it")
except checker.ValidationError:
    pass
got, exact, _ = found["below", True]
assert (got[0] == -1).all() and (exact[0] == 0).all()
for name in ("sums", "windows"):
    got, exact, _ = found[name, False]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(got, exact, strict=True))

images = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
for opset in (13, 14):
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
            helper.make_node("Concat", ["batch", "rest"], ["flat"], axis=0),
            helper.make_node("Reshape", ["x", "flat"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 48))],
        [numpy_helper.from_array(np.array([value]), name) for name, value in (("zero", 0), ("rest", -1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model, full_check=True)
    plain, optimised = run(model, images), run(optimizer.optimize(model), images)
    assert np.array_equal(plain[0], images.reshape(5, 48))
    print(f"operator set {opset}:", optimised[-60:] if isinstance(optimised, str) else "right")
    assert "Unrecognized attribute: allowzero" in optimised if opset < 14 else np.array_equal(optimised[0], plain[0])
PY
"$work/env/bin/python" look.py 2>/dev/null
