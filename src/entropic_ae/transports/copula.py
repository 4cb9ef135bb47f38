"""Simple transports: the covariance of the codes, their marginals, and both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.priors import rank_scores
from entropic_ae.storage.tensors import parameters
from entropic_ae.transports.traced import TracedCopula
from entropic_ae.transports.transport import Transport, mean_and_unit

__all__ = ["CopulaTransport", "GaussianTransport", "MarginalsTransport"]

_KNOTS, _CODES_PER_KNOT = 257, 10  # of a marginal's map: most, and codes for each
_RIDGE = 1e-6  # of a covariance, in units of each dimension's variance
_TIE, _FILL = 1e-6, 1e-5  # by which equal knots are spread, in deviations, and their scores


class GaussianTransport(Transport):
    """Whitening by the codes' mean and covariance, with the inverse Cholesky factor.

    Arguments:
        prior: over (D,).
        mean: (S,), of normal scores.
        root: lower Cholesky factor of their covariance, (S, S).

    >>> from entropic_ae.priors import Normal
    >>> z = torch.randn(500, 2) @ torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    >>> u = GaussianTransport.fit(z, Normal.standard(2))(z)
    >>> torch.allclose(torch.cov(u.T), torch.eye(2), atol=1e-4)
    True
    """

    name = "gaussian"
    mean: Tensor
    root: Tensor

    def __init__(self, prior: Distribution, mean: Tensor, root: Tensor) -> None:
        super().__init__(prior)
        self._keep(mean=mean, root=root)

    @classmethod
    def fit_scores(cls, scores: Tensor, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG003
        """Take mean and covariance of scores, (N, S)."""
        mean, deviation = mean_and_unit(scores)
        covariance = torch.cov(((scores - mean) / deviation).T).reshape(scores.shape[1], -1)
        return {"mean": mean, "root": deviation[:, None] * _root(covariance)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from mean and root."""
        mean, root = parameters(state, cls.scores_of(prior), mean="D", root="DD")
        return cls(prior, mean, _checked_root(root))

    def transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Whiten scores, (N, S)."""
        return _whiten(scores - self.mean, self.root)

    def restore(self, scores: Tensor) -> Tensor:
        """Give scores, (N, S), mean and covariance back."""
        return self.mean + scores @ self.root.T

    def traced(self) -> nn.Module:
        """Return the map as a graph: the piecewise linear map with one piece takes the mean away."""
        knots = torch.stack([self.mean, self.mean + 1])
        return TracedCopula(
            self.root, knots, torch.stack([torch.zeros_like(self.mean), torch.ones_like(self.mean)])
        )


class CopulaTransport(Transport):
    """The marginals' map to normal scores, then whitening of their correlations: a Gaussian copula.

    A marginal's map is piecewise linear between the codes' quantiles at a level for every ten codes, 257 at most,
    and linear with the last slope beyond them.

    Arguments:
        prior: over (D,).
        knots: (Q, S), increasing values of each normal score of the codes.
        scores: (Q, S), their images, increasing.
        root: lower Cholesky factor of the correlations, (S, S).

    Reference: "An Introduction to Copulas", Nelsen (2006), https://doi.org/10.1007/0-387-28678-0.

    >>> from entropic_ae.priors import Normal
    >>> z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).exp()
    >>> transport = CopulaTransport.fit(z, Normal.standard(2))
    >>> round(transport(z).std().item(), 1), torch.allclose(transport.inverse(transport(z)), z, atol=1e-4)
    (1.0, True)
    """

    name = "copula"
    knots: Tensor
    scores: Tensor
    root: Tensor

    def __init__(self, prior: Distribution, knots: Tensor, scores: Tensor, root: Tensor) -> None:
        super().__init__(prior)
        self._keep(knots=knots, scores=scores, root=root)

    @classmethod
    def fit_scores(cls, scores: Tensor, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG003
        """Take quantiles and rank correlations of scores, (N, S)."""
        knots, images = _monotone_map(scores)
        correlation = torch.corrcoef(rank_scores(scores).T).reshape(scores.shape[1], -1).nan_to_num(0)
        return {"knots": knots, "scores": images, "root": _root(correlation.fill_diagonal_(1).to(scores))}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from knots, scores and root."""
        knots, scores, root = parameters(state, cls.scores_of(prior), knots="QD", scores="QD", root="DD")
        for name, values in (("knots", knots), ("scores", scores)):
            if len(values) < 2 or values.diff(dim=0).min() <= 0:
                raise KeyError(f"{name} do not increase")
        return cls(prior, knots, scores, _checked_root(root))

    def transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores, (N, S), by their marginals, and whiten."""
        mapped, slopes = _piecewise(scores, self.knots, self.scores)
        whitened, log_det = _whiten(mapped, self.root)
        return whitened, log_det + slopes.log().sum(1)

    def restore(self, scores: Tensor) -> Tensor:
        """Correlate scores, (N, S), and give them their marginals back."""
        return _piecewise(scores @ self.root.T, self.scores, self.knots)[0]

    def traced(self) -> nn.Module:
        """Return the map as a graph, the inverse of the Cholesky factor precomputed."""
        return TracedCopula(self.root, self.knots, self.scores)


class MarginalsTransport(CopulaTransport):
    """The marginals' map to normal scores, dimension by dimension.

    >>> from entropic_ae.priors import Normal
    >>> z = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    >>> round(MarginalsTransport.fit(z, Normal.standard(2))(z).std().item(), 1)
    1.0
    """

    name = "marginals"

    @classmethod
    def fit_scores(cls, scores: Tensor, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG003
        """Take quantiles of scores, (N, S)."""
        knots, images = _monotone_map(scores)
        return {"knots": knots, "scores": images, "root": torch.eye(scores.shape[1]).to(scores)}


def _root(covariance: Tensor) -> Tensor:
    return torch.linalg.cholesky(covariance + _RIDGE * torch.eye(len(covariance)).to(covariance))


def _checked_root(root: Tensor) -> Tensor:
    if root.diagonal().min() <= 0 or bool(root.triu(1).any()):
        raise KeyError("root is not lower triangular with a positive diagonal")
    return root


def _whiten(centred: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    whitened = torch.linalg.solve_triangular(root, centred.T, upper=False).T
    return whitened, -root.diagonal().log().sum().expand(len(centred))


def _monotone_map(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return knots and their normal scores, both (Q, S) and increasing; equal values share their mean rank."""
    n = len(scores)
    count = min(_KNOTS, max(2, n // _CODES_PER_KNOT))
    _, spread = mean_and_unit(scores)
    levels = (torch.linspace(0, 1, count).double() * (n - 1)).round().long().to(scores.device)
    values = scores.sort(0).values
    images = rank_scores(values).to(scores)[levels]
    knots = values[levels]
    # Equal knots are spread by at most a millionth of the deviation, so that the map is invertible. Where many
    # codes share the smallest or largest value, it goes on with a tenth of a deviation for a unit of the score.
    spacing = torch.linspace(-1, 1, count).to(scores)[:, None]
    return knots + _TIE * spread * spacing, images + _FILL * spacing


def _piecewise(x: Tensor, knots: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the piecewise linear map of x, (N, S), and its slopes; the ends continue with their last slope."""
    place = torch.searchsorted(knots.T.contiguous(), x.detach().T.contiguous()).T.clamp(1, len(knots) - 1)
    low, high = knots.gather(0, place - 1), knots.gather(0, place)
    start, end = images.gather(0, place - 1), images.gather(0, place)
    slopes = (end - start) / (high - low)
    return start + (x - low) * slopes, slopes
