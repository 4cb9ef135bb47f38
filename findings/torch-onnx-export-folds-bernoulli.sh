#!/usr/bin/env bash
# torch 2.13.0 on the CPU, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, Python 3.11.
#
# Input: a module that multiplies its input with torch.bernoulli of a buffer of probabilities, and returns torch.randn
# too; exported by torch.onnx.export with its default exporter.
# One would expect: the graph draws a new mask in each run, as the module does in evaluation mode, and as it draws new
# normal numbers.
# What happens: the probabilities are constant, so the optimiser of onnxscript, which the exporter calls, draws the
# mask once and stores it. There is no warning. The normal numbers stay nodes.
# Seen: 4 runs give one mask and four draws of torch.randn; without the optimiser (optimize=False) the node Bernoulli
# is there.
#
# What our library does instead: its graphs have noise as an input.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import onnxruntime
import torch


class Noisy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("probabilities", torch.full((32,), 0.5))

    def forward(self, x):
        return x * torch.bernoulli(self.probabilities), torch.randn(4)


def kinds(**options):
    program = torch.onnx.export(Noisy().eval(), (torch.ones(2, 32),), dynamo=True, verbose=False, **options)
    return program, [node.op_type for node in program.model.graph]


program, optimised = kinds()
_, plain = kinds(optimize=False)
print("nodes with the optimiser:", optimised)
print("nodes without:", plain)
session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
runs = [session.run(None, {name: torch.ones(2, 32).numpy()}) for _ in range(4)]
masks, normals = ({run[index].tobytes() for run in runs} for index in (0, 1))
print("different masks in 4 runs:", len(masks), "different normal draws:", len(normals))
assert "Bernoulli" in plain and "Bernoulli" not in optimised
assert len(masks) == 1 and len(normals) == 4
PY
"$work/env/bin/python" look.py
echo "as described"
