#!/usr/bin/env bash
# torch 2.13.0 on the CPU, Python 3.11.
#
# Input: a module that computes a part in full precision, as losses do: `with torch.autocast(x.device.type,
# enabled=False)`. It is run on a CPU, and on the device "meta", which has shapes and no values, to learn the shape of
# its output before memory is taken.
# One would expect: what is disabled does nothing, on any device; the shape comes out.
# What happens: on the CPU it does nothing. On meta the context itself raises RuntimeError, although it is disabled.
# Seen: "cpu: (2, 1)" and "meta: unsupported scalarType".
#
# What our library does: models are built on meta to compare their shapes with a file of weights, and never run there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import torch


class Precise(torch.nn.Module):
    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return x.float().square().sum(1, keepdim=True)


print("cpu:", tuple(Precise()(torch.zeros(2, 3)).shape))
try:
    print("meta:", tuple(Precise()(torch.zeros(2, 3, device="meta")).shape))
except RuntimeError as error:
    print("meta:", error)
    if "unsupported scalarType" not in str(error):
        raise SystemExit("it fails for another reason now") from None
else:
    raise SystemExit("it works now")
PY
"$work/env/bin/python" look.py
