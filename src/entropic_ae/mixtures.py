"""Mixtures of Gaussians in many dimensions: expectation maximisation, the number of components, the density."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor

from entropic_ae.errors import InputError

__all__ = ["COMPONENTS", "GaussianMixture", "check_fit", "choose_mixture", "fit_mixture", "mean_and_deviation"]

COMPONENTS = (1, 2, 5, 10, 20, 50, 100, 200)  # numbers that ``choose_mixture`` tries
_RIDGE = 1e-6  # added to the variances of standardised points, as scikit-learn does
_TOLERANCE, _ITERATIONS = 1e-3, 2000  # of the log likelihood per point, as published for the density of ten
_HELD_OUT = 10  # one point in ten chooses the number of components
_LOWER = 2  # numbers in a row of lower likelihood that end the search
_CELLS = 2**17  # values of a block of the distances: blocks that fit the cache are faster
_BLOCK = 2**16  # points whose density is computed at once
_FAR = 30.0  # nats below the likeliest component at which one is not looked at
_REFRESH = 5  # iterations after which all components are looked at again
_NEGLIGIBLE = 1e-12  # share of a component whose points are left out of its covariance
_EMPTY = 1e-6  # points: a component of fewer is left out
_LEAST_SCALE = 1e-6  # of a Gaussian, in units of its component's covariance
_LEAST_DEVIATION = 1e-100  # whose square is not 0


class GaussianMixture(NamedTuple):
    """K Gaussians in D dimensions, float64.

    Attributes:
        weights: (K,), sum 1.
        means: (K, D).
        covariances: (K, D, D).

    >>> mixture = GaussianMixture(torch.ones(1).double(), torch.zeros(1, 2).double(), torch.eye(2).double()[None])
    >>> round(mixture.log_prob(torch.zeros(1, 2)).item(), 4)  # -log(2 pi)
    -1.8379
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def precision_factors(self) -> Tensor:
        """Return the inverse Cholesky factors of the covariances, (K, D, D), lower triangular.

        A point x is P (x - mean), of identity covariance, in the coordinates of a component.
        """
        return _inverse_factors(self.covariances)

    def log_prob(self, points: Tensor) -> Tensor:
        """Return the log density at points, (N, D): (N,) float64, in nats."""
        factors = self.precision_factors()
        fit = _Components(self.weights[:, None], torch.ones_like(self.weights)[:, None], *self[1:])
        blocks = points.double().split(_BLOCK)
        return torch.cat([_expect(block, fit, factors).evidence.squeeze(1) for block in blocks])


