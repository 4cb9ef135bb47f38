#!/usr/bin/env bash
# piq 0.8.0, torch 2.13.0 (CPU), torchvision 0.28.0, scipy 1.17.1, numpy 2.4.6, Python 3.11.
#
# Input: 1,000 draws from N(0, I) in 16 dimensions as real features, for MSID, a multi-scale intrinsic distance that was
# proposed for generative models. It is compared with itself, with other draws, with draws around a far point, and with
# one point that is repeated with noise of a thousandth.
# One would expect: 0 for the set itself, little for other draws, much for the far and the repeated point.
# What happens: it sees a graph of nearest neighbours only, which knows no place and no scale. The repeated point and
# the far one are as near as other draws. And the trace of the graph's heat kernel is estimated from 100 random starts
# at each call, so the set differs from itself by about as much as from other draws, and each call gives another value.
# A call has no seed but NumPy's global one.
# Seen, of 6 calls, lowest to highest: the set itself 0.1 to 6.9, other draws 1.0 to 7.1, a far point 1.0 to
# 9.5, a repeated point 3.1 to 10.8; a set of rank 8, which changes the graph, 49 to 67.
#
# What our library does: it has no MSID. Frechet and kernel distances, and recall, see all of these sets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 scipy==1.17.1 numpy==2.4.6 pillow
"$work/env/bin/pip" install --quiet --no-deps piq==0.8.0 torchvision==0.28.0
cd "$work"
cat > look.py <<'PY'
import sys

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # beside another build of torch its compiled operators are missing; MSID needs none
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from piq import MSID

np.random.seed(0)
generator = torch.Generator().manual_seed(0)
real, others = (torch.randn(1000, 16, generator=generator, dtype=torch.float64) for _ in range(2))
narrow = others.clone()
narrow[:, 8:] = 0
sets = {
    "the set itself": real,
    "a repeated point": others[:1] + 1e-3 * others,
    "other draws": others,
    "a far point": others + 10,
    "rank 8": narrow,
}
found = {}
for name, one in sets.items():
    calls = sorted(MSID()(real, one).item() for _ in range(6))
    found[name] = np.mean(calls)
    print(f"{name}: {calls[0]:.1f} to {calls[-1]:.1f}")
assert found["the set itself"] > 1
assert max(found["a repeated point"], found["a far point"], found["other draws"]) < found["rank 8"] / 3
assert found["rank 8"] > 30
PY
"$work/env/bin/python" look.py 2>/dev/null
