"""Samplers: each density as a function of standard normal noise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, Normal, Uniform

from entropic_ae.densities import Copula, Density, Gaussian, Marginals, Mixture, Prior, SecondStage
from entropic_ae.errors import InputError
from entropic_ae.priors import UniformSphere

__all__ = ["SAMPLERS", "Sampler", "make_sampler", "no_sampler"]

_SWITCH, _LEVELS = 1.5, 16  # where erfc goes over to its continued fraction, and the levels of that


class Sampler(nn.Module):
    """A density as a function of noise: ``forward`` maps standard normal values, (N, noise), to codes, (N, D).

    Attributes:
        noise: how many values of noise a code takes.
        columns: one sentence on what they do, for the file.

    >>> sampler = make_sampler(Prior(Uniform(-torch.ones(2), torch.ones(2))))
    >>> sampler(torch.tensor([[0.0, 100.0]])).tolist(), sampler.noise
    ([[0.0, 1.0]], 2)
    """

    def __init__(self, noise: int, columns: str, **parameters: Tensor) -> None:
        super().__init__()
        self.noise = noise
        self.columns = columns
        for name, value in parameters.items():
            self.register_buffer(name, value.detach().float().cpu().clone())


class _Normal(Sampler):
    loc: Tensor
    scale: Tensor

    def __init__(self, base: Normal) -> None:
        super().__init__(base.loc.numel(), "each value is scaled and shifted", loc=base.loc, scale=base.scale)

    def forward(self, noise: Tensor) -> Tensor:
        return self.loc + self.scale * noise


class _Laplace(Sampler):
    loc: Tensor
    scale: Tensor

    def __init__(self, base: Laplace) -> None:
        columns = "each value becomes the Laplace quantile of its normal distribution function"
        super().__init__(base.loc.numel(), columns, loc=base.loc, scale=base.scale)

    def forward(self, noise: Tensor) -> Tensor:
        # P(|noise| > z) = erfc(z / sqrt 2) and P(|code - loc| > t) = exp(-t / scale)
        return self.loc - self.scale * noise.sign() * _log_erfc(noise.abs() / math.sqrt(2))


class _Uniform(Sampler):
    low: Tensor
    high: Tensor

    def __init__(self, base: Uniform) -> None:
        columns = "each value becomes the uniform quantile of its normal distribution function"
        super().__init__(base.low.numel(), columns, low=base.low, high=base.high)

    def forward(self, noise: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * _normal_cdf(noise)


class _Sphere(Sampler):
    def __init__(self, base: UniformSphere) -> None:
        super().__init__(base.event_shape[0], "each row is divided by its norm")

    def forward(self, noise: Tensor) -> Tensor:
        return nn.functional.normalize(noise, dim=1)


class _Gaussian(Sampler):
    mean: Tensor
    root: Tensor

    def __init__(self, density: Gaussian) -> None:
        columns = "each row is multiplied by a square root of the covariance and shifted by the mean"
        super().__init__(density.mean.numel(), columns, mean=density.mean, root=_square_root(density.covariance))

    def forward(self, noise: Tensor) -> Tensor:
        return self.mean + noise @ self.root.mT


class _Mixture(Sampler):
    cumulative: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, density: Mixture) -> None:
        components, dim = density.means.shape
        super().__init__(
            dim + 1,
            f"the first value chooses one of {components} Gaussians, the others draw from it",
            cumulative=(density.weights / density.weights.sum()).cumsum(0)[:-1],
            means=density.means,
            roots=_square_root(density.covariances),
        )

    def forward(self, noise: Tensor) -> Tensor:
        choice, noise = _normal_cdf(noise[:, 0]), noise[:, 1:]
        component = (choice[None] >= self.cumulative[:, None]).sum(0)
        chosen = torch.arange(len(self.means))[:, None] == component[None]
        # a draw from each Gaussian, all but one set to 0: a matrix for every code would take more memory
        drawn = self.means[:, None] + noise @ self.roots.mT
        return (drawn * chosen[:, :, None]).sum(0)


class _Quantiles(Sampler):
    quantiles: Tensor
    root: Tensor

    def __init__(self, density: Marginals | Copula) -> None:
        dim = density.quantiles.shape[1]
        columns = "each value becomes the codes' quantile of its normal distribution function"
        root = torch.eye(dim)
        if isinstance(density, Copula):
            columns = f"each row is correlated, then {columns}"
            root = _square_root(density.correlation)
        super().__init__(dim, columns, quantiles=density.quantiles, root=root)

    def forward(self, noise: Tensor) -> Tensor:
        place = _normal_cdf(noise @ self.root.mT) * (len(self.quantiles) - 1)
        below = place.floor().clamp_max(len(self.quantiles) - 2)
        index = below.long()
        return torch.lerp(self.quantiles.gather(0, index), self.quantiles.gather(0, index + 1), place - below)


class _SecondStage(Sampler):
    mean: Tensor
    deviation: Tensor
    gamma: Tensor

    def __init__(self, density: SecondStage) -> None:
        super().__init__(
            2 * density.mean.numel(),
            "the first half is the second stage's own code, the other half the noise that it adds",
            mean=density.mean,
            deviation=density.deviation,
            gamma=density.gamma,
        )
        self.decoder = copy.deepcopy(density.decoder).float().cpu()

    def forward(self, noise: Tensor) -> Tensor:
        u, noise = noise.chunk(2, dim=1)
        return self.mean + self.deviation * (self.decoder(u) + self.gamma * noise)


_PRIORS: dict[type[Distribution], Callable[[Any], Sampler]] = {
    Normal: _Normal,
    Laplace: _Laplace,
    Uniform: _Uniform,
    UniformSphere: _Sphere,
}


def _prior(density: Prior) -> Sampler:
    base = density.distribution
    base = base.base_dist if isinstance(base, Independent) else base
    if type(base) not in _PRIORS:
        raise InputError(
            f"the prior {type(base).__name__} cannot be exported, as no function of normal noise is known for it; "
            f"expected one of {', '.join(kind.__name__ for kind in _PRIORS)}: leave the prior out."
        )
    return _PRIORS[type(base)](base)


SAMPLERS: dict[type[Density], Callable[[Any], Sampler]] = {
    Prior: _prior,
    Marginals: _Quantiles,
    Gaussian: _Gaussian,
    Copula: _Quantiles,
    Mixture: _Mixture,
    SecondStage: _SecondStage,
}


def make_sampler(density: Density) -> Sampler:
    """Return a density as a function of standard normal noise.

    Raises: InputError for a density or a prior that is not known to be such a function.

    >>> density = Gaussian(torch.ones(1).double(), 4 * torch.eye(1).double())
    >>> make_sampler(density)(torch.zeros(1, 1)).tolist()
    [[1.0]]
    """
    if type(density) not in SAMPLERS:
        raise no_sampler(density.name)
    return SAMPLERS[type(density)](density).eval()


def no_sampler(name: str) -> InputError:
    """Return the error for a density that is no known function of noise."""
    known = ", ".join(kind.name for kind in SAMPLERS)
    return InputError(f"the density '{name}' cannot be exported as a graph; expected one of {known}.")


def _normal_cdf(x: Tensor) -> Tensor:
    # not ndtr, for which ONNX has no operator
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def _log_erfc(x: Tensor) -> Tensor:
    """Return the logarithm of erfc at x >= 0, which keeps its digits in float32 where 1 - erf(x) has none.

    Reference: Abramowitz and Stegun (1964), equation (7.1.14), the continued fraction.
    """
    large = x.clamp_min(_SWITCH)
    fraction = large
    for k in range(_LEVELS, 0, -1):
        fraction = large + k / 2 / fraction
    far = -large.square() - (math.sqrt(math.pi) * fraction).log()
    near = (1 - torch.erf(x.clamp_max(_SWITCH))).log()
    return torch.where(x < _SWITCH, near, far)


def _square_root(covariance: Tensor) -> Tensor:
    """Return the root by which a density's own ``sample`` multiplies its noise, (..., D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()[..., None, :]
