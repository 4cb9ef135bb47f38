"""The prior itself, for codes that training has matched to it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.densities.density import Density, Sampler
from entropic_ae.priors import CodePrior, as_prior
from entropic_ae.randomness import seeded

__all__ = ["Prior"]


class Prior(Density):
    """The bottleneck's prior, N(0, I) for batch norm: nothing is fitted.

    Arguments:
        distribution: over codes, (D,).

    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> Prior(Independent(Normal(torch.zeros(4), torch.ones(4)), 1)).sample(3, seed=0).shape
    torch.Size([3, 4])
    """

    name = "prior"
    needs_codes = False

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    @classmethod
    def fit(
        cls,
        codes: Tensor | None,  # noqa: ARG003
        prior: Distribution,
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,  # noqa: ARG003
    ) -> Prior:
        """Return the prior, whatever the codes."""
        return cls(prior)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        with seeded(seed):
            return self.distribution.sample((n,)).float()

    def sampler(self) -> Sampler:
        """Return the prior's ``from_noise``."""
        return _FromNoise(as_prior(self.distribution))

    def state(self) -> dict[str, Tensor]:
        """Return nothing: the bottleneck knows its prior."""
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Prior:  # noqa: ARG003
        """Return the prior."""
        return cls(prior)


class _FromNoise(Sampler):
    def __init__(self, prior: CodePrior) -> None:
        dim = prior.event_shape.numel()
        prior.from_noise(torch.zeros(1, dim))  # raises for a prior without the method, before the graph is traced
        super().__init__(dim, prior.columns)
        self.prior = prior

    def forward(self, noise: Tensor) -> Tensor:
        return self.prior.from_noise(noise)
