#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: EMAQuantizer, the codebook of MONAI's VQVAE, with 32 codes of 8 dimensions and its defaults, in training mode.
# Minibatches have 2,048 vectors, which are of 32 clusters of spread 0.1 around draws from N(0, I).
# One would expect: codes move to the means of their vectors, about one for each cluster. The docstring cites the
# VectorQuantizerEMA of Sonnet 2, whose averages start at zero and are divided by 1 - decay^t.
# What happens: one average starts at zero, that of the counts; the other starts at the codes themselves; neither is
# corrected. In the first step a code with n vectors becomes their mean plus 99/n times itself. A code without
# any is divided by 1e-5, so it is sent away to a distance of 100,000, and comes back only as 0.99^t. Until then, for
# a thousand steps, the few other codes have all vectors. No warning.
# Seen: before the first step 24 of the 32 codes have vectors, after it 14, and the longest code has a norm of 466,262
# where it had 4.7. After 10 and 500 steps 12 have some, after 1,000 steps 14, after 2,000 steps 25; by the formula of
# Sonnet 24 or 25 throughout. Mean squared error by the variance after 10 and 500 steps: 0.38 and 0.32; by that formula
# 0.15 and 0.13.
#
# What our library does: its quantised bottlenecks have fixed levels and no codebook; tools/quantised.py measures a
# VQ-VAE with vector-quantize-pytorch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1
cd "$work"
cat > look.py <<'PY'
import torch
from monai.networks.layers.vector_quantizer import EMAQuantizer
from torch.nn.functional import one_hot

CODES, WIDTH, DECAY, EPSILON = 32, 8, 0.99, 1e-5
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(1)
centres = torch.randn(CODES, WIDTH, generator=generator)


def draw():
    labels = torch.randint(CODES, (2048,), generator=generator)
    return centres[labels] + 0.1 * torch.randn(2048, WIDTH, generator=generator)


def state(codes, vectors):
    """Return how many codes have vectors, and the mean squared error by the variance."""
    distances = torch.cdist(vectors, codes)
    error = (distances.amin(1) ** 2).mean() / WIDTH
    return len(distances.argmin(1).unique()), (error / vectors.var()).item()


class Sonnet:
    """The averages that the docstring cites: both from zero, with the correction for it."""

    def __init__(self, codes):
        self.codes, self.steps = codes.clone(), 0
        self.counts, self.sums = torch.zeros(CODES), torch.zeros(CODES, WIDTH)

    def step(self, vectors):
        chosen = one_hot(torch.cdist(vectors, self.codes).argmin(1), CODES).float()
        self.steps += 1
        self.counts = DECAY * self.counts + (1 - DECAY) * chosen.sum(0)
        self.sums = DECAY * self.sums + (1 - DECAY) * chosen.T @ vectors
        correction = 1 - DECAY**self.steps
        counts, sums = self.counts / correction, self.sums / correction
        total = counts.sum()
        self.codes = sums / ((counts + EPSILON) / (total + CODES * EPSILON) * total)[:, None]


torch.manual_seed(0)
quantiser = EMAQuantizer(spatial_dims=2, num_embeddings=CODES, embedding_dim=WIDTH).train()
before = quantiser.embedding.weight.clone()
reference = Sonnet(before)
kept = {}
for step in range(1, 2001):
    vectors = draw()
    chosen = quantiser(vectors.view(32, 8, 8, WIDTH).permute(0, 3, 1, 2))[2].flatten()
    reference.step(vectors)
    if step == 1:
        counts = torch.bincount(chosen, minlength=CODES)
        some = counts > 0
        means = torch.zeros(CODES, WIDTH).index_add_(0, chosen, vectors)[some] / counts[some, None]
        moved = means + DECAY / (1 - DECAY) / counts[some, None] * before[some]
        assert torch.allclose(quantiser.embedding.weight[some], moved, rtol=1e-2)
        longest = quantiser.embedding.weight.norm(dim=1).max().item()
        print(f"first step: {int(some.sum())} codes have vectors; longest code before", end=" ")
        print(f"{before.norm(dim=1).max():.1f}, after {longest:.0f}")
        ratios = quantiser.embedding.weight[~some].norm(dim=1) / before[~some].norm(dim=1)
        assert longest > 1e5 and torch.allclose(ratios, torch.full_like(ratios, DECAY / EPSILON), rtol=1e-2)
    if step in (1, 10, 500, 1000, 2000):
        seen = draw()
        kept[step] = *state(quantiser.embedding.weight, seen), *state(reference.codes, seen)
        print("after {}: {} codes in use, error {:.3f}; by the formula of Sonnet {}, {:.3f}".format(step, *kept[step]))
for step in (10, 500, 1000):
    assert kept[step][0] <= 16 and kept[step][2] >= 22
    assert kept[step][1] > 1.5 * kept[step][3]
PY
"$work/env/bin/python" look.py 2>/dev/null
