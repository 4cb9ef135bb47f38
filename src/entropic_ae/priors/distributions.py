"""Priors over codes: draws from noise, the nearest point of the support, and normal scores."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import scipy
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints
from typing_extensions import Self

from entropic_ae.errors import InputError
from entropic_ae.priors.rational import log_erfc
from entropic_ae.priors.scores import (
    TINY,
    BetaMargins,
    BetaScores,
    log_normal_cdf,
    marginal_scores,
    normal_cdf,
    normal_quantile,
)

__all__ = [
    "CodePrior",
    "IndependentPrior",
    "Laplace",
    "Normal",
    "Uniform",
    "UniformSphere",
    "as_prior",
]

_LEAST_FACE = 2.0**-54  # share of a cube's edge: float64's spacing at the faces


class CodePrior(Distribution):
    """A distribution over codes, (D,), with what diagnostics, ``explore`` and the export ask of it.

    Attributes:
        title: the name in verdicts.
        description: the name in model.json, in words that need no library.
        columns: what ``from_noise`` makes of noise, one sentence for the metadata of an exported file.

    >>> UniformSphere(2).title
    'the uniform distribution on the sphere'
    """

    title: str = ""
    description: str = ""
    columns: str = ""

    def from_noise(self, noise: Tensor) -> Tensor:  # noqa: ARG002
        """Map independent standard normal values, (N, D), to draws, (N, D), by operations that ONNX has.

        Raises: InputError for a prior without the method.
        """
        raise InputError(
            f"the prior {self.title} cannot be exported without a method from_noise(noise); define it, or leave "
            "the prior out."
        )

    def to_normal(self, codes: Tensor) -> Tensor:  # noqa: ARG002
        """Map codes, (N, D), to numbers, (N, S), that are independent standard normal for draws from the prior.

        The map is smooth and invertible: ``from_normal`` is its inverse. S is the dimension of the support.

        Raises: InputError for a prior without the method.
        """
        raise InputError(
            f"codes cannot be transported to the prior {self.title} without its methods to_normal(codes) and "
            "from_normal(scores); define them."
        )

    def from_normal(self, scores: Tensor) -> Tensor:
        """Map independent standard normal numbers, (N, S), to draws, (N, D): the inverse of ``to_normal``."""
        return self.from_noise(scores)

    def interior(self, codes: Tensor) -> Tensor:
        """Return codes, (N, D), as float64, off the edge of the support, where they would have no normal score."""
        return codes.double()

    def nearest(self, codes: Tensor) -> Tensor:
        """Return the nearest point of the support to each code, (N, D)."""
        return codes

    def normal_scores(self, codes: Tensor) -> Tensor:  # noqa: ARG002
        """Map codes, (N, D), so that the marginals of draws from the prior become standard normal: float64, CPU.

        Raises: InputError for a prior without the method.
        """
        raise InputError(
            f"codes cannot be compared with the prior {self.title} without a method normal_scores(codes); "
            "define it, or wrap independent dimensions in torch.distributions.Independent."
        )


class IndependentPrior(Independent, CodePrior):
    """Independent dimensions, of any distribution that PyTorch has.

    ``normal_scores`` is the normal quantile of the marginal's distribution function.

    Arguments:
        marginals: a distribution of batch shape (D,), with a method ``cdf`` for ``normal_scores``.

    >>> from torch.distributions import Exponential
    >>> prior = IndependentPrior(Exponential(torch.ones(2)))
    >>> prior.title, prior.event_shape
    ('Exponential', torch.Size([2]))
    >>> median = torch.full((1, 2), math.log(2))
    >>> bool((prior.normal_scores(median).abs() < 1e-6).all())
    True
    """

    base_dist: Any
    _least_tail: ClassVar[float] = TINY  # times the number of codes

    def __init__(self, marginals: Distribution) -> None:
        super().__init__(marginals, 1)
        self.title = self.title or type(marginals).__name__
        self.description = self.description or self.title

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """Return a batch of the same distribution, as PyTorch's ``Independent``."""
        return Independent(self.base_dist, 1).expand(batch_shape, _instance)

    def normal_scores(self, codes: Tensor) -> Tensor:
        """Return the normal quantiles of the marginals' distribution functions at codes, (N, D) float64."""
        return marginal_scores(self.base_dist.cdf, codes, bool((self.base_dist.mean == 0).all()), self._least_tail)