def fit_mixture(
    points: Tensor, components: int, *, scales: int = 1, shrinkage: float = 0.0, seed: int = 0
) -> GaussianMixture:
    """Fit Gaussians with full covariances by expectation maximisation, from a k-means start.

    The points are standardised for the fit, so that the ridge of 1e-6 on a component's variances means the same in
    every unit. Iterations end when the mean log likelihood changes by less than 1e-3 nats, at the latest after
    2,000. Most of the cost in many dimensions is saved where it makes no difference: points that make up 1e-12 of
    a component are left out of its covariance, and between every fifth iteration and the last, components are not
    looked at from points where they were 30 nats below the likeliest.

    Arguments:
        points: (N, D), finite, N at least 2; the fit is in float64 on their device, but for its start.
        components: K at most, and at most half the number of points; a component that loses all points is left
            out.
        scales: J at least 1. Each component is itself a mixture of J Gaussians with one mean, whose covariances
            are multiples of one: with J above 1 it has heavier tails than a Gaussian. Their weights and factors
            are fitted. The Gaussians of a component follow one another in the result, K J at most.
        shrinkage: at least 0. Covariances are estimated as if each component had this many times D points more,
            whose covariance is the components' average, scaled to the component's own size. The size is not
            shrunk: a component of one point keeps the ridge alone.
        seed: of the k-means start.

    Raises: InputError for an invalid number of components or scales, or an invalid shrinkage.

    References: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", Journal
    of the Royal Statistical Society B 39, 1977; start, ridge and rule of stopping are scikit-learn's. Scales:
    Andrews and Mallows, "Scale mixtures of normal distributions", the same journal, 36, 1974; each iteration
    maximises over their factors first, as in Meng and Rubin, "Maximum likelihood estimation via the ECM
    algorithm", Biometrika 80, 1993. Shrinkage: Fraley and Raftery, "Bayesian regularization for normal mixture
    estimation and model-based clustering", Journal of Classification 24, 2007, with another centre.

    >>> source = torch.Generator().manual_seed(0)
    >>> points = torch.randn(1000, 1, generator=source).double() + torch.tensor([[-5.0], [5.0]]).repeat(500, 1)
    >>> sorted(round(mean) for mean in fit_mixture(points, 2).means.flatten().tolist())
    [-5, 5]
    """
    check_fit("mixture", components, scales, shrinkage)
    points = points.double()
    mean, deviation = mean_and_deviation(points)
    standard = (points - mean) / deviation
    start = _start(standard, min(components, len(points) // 2), seed)
    mixture = _expectation_maximisation(standard, start, scales, shrinkage).gaussians()
    return GaussianMixture(
        mixture.weights,
        mean + deviation * mixture.means,
        deviation[:, None] * mixture.covariances * deviation,
    )


def check_fit(name: str, components: int, scales: int, shrinkage: float) -> None:
    """Raise InputError, in which the settings are those of ``name``, if they cannot be fitted.

    >>> check_fit("mixture", 10, 2, 1.0)
    """
    for setting, value in (("components", components), ("scales", scales)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name}.{setting} must be a whole number of at least 1, got {value!r}.")
    if not isinstance(shrinkage, int | float) or not 0 <= shrinkage < math.inf:
        raise InputError(f"{name}.shrinkage must be a number of at least 0, got {shrinkage!r}.")


def choose_mixture(
    points: Tensor,
    *,
    scales: int = 1,
    shrinkage: float = 0.0,
    seed: int = 0,
    components: Sequence[int] = COMPONENTS,
) -> GaussianMixture:
    """Fit a mixture whose number of components has the highest likelihood of held-out points.

    Each number is fitted to nine tenths of the points and scored on the others, from the smallest on, until two in
    a row score lower than the best. The smallest number whose shortfall from the best is no more than the standard
    error of that difference is then fitted to all points: chance would otherwise often prefer components too many.

    Arguments:
        points: (N, D), finite, N at least 2.
        scales, shrinkage: of every fit, see ``fit_mixture``.
        seed: of the held-out points and the k-means starts.
        components: increasing numbers to try.

    Reference: for the standard error, section 3.4 of "Classification and Regression Trees", Breiman et al., 1984.

    >>> source = torch.Generator().manual_seed(0)
    >>> points = torch.randn(600, 1, generator=source).double() + torch.tensor([[-5.0], [5.0]]).repeat(300, 1)
    >>> len(choose_mixture(points, components=(1, 2, 5)).weights)
    2
    """
    fit = partial(fit_mixture, scales=scales, shrinkage=shrinkage, seed=seed)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed)).to(points.device)
    held_out, others = points[order[::_HELD_OUT]], points[order[torch.arange(len(order)) % _HELD_OUT != 0]]
    scores: dict[int, Tensor] = {}
    highest, lower = -math.inf, 0
    for count in components if len(others) > 1 else ():
        if scores and (count > len(others) // 2 or lower == _LOWER):
            break
        scores[count] = fit(others, count).log_prob(held_out)
        likelihood = scores[count].mean().item()
        lower = 0 if likelihood > highest else lower + 1
        highest = max(likelihood, highest)
    return fit(points, _fewest(scores) if scores else components[0])


def _fewest(scores: Mapping[int, Tensor]) -> int:
    """Return the smallest number whose shortfall from the highest likelihood is within its standard error."""
    best = max(scores.values(), key=lambda score: score.mean().item())

    def near_best(score: Tensor) -> bool:
        shortfall = best - score
        return bool(shortfall.mean() <= shortfall.std(correction=0) / math.sqrt(len(score)))

    return next(count for count, score in scores.items() if near_best(score))


def mean_and_deviation(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of float64 points, (N, D), by dimension, for standardisation.

    >>> mean, deviation = mean_and_deviation(torch.tensor([[1.0, 5.0], [3.0, 5.0]]).double())
    >>> mean.tolist(), [round(d, 7) for d in deviation.tolist()]
    ([2.0, 5.0], [1.4142136, 5e-07])
    """
    # the deviation of a constant dimension is 0, or float32's rounding error
    deviation = points.std(0).maximum(1e-7 * points.abs().amax(0))
    return points.mean(0), deviation.clamp_min(_LEAST_DEVIATION)


def _start(points: Tensor, components: int, seed: int) -> Tensor:
    """Return the responsibilities of a k-means clustering, (N, K); fewer distinct points make fewer clusters."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct points
        labels = KMeans(components, n_init=1, random_state=seed).fit(points.cpu().numpy()).labels_
    present, labels = torch.from_numpy(labels).long().unique(return_inverse=True)
    return torch.nn.functional.one_hot(labels, len(present)).to(points)


class _Components(NamedTuple):
    """K components of J Gaussians: weights and scales, (K, J), means, (K, D), covariances, (K, D, D)."""

    weights: Tensor
    scales: Tensor
    means: Tensor
    covariances: Tensor

    def gaussians(self) -> GaussianMixture:
        """Return the Gaussians of all components, but for those of no weight."""
        weights, scales = self.weights.flatten(), self.weights.shape[1]
        covariances = (self.scales[:, :, None, None] * self.covariances[:, None]).flatten(0, 1)
        kept = weights > 0
        return GaussianMixture(weights[kept], self.means.repeat_interleave(scales, 0)[kept], covariances[kept])


class _Expectation(NamedTuple):
    """Of points and components: square distances and log joint densities, (N, K), log densities, (N, 1)."""

    distances: Tensor
    joint: Tensor
    evidence: Tensor


def _expectation_maximisation(
    points: Tensor, responsibilities: Tensor, scales: int, shrinkage: float
) -> _Components:
    before, near = -math.inf, None
    steps = torch.linspace(-1, 1, scales) if scales > 1 else torch.zeros(1)
    counts = responsibilities.sum(0)[:, None]
    spread = (2**steps / (2**steps).mean()).to(points).expand(len(counts), -1)
    fit = _maximise(points, responsibilities, counts.expand_as(spread) / scales, spread, shrinkage)
    for iteration in range(_ITERATIONS):
        if near is not None and (iteration % _REFRESH == 0 or near.shape[1] != len(fit.weights)):
            near = None  # a component that was left out has a column in it
        factors = _inverse_factors(fit.covariances)
        expected = _expect(points, fit, factors, near)
        if near is not None and abs(expected.evidence.mean().item() - before) < _TOLERANCE:
            expected = _expect(points, fit, factors)  # the rise counts once all pairs were looked at
        likelihood = expected.evidence.mean().item()
        near = expected.joint > expected.evidence - _FAR
        fit = _maximise(points, *_shares(expected, fit, factors), shrinkage)
        if abs(likelihood - before) < _TOLERANCE:
            break
        before = likelihood
    return fit


def _expect(points: Tensor, fit: _Components, factors: Tensor, near: Tensor | None = None) -> _Expectation:
    distances = _distances(points, fit.means, factors, near)
    joint = reduce(torch.logaddexp, _log_joint(distances, fit, factors))
    return _Expectation(distances, joint, joint.logsumexp(1, keepdim=True))


def _log_joint(distances: Tensor, fit: _Components, factors: Tensor) -> Iterator[Tensor]:
    """Yield log(weight_kj N(x; mean_k, scale_kj covariance_k)) of each scale j, (N, K)."""
    dim = factors.shape[1]
    of_all = factors.diagonal(dim1=1, dim2=2).log().sum(1) - dim / 2 * math.log(2 * math.pi)
    for weights, scales in zip(fit.weights.T, fit.scales.T, strict=True):
        yield weights.log() + of_all - dim / 2 * scales.log() - distances / (2 * scales)


def _shares(expected: _Expectation, fit: _Components, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of points in a component's moments, (N, K), counts and new scales, (K, J)."""
    distances, joint, evidence = expected
    if fit.weights.shape[1] == 1:
        shares = (joint - evidence).exp_()
        return shares, shares.sum(0)[:, None], fit.scales
    parts = [part.sub_(evidence).exp_() for part in _log_joint(distances, fit, factors)]
    counts = torch.stack([part.sum(0) for part in parts], 1)
    finite = distances.masked_fill(distances.isinf(), 0)
    squares = torch.stack([torch.einsum("nk,nk->k", part, finite) for part in parts], 1)
    scales = torch.where(counts > _EMPTY, squares / (factors.shape[1] * counts), fit.scales)
    scales = scales.clamp_min(_LEAST_SCALE)  # a component may be one point, at no distance from its mean
    totals = counts.sum(1, keepdim=True)
    mean = (counts * scales).sum(1, keepdim=True) / totals
    scales = torch.where(totals > 0, scales / mean, fit.scales)  # of mean 1: a covariance is its component's
    shares = reduce(torch.add, (part.div_(scale) for part, scale in zip(parts, scales.T, strict=True)))
    return shares, counts, scales


def _maximise(points: Tensor, shares: Tensor, counts: Tensor, scales: Tensor, shrinkage: float) -> _Components:
    dim = points.shape[1]
    totals = counts.sum(1)
    if totals.min() < _EMPTY:
        kept = totals >= _EMPTY
        shares, counts, scales, totals = shares[:, kept], counts[kept], scales[kept], totals[kept]
    means = shares.T @ points / shares.sum(0)[:, None]
    covariances = points.new_zeros(len(totals), dim, dim)
    for k, (mean, total) in enumerate(zip(means, totals, strict=True)):
        share = shares[:, k].contiguous()
        near = (share > _NEGLIGIBLE * total / len(points)).nonzero().squeeze(1)
        for block in near.split(max(1, _CELLS // dim)):
            weighted = points.index_select(0, block).sub_(mean)
            covariances[k] += _gram(weighted.mul_(share.index_select(0, block).sqrt_()[:, None]))
        covariances[k] /= total
    if shrinkage:
        covariances = _shrunk(covariances, totals, shrinkage * dim)
    covariances.diagonal(dim1=1, dim2=2).add_(_RIDGE)
    return _Components(counts / counts.sum(), scales, means, covariances)


def _shrunk(covariances: Tensor, counts: Tensor, more: float) -> Tensor:
    """Return covariances as if each had ``more`` points of the average one's shape at its own size."""
    average = torch.einsum("k,kij->ij", counts / counts.sum(), covariances)
    average.diagonal().add_(_RIDGE)
    sizes = torch.einsum("ij,kji->k", torch.linalg.inv(average), covariances) / len(average)
    of_more = (more / (counts + more))[:, None, None]
    return covariances * (1 - of_more) + sizes[:, None, None] * average * of_more


def _gram(x: Tensor) -> Tensor:
    """Return x^T x; on a CPU by NumPy, which takes half the time, since it computes one triangle only."""
    return x.T @ x if x.is_cuda else torch.from_numpy(x.numpy().T @ x.numpy())


def _distances(points: Tensor, means: Tensor, factors: Tensor, near: Tensor | None) -> Tensor:
    """Return square distances from components, (N, K), in their units; infinity where not ``near``, (N, K)."""
    offsets = (factors @ means[..., None]).squeeze(2)
    distances = points.new_full((len(means), len(points)), math.inf)
    for k, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        chosen = None if near is None else near[:, k].nonzero().squeeze(1)
        if chosen is None or 2 * len(chosen) > len(points):
            distances[k] = _square_distances(points, factor, offset)
        else:
            distances[k, chosen] = _square_distances(points[chosen], factor, offset)
    return distances.T


def _square_distances(points: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    blocks = points.split(max(1, _CELLS // points.shape[1]))
    return torch.cat([torch.addmm(offset, block, factor.T, beta=-1).square_().sum(1) for block in blocks])


def _inverse_factors(covariances: Tensor) -> Tensor:
    factors = torch.linalg.cholesky(covariances)
    identity = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)
