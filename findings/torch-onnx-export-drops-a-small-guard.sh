#!/usr/bin/env bash
# torch 2.13.0 on the CPU, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, Python 3.11.
#
# Input: a module with the usual guards of formulas, log(p + 1e-8), x / (norm + 1e-8), and atanh(y * (1 - 1e-6)) of
# codes in (-1, 1); exported by torch.onnx.export with its default exporter, and run on rows with a 0 and a 1.
# One would expect: the numbers of the module, where each guard keeps the value finite. 1e-8 is an ordinary float32.
# What happens: the optimiser of onnxscript, which the exporter calls, has rules for x + 0, x - 0, x * 1 and x / 1. Its
# constants match within 1e-8 absolutely and within 1e-5 relatively, so that a guard up to 1e-8, and one by a factor
# within 1e-5 of 1, is taken for nothing and removed. There is no warning, and without zeros no difference to see.
# Seen: log gives -inf in place of -18.42, the quotient nan in place of 0, atanh inf in place of 7.25. A guard of 2e-8
# stays, with right values, as does a factor of 1 - 2e-5; with optimize=False all of them stay.
#
# What our library does: its own guards are lower bounds, which stay, or 1e-5, and its export refuses a graph that has
# lost one, as it compares black images and the code 0 too. Take guards of 1e-7 or more,
# clamp(min=...) in place of a sum, or optimize=False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnxruntime
import torch

torch.set_num_threads(1)


class Guarded(torch.nn.Module):
    def __init__(self, small, share):
        super().__init__()
        self.small, self.share = small, share

    def forward(self, p, x, y):
        norm = (x * x).sum(1, keepdim=True).sqrt()
        return torch.log(p + self.small), x / (norm + self.small), torch.atanh(y * (1 - self.share))


p = torch.tensor([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
x = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
y = torch.tensor([[0.5, -0.5, 0.0], [1.0, -1.0, 0.9]])
found = {}
for small, share, optimise in ((1e-8, 1e-6, True), (1e-8, 1e-6, False), (2e-8, 2e-5, True)):
    module = Guarded(small, share).eval()
    program = torch.onnx.export(module, (p, x, y), dynamo=True, verbose=False, optimize=optimise)
    proto = program.model_proto
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {given.name: values.numpy() for given, values in zip(session.get_inputs(), (p, x, y), strict=True)}
    exact, got = [values.numpy() for values in module(p, x, y)], session.run(None, feed)
    kinds = [node.op_type for node in proto.graph.node]
    found[small, optimise] = exact, got, kinds
    print(f"guards {small} and 1 - {share}, optimiser {optimise}: {kinds}")
    for name, index in (("log", (0, 0, 0)), ("quotient", (1, 1, 0)), ("atanh", (2, 1, 0))):
        which, *place = index
        print(f"  {name}: {got[which][tuple(place)]:.4f}, the module has {exact[which][tuple(place)]:.4f}")

for key in ((1e-8, False), (2e-8, True)):
    exact, got, kinds = found[key]
    assert kinds.count("Add") == 2
    assert all(np.allclose(a, b, rtol=1e-2, atol=1e-5) for a, b in zip(exact, got, strict=True))
exact, (log, quotient, atanh), kinds = found[1e-8, True]
assert all(np.isfinite(values).all() for values in exact)
assert "Add" not in kinds
assert np.isneginf(log[p == 0]).all() and np.isnan(quotient[1]).all() and np.isinf(atanh[1, :2]).all()
PY
"$work/env/bin/python" look.py 2>/dev/null
