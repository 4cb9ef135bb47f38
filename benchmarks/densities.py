"""Fitting the mixture of ten: scikit-learn's starts compared, by time and by the likelihood of held-out codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.pairs import compared, interleave, timed
from entropic_ae.bottlenecks import BatchNorm
from entropic_ae.densities import Gaussian, Mixture

SIZES = ((10_000, 16), (10_000, 64), (50_000, 128))
FEW = 2  # rounds at most of more than this many codes, which take minutes each
MANY = 10_000
STARTS = ("kmeans", "k-means++", "random_from_data")


def clustered(n: int, dim: int, seed: int) -> Tensor:
    """Return clustered codes, (n, D): ten Gaussians of unequal shapes, which are the same for every seed."""
    shapes = torch.Generator().manual_seed(0)
    means, roots = torch.randn(10, dim, generator=shapes), torch.randn(10, dim, dim, generator=shapes) / dim**0.5
    source = torch.Generator().manual_seed(seed)
    which = torch.randint(10, (n,), generator=source)
    noise = torch.randn(n, dim, generator=source)
    return means[which] + torch.einsum("nij,nj->ni", roots[which], noise)


def _start(codes: Tensor, start: str) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(10, tol=1e-3, max_iter=2000, init_params=start, random_state=0).fit(codes.numpy())


def _library(kind: Any, codes: Tensor) -> Any:
    return kind.fit(codes, BatchNorm(codes.shape[1]).prior())


def measure(rounds: int, *, sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[dict[str, Any]]:
    """Yield a row a size: seconds, paired ratios and the mean log likelihood of held-out codes for each start."""
    for n, dim in sizes:
        codes, held_out = clustered(n, dim, 1).double(), clustered(n, dim, 2).double()
        contenders = {"entropic-ae": timed(_library, Mixture, codes)}
        contenders |= {start: timed(_start, codes, start) for start in STARTS}
        contenders["one Gaussian"] = timed(_library, Gaussian, codes)
        likelihoods = {
            "entropic-ae": float(_library(Mixture, codes).log_prob(held_out).mean()),
            **{start: float(_start(codes, start).score(held_out.numpy())) for start in STARTS},
        }
        turns = rounds if n <= MANY else min(rounds, FEW)
        yield {
            "codes": n,
            "dimensions": dim,
            "log_likelihood": likelihoods,
            **compared(interleave(contenders, turns), "entropic-ae"),
        }
