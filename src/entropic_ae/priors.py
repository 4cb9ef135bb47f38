"""Distributions over codes that PyTorch lacks, and normal scores of codes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from scipy.special import betainc, ndtri
from scipy.stats import rankdata
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from entropic_ae.errors import InputError

__all__ = ["UniformSphere", "normal_scores", "rank_scores"]

_LEAST_TAIL = 1e-6  # over the number of codes


class UniformSphere(Distribution):
    """The uniform distribution on the unit sphere in D dimensions, of the most entropy of all on it.

    Densities are with respect to the surface measure.

    Arguments:
        dim: D, at least 2.

    >>> prior = UniformSphere(3)
    >>> prior.sample((5,)).norm(dim=1).allclose(torch.ones(5))
    True
    >>> round(prior.entropy().exp().item() / math.pi, 4)  # the area of the ordinary sphere, 4 pi
    4.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector

    def __init__(self, dim: int) -> None:
        if dim < 2:
            raise InputError(f"a sphere needs at least 2 dimensions, got {dim}; raise latent_dim.")
        super().__init__(event_shape=torch.Size([dim]), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw points, (*sample_shape, D)."""
        z = torch.randn(*sample_shape, *self.event_shape)
        return z / z.norm(dim=-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return minus the logarithm of the sphere's area for points of norm 1, (..., D)."""
        return -self.entropy().to(value).expand(value.shape[:-1])

    def entropy(self) -> Tensor:
        """Return the logarithm of the sphere's area, in nats."""
        half = self.event_shape[0] / 2
        return torch.tensor(math.log(2) + half * math.log(math.pi) - math.lgamma(half))

    def cdf(self, value: Tensor) -> Tensor:
        """Return the distribution function of each coordinate, which is 2 Beta((D - 1) / 2, (D - 1) / 2) - 1."""
        half = (self.event_shape[0] - 1) / 2
        below = betainc(half, half, ((value.double().clamp(-1, 1) + 1) / 2).cpu().numpy())
        return torch.as_tensor(below, dtype=value.dtype, device=value.device)


def normal_scores(codes: Tensor, prior: Distribution) -> Tensor:
    """Map each dimension of codes so that codes drawn from the prior have standard normal marginals.

    It is the normal quantile of the distribution function of the prior's marginal: nothing but a shift and a scale
    for a normal prior, so that codes far out keep their distance.

    Arguments:
        codes: (N, D).
        prior: over (D,), with independent dimensions or ``UniformSphere``.

    Returns: (N, D) float64. Under a uniform prior no tail counts as smaller than 1e-6 / N, so that codes on the
        edge of the cube have scores that are not far out.

    >>> from torch.distributions import Laplace
    >>> decile = torch.full((1, 2), math.log(5))  # a tenth of Laplace(0, 1) is above it
    >>> scores = normal_scores(decile, Independent(Laplace(torch.zeros(2), torch.ones(2)), 1))
    >>> round(scores[0, 0].item(), 4)
    1.2816
    """
    codes = codes.detach().cpu().double()
    base = prior.base_dist if isinstance(prior, Independent) else prior
    if isinstance(base, torch.distributions.Normal):
        return (codes - base.loc.double()) / base.scale.double()
    # of the smaller tail, which keeps its digits where the other rounds to 1
    lower = base.cdf(codes)
    upper = base.cdf(-codes) if _is_even(base) else 1 - lower
    bounded = isinstance(base, torch.distributions.Uniform)
    least = _LEAST_TAIL / len(codes) if bounded else torch.finfo(torch.float64).tiny
    tail = torch.minimum(lower, upper).clamp_min(least)
    scores = torch.from_numpy(ndtri(tail.numpy()))
    return torch.where(lower < upper, scores, -scores)


def rank_scores(codes: Tensor) -> Tensor:
    """Return the normal quantiles of the codes' ranks in each dimension, (N, D) float64; equal values share one.

    >>> [round(score, 4) for score in rank_scores(torch.tensor([[3.0], [1.0], [1.0], [9.0]])).flatten().tolist()]
    [0.3186, -0.6745, -0.6745, 1.1503]
    """
    ranks = rankdata(codes.detach().cpu().numpy(), axis=0)
    return torch.from_numpy(ndtri((ranks - 0.5) / len(codes)))


def _is_even(base: Distribution) -> bool:
    mean = torch.zeros(()) if isinstance(base, UniformSphere) else base.mean
    return bool((mean == 0).all())
