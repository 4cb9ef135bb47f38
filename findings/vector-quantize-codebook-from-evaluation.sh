#!/usr/bin/env bash
# vector-quantize-pytorch 1.32.0, torch 2.13.0, Python 3.11.
#
# Input: VectorQuantize with kmeans_init=True, in evaluation mode, before any training step: a quantiser that is
# checked once on some validation vectors before training, as trainers do.
# One would expect: evaluation changes no state. The codebook is made by the first minibatch of training.
# What happens: the first forward pass makes the codebook by k-means of what it is given, in evaluation mode too, and
# marks it as initialised, so that training starts from the validation vectors, and its own data never initialise it.
# Seen: "after evaluation: initialised True, codes near 1.0; after training data around 5: codes near 1.0".
#
# What our library does: tools/quantised.py, which measures a VQ-VAE beside quantised codes, trains before it evaluates.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 vector-quantize-pytorch==1.32.0
cd "$work"
cat > look.py <<'PY'
import torch
from vector_quantize_pytorch import VectorQuantize

torch.manual_seed(0)
quantiser = VectorQuantize(dim=4, codebook_size=8, kmeans_init=True, learnable_codebook=False, ema_update=False)
quantiser.eval()
with torch.no_grad():
    quantiser(1 + 0.01 * torch.randn(1, 200, 4))  # validation vectors, near 1
started = bool(quantiser._codebook.initted)
codes = quantiser.codebook.clone()
quantiser.train()
quantiser(5 + torch.randn(1, 200, 4))  # the first minibatch of training, around 5
after = quantiser.codebook
print(
    f"after evaluation: initialised {started}, codes near {codes.mean().item():.1f}; "
    f"after training data around 5: codes near {after.mean().item():.1f}"
)
if not started or bool((codes - 1).abs().max() > 0.1):
    raise SystemExit("evaluation leaves the codebook alone now")
if not torch.equal(codes, after):
    raise SystemExit("training data initialise it now")
PY
"$work/env/bin/python" look.py