class Normal(IndependentPrior):
    """Independent normal variables. Their normal scores are linear, so that distant codes keep their distance.

    Arguments:
        marginals: ``torch.distributions.Normal`` of batch shape (D,).

    >>> prior = Normal(torch.distributions.Normal(torch.ones(1), 2 * torch.ones(1)))
    >>> prior.from_noise(torch.tensor([[0.5]])), prior.normal_scores(torch.tensor([[2.0]]))
    (tensor([[2.]]), tensor([[0.5000]], dtype=torch.float64))
    """

    title = "N(0, I)"
    description = "standard normal: independent values of mean 0 and variance 1"
    columns = "each value is scaled and shifted"

    @classmethod
    def standard(cls, dim: int) -> Self:
        """Return N(0, I) over D values."""
        return cls(torch.distributions.Normal(torch.zeros(dim), torch.ones(dim)))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Scale and shift noise, (N, D)."""
        return self.base_dist.loc.to(noise) + self.base_dist.scale.to(noise) * noise

    def to_normal(self, codes: Tensor) -> Tensor:
        """Shift and scale codes, (N, D)."""
        return (codes - self.base_dist.loc.to(codes)) / self.base_dist.scale.to(codes)

    def normal_scores(self, codes: Tensor) -> Tensor:
        """Shift and scale codes, (N, D)."""
        return (codes.detach().cpu().double() - self.base_dist.loc.double()) / self.base_dist.scale.double()


class Laplace(IndependentPrior):
    """Independent Laplace variables.

    Arguments:
        marginals: ``torch.distributions.Laplace`` of batch shape (D,).

    >>> decile = torch.full((1, 2), math.log(5))  # a tenth of Laplace(0, 1) is above it
    >>> round(Laplace.standard(2).normal_scores(decile)[0, 0].item(), 4)
    1.2816
    """

    title = "Laplace(0, 1)"
    description = "independent Laplace variables of location 0 and scale 1"
    columns = "each value becomes the Laplace quantile of its normal distribution function"

    @classmethod
    def standard(cls, dim: int) -> Self:
        """Return D variables of location 0 and scale 1."""
        return cls(torch.distributions.Laplace(torch.zeros(dim), torch.ones(dim)))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the Laplace quantiles of the normal distribution function of noise, (N, D)."""
        # P(|noise| > z) = erfc(z / sqrt 2) and P(|code - loc| > t) = exp(-t / scale)
        sign = _sign(noise)
        magnitude = log_erfc(sign * noise / math.sqrt(2))
        return self.base_dist.loc.to(noise) - self.base_dist.scale.to(noise) * sign * magnitude

    def to_normal(self, codes: Tensor) -> Tensor:
        """Return the normal quantiles of the Laplace distribution function at codes, (N, D)."""
        distance = (codes - self.base_dist.loc.to(codes)) / self.base_dist.scale.to(codes)
        sign = _sign(distance)
        return sign * -normal_quantile(-sign * distance - math.log(2))

    def from_normal(self, scores: Tensor) -> Tensor:
        """Return the Laplace quantiles of the normal distribution function of scores, (N, D)."""
        sign = _sign(scores)
        magnitude = log_normal_cdf(-sign * scores) + math.log(2)
        return self.base_dist.loc.to(scores) - self.base_dist.scale.to(scores) * sign * magnitude


