"""Normal quantiles and scores: of ranks, of tails of any size, and of Beta distributions; some can be exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from entropic_ae.priors import rational

__all__ = [
    "TINY",
    "BetaMargins",
    "BetaScores",
    "log_normal_cdf",
    "marginal_scores",
    "normal_cdf",
    "normal_quantile",
    "rank_scores",
]

TINY = torch.finfo(torch.float64).tiny


def rank_scores(codes: Tensor) -> Tensor:
    """Return the normal quantiles of the codes' ranks in each dimension, (N, D) float64; equal values share one.

    >>> [round(score, 4) for score in rank_scores(torch.tensor([[3.0], [1.0], [1.0], [9.0]])).flatten().tolist()]
    [0.3186, -0.6745, -0.6745, 1.1503]
    """
    ranks = scipy.stats.rankdata(codes.detach().cpu().numpy(), axis=0)
    return torch.from_numpy(scipy.special.ndtri((ranks - 0.5) / len(codes)))


def _is_exporting() -> bool:
    """Return whether a graph is being exported, which needs torch 2.9; 2.6 does not have the function."""
    return hasattr(torch.compiler, "is_exporting") and bool(torch.compiler.is_exporting())


def normal_cdf(x: Tensor) -> Tensor:
    """Return the standard normal distribution function by operations that ONNX has, unlike ``ndtr``.

    >>> normal_cdf(torch.zeros(1))
    tensor([0.5000])
    """
    if x.dtype == torch.float64 and _is_exporting():  # onnxruntime's erf takes float32 alone
        return rational.log_erfc(-x / math.sqrt(2)).exp() / 2
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def normal_quantile(log_tail: Tensor) -> Tensor:
    """Return x with log P(Z < x) = ``log_tail``, of any size up to log(1/2), for a standard normal Z.

    A tail below e^-80, which float32 cannot hold, starts from its asymptotic expansion.

    >>> round(normal_quantile(torch.tensor(-5000.0).double()).item(), 2)
    -99.94
    """
    if _is_exporting():
        return rational.normal_quantile(log_tail)
    found: Tensor = _NormalQuantile.apply(log_tail)
    return found


class _NormalQuantile(torch.autograd.Function):
    """The normal quantile of the logarithm of a tail, with derivatives of every order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(log_tail: Tensor) -> Tensor:
        """Return x: a first guess, and Newton's steps."""
        y = log_tail.clamp_max(-math.log(2))
        far = y.clamp_max(-3.0)  # the first terms of the tail's expansion
        x = -(-2 * far - (-4 * math.pi * far).log()).clamp_min(0).sqrt()
        x = torch.where(y > -80, torch.special.ndtri(y.clamp_min(-80).exp()), x)
        if bool((y <= -80).any()):
            x = _quantile_step(_quantile_step(x, y), y)
        return _quantile_step(x, log_tail)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep both, from which the derivative follows."""
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Multiply by the tail over the density."""
        log_tail, x = ctx.saved_tensors
        return gradient * (log_tail + x.square() / 2 + math.log(2 * math.pi) / 2).exp()


def log_normal_cdf(x: Tensor) -> Tensor:
    """Return the logarithm of the standard normal distribution function, of any size; ONNX has no ``log_ndtr``.

    >>> round(log_normal_cdf(torch.tensor(-99.94).double()).item())
    -5000
    """
    if _is_exporting():
        return rational.log_erfc(-x / math.sqrt(2)) - math.log(2)
    return torch.special.log_ndtr(x)


def _quantile_step(x: Tensor, log_tail: Tensor) -> Tensor:
    """Return x after Newton's step on the logarithm of the normal distribution function."""
    log_cdf = torch.special.log_ndtr(x)
    quotient = (log_cdf + x.square() / 2 + math.log(2 * math.pi) / 2).exp()
    return x - (log_cdf - log_tail) * quotient


class BetaScores(torch.autograd.Function):
    """Normal quantiles of the distribution function of 2 Beta(half, half) - 1."""

    @staticmethod
    def forward(share: Tensor, margin: Tensor, half: float) -> Tensor:
        """Return the scores of values in [-1, 1], given with (1 - |value|) / 2, which may hold more digits."""
        tail = scipy.special.betainc(half, half, margin.detach().cpu().numpy())
        size = -torch.from_numpy(scipy.special.ndtri(np.maximum(tail, TINY))).to(share)
        return torch.where(share < 0, -size, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        """Keep what the derivative depends on."""
        _, margin, ctx.half = inputs
        ctx.save_for_backward(margin, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Multiply by the quotient of the densities; the margin is no variable of its own."""
        margin, scores = ctx.saved_tensors
        return gradient * _beta_slope(margin, scores, ctx.half), None, None


class BetaMargins(torch.autograd.Function):
    """(1 - |value|) / 2 of the values whose scores ``BetaScores`` are."""

    @staticmethod
    def forward(scores: Tensor, half: float) -> Tensor:
        """Return values in [0, 1/2]."""
        tail = scipy.special.ndtr(-scores.detach().abs().cpu().numpy())
        return torch.from_numpy(np.asarray(scipy.special.betaincinv(half, half, tail))).to(scores)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        """Keep what the derivative depends on."""
        scores, ctx.half = inputs
        ctx.save_for_backward(output, scores)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Divide by the quotient of the densities, for the value's size falls by twice the margin."""
        margin, scores = ctx.saved_tensors
        slope = 2 * _beta_slope(margin, scores, ctx.half)
        return gradient * torch.where(scores < 0, 1 / slope, -1 / slope), None


def _beta_slope(margin: Tensor, scores: Tensor, half: float) -> Tensor:
    """Return the derivative of the scores: the density of 2 Beta(half, half) - 1 over the normal density."""
    log_beta = (
        (margin * (1 - margin)).clamp_min(TINY).log() * (half - 1) - math.log(2) - scipy.special.betaln(half, half)
    )
    return (log_beta + scores.square() / 2 + math.log(2 * math.pi) / 2).exp()


def marginal_scores(
    cdf: Callable[[Tensor], Tensor], codes: Tensor, even: bool, least_tail: float = TINY
) -> Tensor:
    """Return the normal quantiles of a distribution function of each dimension at codes, (N, D): float64, CPU.

    Arguments:
        cdf: the distribution function, of (N, D).
        codes: (N, D).
        even: whether the distribution is symmetric around 0.
        least_tail: times the number of codes, the smallest tail.

    >>> marginal_scores(torch.special.ndtr, torch.tensor([[1.0]]), even=True).round(decimals=6)
    tensor([[1.]], dtype=torch.float64)
    """
    codes = codes.detach().cpu().double()
    # of the smaller tail, which keeps its digits where the other rounds to 1
    lower = cdf(codes)
    upper = cdf(-codes) if even else 1 - lower
    tail = torch.minimum(lower, upper).clamp_min(max(least_tail / len(codes), TINY))
    scores = torch.from_numpy(scipy.special.ndtri(tail.numpy()))
    return torch.where(lower < upper, scores, -scores)
