"""The mixture transport: the time of its inverse, beside the other direction and an inverse by halving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.densities import bent
from benchmarks.pairs import compared, interleave, timed
from entropic_ae.priors import Normal
from entropic_ae.transports import MixtureTransport

SIZES = ((16, 50, 1), (16, 50, 2), (16, 100, 2), (64, 20, 2))  # dimensions, components, scales
FITTED, MAPPED = 10_000, 1000  # codes
HALVINGS = 50  # of the widest bracket, 2^-50 of which is left


def measure(
    rounds: int, *, sizes: tuple[tuple[int, int, int], ...] = SIZES, fitted: int = FITTED, mapped: int = MAPPED
) -> Iterator[dict[str, Any]]:
    """Yield a row a size: seconds of the inverse, paired ratios, and the error of the way there and back."""
    for dim, components, scales in sizes:
        codes = bent(fitted, dim, 1).double()
        transport = MixtureTransport.fit(codes, Normal.standard(dim), components=components, scales=scales)
        u = torch.randn(mapped, dim, generator=torch.Generator().manual_seed(2)).double()
        z = transport.inverse(u)
        contenders = {
            "entropic-ae": timed(torch.inference_mode()(transport.inverse), u),
            "the other direction": timed(torch.inference_mode()(transport), z),
            f"{HALVINGS} halvings": timed(halved, transport, u),
        }
        yield {
            "codes": mapped,
            "dimensions": dim,
            "components": components,
            "Gaussians of each": scales,
            "error": f"{(transport(z) - u).abs().max().item():.0e}",
            **compared(interleave(contenders, rounds), "entropic-ae"),
        }


@torch.inference_mode()
def halved(transport: MixtureTransport, u: Tensor) -> Tensor:
    """Return the inverse, (N, S), by halving a bracket of each value, with the conditional distributions alone."""
    factors = transport.mixture.precision_factors()  # (K, S, S)
    centres = (factors @ transport.means[..., None]).squeeze(2)  # (K, S)
    known = u[:, :0]
    log_weights = transport.weights.log().expand(len(u), -1)
    target = torch.special.ndtr(u)
    for d in range(u.shape[1]):
        weights = log_weights.softmax(1)
        slopes, shifts = factors[:, d, d], known @ factors[:, d, :d].T - centres[:, d]
        quantiles = (u[:, d : d + 1] - shifts) / slopes
        low, high = quantiles.amin(1), quantiles.amax(1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = (weights * torch.special.ndtr(middle[:, None] * slopes + shifts)).sum(1) < target[:, d]
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        column = (low + high) / 2
        known = torch.cat([known, column[:, None]], 1)
        log_weights = log_weights + slopes.log() - (column[:, None] * slopes + shifts).square() / 2
    return known
