"""This library's quantised codes and their entropy against vector-quantize-pytorch, on the same encoder outputs.

The other is installed into a folder of its own:

    pip install --no-deps --target .venv/quantisers vector-quantize-pytorch==1.32.0 einops==0.8.2 einx==0.4.3 \\
        frozendict==2.5.1 loguru==0.7.3 torch-einops-utils==0.2.0
    PYTHONPATH=src:.venv/quantisers python tests/peers/compare_quantisers.py

It prints each comparison with the largest difference; one that it does not expect ends it with status 1. Two
differences are by design, and undone by the inputs here. LFQ takes the encoder's output itself for the distance to
zero; here it is its hyperbolic tangent. FSQ gives the outermost levels half the range; here all have the same.
pytest does not collect this file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version

import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ, LFQ

from entropic_ae.bottlenecks import Binary, Levels
from entropic_ae.estimators import joint_usage, usage_entropy

BITS, N = 6, 200
TEMPERATURE = 0.5  # of assignments; LFQ's inverse temperature of 1


def largest(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference."""
    return (ours.double() - theirs.double()).abs().max().item()


def comparisons() -> Iterator[tuple[str, float, float]]:
    """Yield names, differences and the largest that are expected."""
    torch.manual_seed(0)
    h = torch.randn(N, BITS)
    quantise = LFQ(dim=BITS, entropy_loss_weight=1.0, diversity_gamma=1.0)
    with torch.no_grad():
        theirs, _, _ = quantise.eval()(h[None])
    yield "signs of LFQ", largest(Binary(BITS)(h).z, theirs[0]), 0
    for levels in (2, 3, 5, 8):
        y = torch.rand(N, BITS) * 2 - 1
        z = Levels(BITS, levels=levels)(y.atanh()).z
        # FSQ rounds to the nearest level: equal cells of y are those of a stretched y
        stretched = (levels * (y + 1) - 1) / (levels - 1) - 1
        fsq = FSQ([levels] * BITS, preserve_symmetry=True, bound_hard_clamp=True)
        yield f"{levels} levels of FSQ, symmetric", largest(z, fsq(stretched[None])[0][0]), 1e-6
    odd = FSQ([5] * BITS)
    yield "5 levels of FSQ", largest(odd(3 * h[None])[0].unique(), torch.linspace(-1, 1, 5)), 1e-6

    ours, other = h.clone().requires_grad_(), h.clone().requires_grad_()
    soft = Binary(BITS).assignments(ours, TEMPERATURE)
    entropy = usage_entropy(joint_usage(soft, torch.arange(BITS)[None])).sum()
    of_each = usage_entropy(soft).sum(1).mean()
    _, parts = quantise.train()(other.tanh()[None], inv_temperature=1.0, return_loss_breakdown=True)
    yield "entropy of the mean assignment (LFQ's diversity)", largest(entropy, parts.batch_entropy), 1e-5
    yield "mean entropy of the assignments", largest(of_each, parts.per_sample_entropy), 1e-4
    entropy.backward()
    parts.batch_entropy.backward()
    yield "gradient of the diversity", largest(ours.grad, other.grad), 1e-6


def main() -> int:
    """Compare and print."""
    print(f"vector-quantize-pytorch {version('vector-quantize-pytorch')}, torch {torch.__version__}")
    failed = 0
    for name, difference, expected in comparisons():
        failed += not difference <= expected
        print(f"{name}: {difference:.2g}" + f", expected at most {expected:.2g}" * (not difference <= expected))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