def _sign(x: Tensor) -> Tensor:
    """Return 1, or -1 for negative values: with ``sign`` and ``abs`` gradients at 0 would be 0."""
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


class Uniform(IndependentPrior):
    """Independent uniform variables.

    No tail counts as smaller than 1e-6 / N in normal scores of N codes, so that codes on the edge of the support
    are no outliers.

    Arguments:
        marginals: ``torch.distributions.Uniform`` of batch shape (D,).

    >>> Uniform.standard(2).nearest(torch.tensor([[0.5, -3.0]]))
    tensor([[ 0.5000, -1.0000]])
    """

    title = "the uniform distribution on the cube"
    description = "independent uniform variables on [-1, 1]"
    columns = "each value becomes the uniform quantile of its normal distribution function"
    _least_tail = 1e-6

    @classmethod
    def standard(cls, dim: int) -> Self:
        """Return D variables on [-1, 1]."""
        return cls(torch.distributions.Uniform(-torch.ones(dim), torch.ones(dim)))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the uniform quantiles of the normal distribution function of noise, (N, D)."""
        low, high = self.base_dist.low.to(noise), self.base_dist.high.to(noise)
        return low + (high - low) * normal_cdf(noise)

    def to_normal(self, codes: Tensor) -> Tensor:
        """Return the normal quantiles of the uniform distribution function at codes, (N, D).

        Codes on the faces of the cube count as ``interior`` has them.
        """
        low, high = self.base_dist.low.to(codes), self.base_dist.high.to(codes)
        lower, upper = (codes - low) / (high - low), (high - codes) / (high - low)
        tail = torch.where(lower < upper, lower, upper)  # minimum has half of both gradients where they are equal
        scores = normal_quantile(tail.clamp(_face(codes.dtype), 0.5).log())
        return torch.where(lower < upper, scores, -scores)

    def interior(self, codes: Tensor) -> Tensor:
        """Return codes as float64, those on a face moved off it by an eighth of their type's precision."""
        low, high = self.base_dist.low.double().to(codes.device), self.base_dist.high.double().to(codes.device)
        margin = _face(codes.dtype) * (high - low)
        return torch.maximum(torch.minimum(codes.double(), high - margin), low + margin)

    def nearest(self, codes: Tensor) -> Tensor:
        """Clamp codes, (N, D), to the support."""
        return torch.maximum(torch.minimum(codes, self.base_dist.high.to(codes)), self.base_dist.low.to(codes))


def _face(dtype: torch.dtype) -> float:
    """Return how near a face codes can be, as a share of the edge: nearer than any number of the type."""
    return max(torch.finfo(dtype).eps / 8, _LEAST_FACE)


