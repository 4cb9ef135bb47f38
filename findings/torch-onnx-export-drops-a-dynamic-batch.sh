#!/usr/bin/env bash
# torch 2.13.0 on the CPU with onnx 1.23.2 and onnxscript 0.7.2, Python 3.11.
#
# Input: a module that fixes its batch, x.reshape(2, 3), and a dynamic dimension for the batch, given to
# torch.export.export and to torch.onnx.export(dynamo=True) in the same words (dynamic_shapes).
# One would expect: both refuse it, since the graph cannot have that dimension.
# What happens: torch.export raises "Constraints violated". torch.onnx.export returns a program without an error or a
# warning, whose input has the fixed shape [2, 3]: the dimension that was asked for is gone.
# Seen: UserError from the first, "input [2,3]" from the second.
#
# What our library does: where onnxruntime is installed, each file is compared with PyTorch for batches of 1, 7 and 64
# before it is kept, so a network that fixes its batch is refused.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
cd "$work"
cat > look.py <<'PY'
import warnings

import torch


class Fixed(torch.nn.Module):
    def forward(self, x):
        return x.reshape(2, 3) + 1


given, batch = (torch.zeros(2, 3),), torch.export.Dim("batch")
try:
    torch.export.export(Fixed(), given, dynamic_shapes=({0: batch},))
    raise SystemExit("torch.export accepts it now")
except torch._dynamo.exc.UserError as error:
    print("torch.export:", str(error).splitlines()[0][:40])
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    program = torch.onnx.export(Fixed(), given, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
shape = program.model.graph.inputs[0].shape
print("torch.onnx.export: input", shape, "warnings of shapes:", [t for t in told if "dynamic" in str(t.message)])
if [*shape] != [2, 3]:
    raise SystemExit("the dimension is kept now")
PY
"$work/env/bin/python" look.py
