#!/usr/bin/env bash
# vector-quantize-pytorch 1.32.0, torch 2.13.0, Python 3.11.
#
# Input: VectorQuantize whose codebook is set by its property (codebook = ...), for example to the centres of a k-means
# of one's own, and one training step on data of exactly these centres, with moving averages of decay 0.99.
# One would expect: the codes stay where they are, since the data agree with them and the averages move by a hundredth.
# What happens: the property sets the codes, not the sums that the moving averages are of. The first step divides the
# sums of the random codes of the start, a hundredth renewed, by the counts: all codes jump to near the origin. With
# threshold_ema_dead_code=2, as in the README, each count starts at 1, so the first step instead replaces every code
# that fewer than 101 inputs are nearest to, with random inputs, and one of the four centres is lost.
# Seen: "codes set at 10, 20, 30, 40, in evaluation exact: True; after a step: without a threshold 2.0, 3.5, 5.8, 8.1;
# with the threshold 20.0, 10.0, 40.0, 40.0".
#
# What our library does: tools/quantised.py lets the first minibatch of training make the codebook (kmeans_init=True),
# which sets sums and counts too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 vector-quantize-pytorch==1.32.0
cd "$work"
cat > look.py <<'PY'
import torch
from vector_quantize_pytorch import VectorQuantize

centres = torch.tensor([[10.0, 0.0], [20.0, 0.0], [30.0, 0.0], [40.0, 0.0]])
data = centres.repeat(25, 1)[None]  # each centre 25 times


def step(threshold):
    torch.manual_seed(0)
    quantiser = VectorQuantize(dim=2, codebook_size=4, decay=0.99, threshold_ema_dead_code=threshold)
    quantiser.codebook = centres
    with torch.no_grad():
        exact = torch.equal(quantiser.eval()(data)[0], data)
    quantiser.train()
    quantiser(data)
    return exact, quantiser.codebook.detach()


exact, moved = step(0)
_, replaced = step(2)
kept = sum(bool((replaced == centre).all(1).any()) for centre in centres)
print(
    f"codes set at {', '.join(f'{x:.0f}' for x in centres[:, 0])}, in evaluation exact: {exact}; "
    f"after a step: without a threshold {', '.join(f'{x:.1f}' for x in moved[:, 0])}; "
    f"with the threshold {', '.join(f'{x:.1f}' for x in replaced[:, 0])}"
)
if not exact or bool((moved - centres).norm(dim=1).min() < 5):
    raise SystemExit("a given codebook is kept now")
if kept == 4:
    raise SystemExit("the threshold keeps the codes of a first step now")
PY
"$work/env/bin/python" look.py
