"""A density between the prior and a mixture: the norms of the codes, in every direction alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from typing_extensions import Self

from entropic_ae.densities.copula import QuantileSampler, at_least_two, at_levels, quantiles_of
from entropic_ae.densities.density import Density, Sampler, check_codes
from entropic_ae.errors import InputError
from entropic_ae.priors import CodePrior, as_prior
from entropic_ae.randomness import generator
from entropic_ae.storage.tensors import parameters

__all__ = ["Radial"]


class Radial(Density):
    """Uniform directions, with the distribution of the codes' norms.

    The difference in sample quality between the prior and this density is the effect of the norms, which vary less
    than those of N(0, I) when codes gather near a sphere. Norms are kept as 1,001 quantiles with linear
    interpolation. Norms and directions are those of the codes' normal scores: numbers that are independent and
    standard normal if the codes follow the prior, for N(0, I) the codes themselves.

    Arguments:
        prior: over (D,), of independent dimensions.
        norms: quantiles at levels from 0 to 1, (Q,) float64, at least 0.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes that are not finite, or a prior whose dimensions
        depend on each other, such as the uniform distribution on the sphere, whose codes have norm 1.

    >>> from entropic_ae.priors import Normal
    >>> codes = 3 * torch.nn.functional.normalize(torch.randn(100, 5))
    >>> drawn = Radial.fit(codes, Normal.standard(5)).sample(4, seed=0)
    >>> [round(norm, 3) for norm in drawn.norm(dim=1).tolist()]
    [3.0, 3.0, 3.0, 3.0]
    """

    name = "radial"

    def __init__(self, prior: Distribution, norms: Tensor) -> None:
        self.prior = as_prior(prior)
        self.norms = norms

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution,
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,  # noqa: ARG003
    ) -> Self:
        """Take the quantiles of the norms of codes, (N, D)."""
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        prior = as_prior(prior)
        scores = prior.to_normal(codes)  # raises for a finite alphabet
        if not isinstance(prior, Independent):
            raise InputError(
                f"the density '{cls.name}' expects a prior of independent dimensions, got {prior.title}; leave "
                "the density out."
            )
        return cls(prior, quantiles_of(scores.norm(dim=1)[:, None]).squeeze(1))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        source = generator(seed)
        noise = torch.randn(n, self.prior.event_shape[0], generator=source, dtype=torch.float64)
        levels = torch.rand(n, 1, generator=source, dtype=torch.float64)
        directions = torch.nn.functional.normalize(noise, dim=1)
        return self.prior.from_normal(directions * at_levels(self.norms[:, None], levels)).float()

    def sampler(self) -> Sampler:
        """Return the density as a function of D + 1 values of noise; the first gives the norm."""
        return _Polar(self)

    def state(self) -> dict[str, Tensor]:
        """Return the norms."""
        return {"norms": self.norms}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from the norms."""
        (norms,) = parameters(state, prior.event_shape[0], norms="Q")
        if norms.min() < 0:
            raise KeyError("norms are negative")
        return cls(prior, at_least_two(norms))


class _Polar(Sampler):
    def __init__(self, density: Radial) -> None:
        dim = density.prior.event_shape[0]
        density.prior.from_noise(torch.zeros(1, dim))  # raises for a prior without the method, before tracing
        super().__init__(dim + 1, "the first value becomes the norm of the row, the others its direction")
        self.norms = QuantileSampler("", density.norms[:, None], torch.eye(1))
        self.prior: CodePrior = density.prior

    def forward(self, noise: Tensor) -> Tensor:
        directions = torch.nn.functional.normalize(noise[:, 1:], dim=1)
        return self.prior.from_noise(directions * self.norms(noise[:, :1]))
