"""The entropy of N codes: ``knn_entropy`` against scikit-learn's neighbours and the formula written down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from scipy.special import digamma
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from benchmarks.pairs import Contender, compared, interleave, timed
from entropic_ae.estimators import knn_entropy

SIZES = ((100, 16), (100, 128), (1000, 16), (1000, 64), (10_000, 16), (10_000, 64))
LARGE = 5000  # beyond it the naive matrix of differences would not fit


def constant(n: int, dim: int) -> float:
    """Return what the estimate adds to D times the mean logarithm of the distances."""
    return 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim + 1) + math.log(n - 1) - digamma(1)


def neighbours(z: Tensor) -> float:
    """Return the estimate by scikit-learn, which has no gradient."""
    distance = NearestNeighbors(n_neighbors=2).fit(z.numpy()).kneighbors(z.numpy())[0][:, 1]
    return z.shape[1] * float(torch.from_numpy(distance).log().mean()) + constant(*z.shape)


def naive(z: Tensor) -> Tensor:
    """Return the estimate by the whole matrix of distances."""
    square = (z[:, None] - z).square().sum(2)
    nearest = square.masked_fill(torch.eye(len(z), dtype=torch.bool), torch.inf).min(1).values
    return 0.5 * z.shape[1] * nearest.log().mean() + constant(*z.shape)


def _both(estimate: Any, z: Tensor) -> None:
    estimate(z.requires_grad_()).backward()
    z.grad = None


def _forward(estimate: Any, z: Tensor) -> None:
    with torch.no_grad():
        estimate(z)


def measure(rounds: int, *, sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[dict[str, Any]]:
    """Yield a row a size and direction: seconds and paired ratios; the estimates are checked to agree first."""
    for n, dim in sizes:
        z = torch.randn(n, dim, generator=torch.Generator().manual_seed(0))
        expected = knn_entropy(z).item()
        assert abs(neighbours(z) - expected) < 1e-3 * abs(expected)
        forward: dict[str, Contender] = {
            "entropic-ae": timed(_forward, knn_entropy, z),
            "scikit-learn": timed(neighbours, z),
        }
        backward: dict[str, Contender] = {"entropic-ae": timed(_both, knn_entropy, z.clone())}
        if n <= LARGE:
            assert abs(naive(z).item() - expected) < 1e-3 * abs(expected)
            forward["naive"] = timed(_forward, naive, z)
            backward["naive"] = timed(_both, naive, z.clone())
        for direction, contenders in (("forward", forward), ("forward and backward", backward)):
            yield {
                "codes": n,
                "dimensions": dim,
                "direction": direction,
                **compared(interleave(contenders, rounds), "entropic-ae"),
            }
