"""Densities between the prior and a mixture: the marginals of the codes, without and with correlations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.densities.density import Density, Sampler, check_codes, square_root
from entropic_ae.priors import normal_cdf, rank_scores
from entropic_ae.randomness import generator
from entropic_ae.storage.tensors import parameters

__all__ = ["Copula", "Marginals", "QuantileSampler", "at_least_two", "at_levels", "quantiles_of"]

_QUANTILES = 1001
_COLUMNS = "each value becomes the codes' quantile of its normal distribution function"


class Marginals(Density):
    """Independent dimensions, each with the marginal distribution of the codes.

    The difference in sample quality between the prior and this density is the effect of the marginals. A marginal
    is kept as 1,001 quantiles with linear interpolation.

    Arguments:
        quantiles: of each dimension, at levels from 0 to 1, (Q, D) float64.

    Raises: InputError from ``fit`` for fewer than 2 codes or codes that are not finite.

    >>> codes = torch.rand(1000, 2)
    >>> drawn = Marginals.fit(codes, None).sample(500, seed=0)
    >>> bool((drawn.amin(0) >= codes.amin(0)).all() and (drawn.amax(0) <= codes.amax(0)).all())
    True
    """

    name = "marginals"

    def __init__(self, quantiles: Tensor) -> None:
        self.quantiles = quantiles

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution | None,  # noqa: ARG003
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,  # noqa: ARG003
    ) -> Self:
        """Take the quantiles of codes, (N, D)."""
        return cls(quantiles_of(check_codes(codes, 2, f"the density '{cls.name}'")))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        levels = torch.rand(n, self.quantiles.shape[1], generator=generator(seed), dtype=torch.float64)
        return at_levels(self.quantiles, levels).float()

    def sampler(self) -> Sampler:
        """Return the density as a function of D values of noise."""
        return QuantileSampler(_COLUMNS, self.quantiles, torch.eye(self.quantiles.shape[1]))

    def state(self) -> dict[str, Tensor]:
        """Return the quantiles."""
        return {"quantiles": self.quantiles}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from the quantiles."""
        (quantiles,) = parameters(state, prior.event_shape[0], quantiles="QD")
        return cls(at_least_two(quantiles))


class Copula(Density):
    """A Gaussian copula: the codes' marginals, and the correlations of their ranks' normal scores.

    The difference in sample quality from ``Marginals`` is the effect of correlations; that from a mixture, of
    joint structure beyond correlations.

    Arguments:
        quantiles: of each dimension, as for ``Marginals``.
        correlation: of the normal scores, (D, D) float64.

    Raises: InputError from ``fit`` for fewer than 2 codes or codes that are not finite.

    Reference: "An Introduction to Copulas", Nelsen (2006), https://doi.org/10.1007/0-387-28678-0.

    >>> z = torch.randn(2000, 1)
    >>> drawn = Copula.fit(torch.cat([z, z.exp()], 1), None).sample(2000, seed=0)
    >>> torch.corrcoef(torch.stack([drawn[:, 0], drawn[:, 1].log()]))[0, 1].item() > 0.99
    True
    """

    name = "copula"

    def __init__(self, quantiles: Tensor, correlation: Tensor) -> None:
        self.quantiles = quantiles
        self.correlation = correlation

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution | None,  # noqa: ARG003
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,  # noqa: ARG003
    ) -> Self:
        """Take the quantiles of codes, (N, D), and the correlation of their scores."""
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        # NaN for a constant dimension, whose scores are all 0
        correlation = torch.corrcoef(rank_scores(codes).T).reshape(codes.shape[1], -1).nan_to_num(0)
        return cls(quantiles_of(codes), correlation.fill_diagonal_(1))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        noise = torch.randn(n, len(self.correlation), generator=generator(seed), dtype=torch.float64)
        values, vectors = torch.linalg.eigh(self.correlation)
        return at_levels(
            self.quantiles, torch.special.ndtr(noise * values.clamp_min(0).sqrt() @ vectors.T)
        ).float()

    def sampler(self) -> Sampler:
        """Return the density as a function of D values of noise."""
        return QuantileSampler(
            f"each row is correlated, then {_COLUMNS}", self.quantiles, square_root(self.correlation)
        )

    def state(self) -> dict[str, Tensor]:
        """Return quantiles and correlation."""
        return {"quantiles": self.quantiles, "correlation": self.correlation}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from quantiles and correlation."""
        quantiles, correlation = parameters(state, prior.event_shape[0], quantiles="QD", correlation="DD")
        return cls(at_least_two(quantiles), correlation)


class QuantileSampler(Sampler):
    """Correlated normal values to quantiles of each dimension.

    Arguments:
        columns: see ``Sampler``.
        quantiles: (Q, D).
        root: of the correlation, (D, D).

    >>> sampler = QuantileSampler("", torch.tensor([[0.0], [10.0]]), torch.eye(1))
    >>> sampler(torch.zeros(1, 1)).tolist()  # the median
    [[5.0]]
    """

    quantiles: Tensor
    root: Tensor

    def __init__(self, columns: str, quantiles: Tensor, root: Tensor) -> None:
        super().__init__(quantiles.shape[1], columns, quantiles=quantiles, root=root)

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise, (N, D), to codes, (N, D)."""
        place = normal_cdf(noise @ self.root.mT) * (len(self.quantiles) - 1)
        below = place.floor().clamp_max(len(self.quantiles) - 2)
        index = below.long()
        return torch.lerp(self.quantiles.gather(0, index), self.quantiles.gather(0, index + 1), place - below)


def quantiles_of(codes: Tensor) -> Tensor:
    """Return 1,001 quantiles of each dimension of codes, (N, D): (1001, D) float64.

    >>> quantiles_of(torch.tensor([[3.0], [1.0], [2.0]]).double())[[0, 500, 1000]].flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    levels = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)
    return at_levels(codes.sort(0).values, levels[:, None].expand(-1, codes.shape[1]))


def at_least_two(quantiles: Tensor) -> Tensor:
    """Return quantiles from a file, (Q, ...), or raise KeyError if there is only one.

    >>> at_least_two(torch.zeros(1, 3))
    Traceback (most recent call last):
        ...
    KeyError: 'a marginal has one quantile, expected at least two'
    """
    if len(quantiles) < 2:
        raise KeyError("a marginal has one quantile, expected at least two")
    return quantiles


def at_levels(quantiles: Tensor, levels: Tensor) -> Tensor:
    """Return the values at levels in [0, 1], (n, D), by linear interpolation of equally spaced quantiles, (Q, D).

    >>> at_levels(torch.tensor([[0.0], [10.0], [30.0]]), torch.tensor([[0.25], [1.0]])).flatten().tolist()
    [5.0, 30.0]
    """
    place = levels * (len(quantiles) - 1)
    below = place.floor().long().clamp_max(len(quantiles) - 2)
    return torch.lerp(quantiles.gather(0, below), quantiles.gather(0, below + 1), place - below)
