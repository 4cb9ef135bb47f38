"""Fitting mixtures: scikit-learn's fit and its starts, by time and by the likelihood of held-out codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.pairs import PAIRED, compared, interleave
from benchmarks.tables import markdown, plain
from entropic_ae.bottlenecks import BatchNorm
from entropic_ae.densities import Density, Gaussian, Mixture
from entropic_ae.mixtures import mean_and_deviation
from entropic_ae.storage.files import read_json

SIZES = (  # kind of codes, their number, dimensions, components
    ("bent", 10_000, 16, 10),
    ("bent", 10_000, 64, 10),
    ("bent", 50_000, 128, 50),
    ("clustered", 50_000, 128, 50),
)
FEW = 1  # round of more than this many codes, which take minutes each
MANY = 10_000
STARTS = (
    "kmeans",
    "k-means++",
    "random_from_data",
)  # the first is the library's, and of many codes the only one


def bent(n: int, dim: int, seed: int) -> Tensor:
    """Return codes of no mixture, (n, D), whose fit takes as many steps as that of an autoencoder's."""
    shapes = torch.Generator().manual_seed(0)
    folds, mix = (torch.randn(dim, dim, generator=shapes) / dim**0.5 for _ in range(2))
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(2 * x @ folds) @ mix + 0.3 * x


def clustered(n: int, dim: int, seed: int, *, clusters: int = 50) -> Tensor:
    """Return codes of clusters that are Gaussians far from one another, (n, D)."""
    shapes = torch.Generator().manual_seed(0)
    centres = torch.randn(clusters, dim, generator=shapes)
    factors = torch.randn(clusters, dim, dim, generator=shapes) / dim**0.5
    source = torch.Generator().manual_seed(seed)
    places = torch.randint(clusters, (n,), generator=source)
    x = torch.randn(n, dim, generator=source)
    codes = torch.empty(n, dim)
    for k in range(clusters):
        codes[places == k] = centres[k] + x[places == k] @ factors[k].T
    return codes


CODES = {"bent": bent, "clustered": clustered}


class _Fit:
    """A contender that fits a density, and keeps the latest."""

    def __init__(self, fit: Callable[[Tensor], Any], codes: Tensor) -> None:
        self.fit, self.codes = fit, codes

    def __call__(self) -> float:
        started = time.perf_counter()
        self.fitted = self.fit(self.codes)
        return time.perf_counter() - started


def _start(codes: Tensor, start: str, components: int) -> GaussianMixture:
    mean, deviation = mean_and_deviation(codes)
    mixture = GaussianMixture(components, tol=1e-3, max_iter=2000, init_params=start, random_state=0)
    return mixture.fit(((codes - mean) / deviation).numpy())


def _likelihood(mixture: GaussianMixture, codes: Tensor, held_out: Tensor) -> float:
    """Return the mean log likelihood of held-out codes under a mixture of standardised codes."""
    mean, deviation = mean_and_deviation(codes)
    return float(mixture.score(((held_out - mean) / deviation).numpy())) - deviation.log().sum().item()


def _library(codes: Tensor, kind: type[Density], **settings: Any) -> Density:
    return kind.fit(codes, BatchNorm(codes.shape[1]).prior(), **settings)


def measure(rounds: int, *, sizes: tuple[tuple[str, int, int, int], ...] = SIZES) -> Iterator[dict[str, Any]]:
    """Yield a row a size: seconds, paired ratios and the mean log likelihood of held-out codes for each start."""
    for kind, n, dim, components in sizes:
        codes, held_out = (CODES[kind](n, dim, seed).double() for seed in (1, 2))
        ours = _Fit(partial(_library, kind=Mixture, components=components), codes)
        used = STARTS if n <= MANY else STARTS[:1]
        starts = {start: _Fit(partial(_start, start=start, components=components), codes) for start in used}
        contenders = {"entropic-ae": ours, **starts, "one Gaussian": _Fit(partial(_library, kind=Gaussian), codes)}
        found = compared(interleave(contenders, rounds if n <= MANY else min(rounds, FEW)), "entropic-ae")
        likelihoods = {
            "entropic-ae": ours.fitted.log_prob(held_out).mean().item(),
            **{start: _likelihood(fit.fitted, codes, held_out) for start, fit in starts.items()},
        }
        described = {"kind": kind, "codes": n, "dimensions": dim, "components": components}
        yield {**described, "log_likelihood": likelihoods, **found}


def render_likelihood(path: Path) -> str:
    """Return the mean log likelihood of held-out codes under the mixtures of a benchmark, in nats."""
    rows = read_json(path)["rows"]
    names = list(rows[0]["log_likelihood"])
    described = [name for name in rows[0] if name not in PAIRED]
    lines = []
    for row in rows:
        likelihoods = row["log_likelihood"]
        values = (f"{likelihoods[name]:.3f}" if name in likelihoods else "-" for name in names)
        lines.append([*(plain(row[name]) for name in described), *values])
    return markdown([*described, *names], lines)
