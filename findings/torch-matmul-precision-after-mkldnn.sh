#!/usr/bin/env bash
# torch 2.13.0 on the CPU, Python 3.11.
#
# Input: the documented setting torch.backends.mkldnn.matmul.fp32_precision = "bf16", then a question about precision.
# One would expect: an answer, or that the older question does not know of the newer setting.
# What happens: torch.get_float32_matmul_precision() raises a RuntimeError about a mix of old and new settings, though
# nothing old was ever set. Any library that asks, to restore the setting later, fails in a program that only set it.
# Seen: RuntimeError.
#
# What our library does: metrics/pairs.py takes products on the CPU from NumPy, so that no setting changes a result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import torch

assert torch.get_float32_matmul_precision() == "highest"
torch.backends.mkldnn.matmul.fp32_precision = "bf16"
try:
    print(torch.get_float32_matmul_precision())
    raise SystemExit("no error any more")
except RuntimeError as error:
    print("RuntimeError:", str(error).splitlines()[0])
PY
"$work/env/bin/python" look.py