class UniformSphere(CodePrior):
    """The uniform distribution on the unit sphere in D dimensions, which has the maximum entropy on it.

    Densities are with respect to the surface measure.

    Arguments:
        dim: D, at least 2.

    >>> prior = UniformSphere(3)
    >>> prior.sample((5,)).norm(dim=1).allclose(torch.ones(5))
    True
    >>> round(prior.entropy().exp().item() / math.pi, 4)  # the area of the ordinary sphere, 4 pi
    4.0
    """

    title = "the uniform distribution on the sphere"
    description = "uniform on the unit sphere"
    columns = "each row is divided by its norm"
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
        below = scipy.special.betainc(half, half, ((value.double().clamp(-1, 1) + 1) / 2).cpu().numpy())
        return torch.as_tensor(below, dtype=value.dtype, device=value.device)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Divide each row of noise, (N, D), by its norm."""
        return torch.nn.functional.normalize(noise, dim=1)

    def to_normal(self, codes: Tensor) -> Tensor:
        """Map codes, (N, D), to D - 1 numbers: the Knothe-Rosenblatt map of the uniform distribution.

        Each coordinate, divided by the norm of itself and the later ones, has a Beta distribution on [-1, 1],
        whatever the earlier ones are; the last two form an angle, which is uniform.
        """
        codes = codes.double()
        squares = codes.square().flip(1).cumsum(1).flip(1)  # of the norms of a coordinate and the later ones
        scores = []
        for i, half in self._halves():
            square, later = squares[:, i], squares[:, i + 1]
            share = torch.where(square > 0, codes[:, i] / square.clamp_min(TINY).sqrt(), 0.0)
            margin = later / square.clamp_min(TINY) / (2 + 2 * share.abs())  # (1 - |share|) / 2, with its digits
            scores.append(BetaScores.apply(share, torch.where(square > 0, margin, 0.5), half))
        x, y = codes[:, -2], codes[:, -1]
        pole = (x == 0) & (y == 0)  # which has no angle
        x, y = torch.where(pole, 1.0, x), torch.where(pole, 0.0, y)
        sign = _sign(y)
        tail = (torch.atan2(sign * y, -x) / (2 * math.pi)).clamp_min(TINY)
        return torch.stack([*scores, sign * -normal_quantile(tail.log())], 1)

    def from_normal(self, scores: Tensor) -> Tensor:
        """Map D - 1 standard normal numbers, (N, D - 1), to draws, (N, D)."""
        scores = scores.double()
        rest, codes = torch.ones_like(scores[:, 0]), []
        for i, half in self._halves():
            margin: Tensor = BetaMargins.apply(scores[:, i], half)
            codes.append(rest * _sign(scores[:, i]) * (1 - 2 * margin))
            rest = rest * 2 * (margin * (1 - margin)).clamp_min(TINY).sqrt()
        sign = _sign(scores[:, -1])
        angle = math.pi * torch.special.erfc(sign * scores[:, -1] / math.sqrt(2))  # from the negative axis
        return torch.stack([*codes, -rest * angle.cos(), sign * rest * angle.sin()], 1)

    def _halves(self) -> list[tuple[int, float]]:
        """Return each coordinate but the last two, with the parameter of its Beta distribution."""
        dim = self.event_shape[0]
        return [(i, (dim - 1 - i) / 2) for i in range(dim - 2)]

    def nearest(self, codes: Tensor) -> Tensor:
        """Divide each code, (N, D), by its norm."""
        return self.from_noise(codes)

    def normal_scores(self, codes: Tensor) -> Tensor:
        """Return the normal quantiles of each coordinate's distribution function at codes, (N, D) float64."""
        return marginal_scores(self.cdf, codes, even=True)


class _Opaque(CodePrior):
    """A distribution of which nothing but PyTorch's methods is known."""

    def __init__(self, distribution: Distribution) -> None:
        super().__init__(distribution.batch_shape, distribution.event_shape, validate_args=False)
        self.title = self.description = type(distribution).__name__
        self.sample, self.log_prob = distribution.sample, distribution.log_prob  # type: ignore[method-assign]


_OF_TORCH: dict[type[Distribution], type[IndependentPrior]] = {
    torch.distributions.Normal: Normal,
    torch.distributions.Laplace: Laplace,
    torch.distributions.Uniform: Uniform,
}


def as_prior(distribution: Distribution) -> CodePrior:
    """Return a distribution over codes as a ``CodePrior``, which custom bottlenecks need not give.

    Arguments:
        distribution: over (D,); independent dimensions are a distribution of batch shape (D,), in ``Independent``
            or not.

    >>> plain = torch.distributions.Independent(torch.distributions.Laplace(torch.zeros(2), torch.ones(2)), 1)
    >>> as_prior(plain).title
    'Laplace(0, 1)'
    """
    if isinstance(distribution, CodePrior):
        return distribution
    independent = isinstance(distribution, Independent)
    marginals = distribution.base_dist if isinstance(distribution, Independent) else distribution
    kind = _OF_TORCH.get(type(marginals), IndependentPrior if independent else _Opaque)
    return kind(marginals)
