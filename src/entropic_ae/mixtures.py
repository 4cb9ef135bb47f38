"""Mixtures of Gaussians in many dimensions: expectation maximisation, the number of components, the density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["COMPONENTS", "GaussianMixture", "choose_mixture", "fit_mixture"]

COMPONENTS = (1, 2, 5, 10, 20, 50, 100, 200)  # numbers that ``choose_mixture`` tries
_RIDGE = 1e-6  # added to the variances of standardised points, as scikit-learn does
_TOLERANCE, _ITERATIONS = 1e-3, 2000  # of the log likelihood per point, as published for the density of ten
_HELD_OUT = 10  # one point in ten chooses the number of components
_CELLS = 2**17  # values of a block of the distances: blocks that fit the cache are faster
_FAR = 30.0  # nats below the likeliest component at which one is not looked at
_REFRESH = 5  # iterations after which all components are looked at again
_NEGLIGIBLE = 1e-12  # a responsibility below it adds nothing to a covariance


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
        return _log_joint(points.double(), self.weights, self.means, self.precision_factors()).logsumexp(1)


def fit_mixture(points: Tensor, components: int, *, seed: int = 0) -> GaussianMixture:
    """Fit Gaussians with full covariances by expectation maximisation, from a k-means start.

    The points are standardised for the fit, so that the ridge of 1e-6 on the variances means the same at every
    scale. Iterations end when the mean log likelihood rises by less than 1e-3 nats, at the latest after 2,000.
    Responsibilities below 1e-12 are left out of the covariances, which saves most of their cost in many
    dimensions.

    Arguments:
        points: (N, D) float64, finite.
        components: K; at most half the number of points are used.
        seed: of the k-means start.

    Reference: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", Journal
    of the Royal Statistical Society B 39, 1977; start, ridge and rule of stopping are scikit-learn's.

    >>> source = torch.Generator().manual_seed(0)
    >>> points = torch.randn(1000, 1, generator=source).double() + torch.tensor([[-5.0], [5.0]]).repeat(500, 1)
    >>> sorted(round(mean) for mean in fit_mixture(points, 2).means.flatten().tolist())
    [-5, 5]
    """
    mean, deviation = _scale(points)
    standard = (points - mean) / deviation
    mixture = _expectation_maximisation(standard, _start(standard, min(components, len(points) // 2), seed))
    return GaussianMixture(
        mixture.weights,
        mean + deviation * mixture.means,
        deviation[:, None] * mixture.covariances * deviation,
    )


def choose_mixture(points: Tensor, *, seed: int = 0, components: Sequence[int] = COMPONENTS) -> GaussianMixture:
    """Fit a mixture whose number of components has the highest likelihood of held-out points.

    Each number is fitted to nine tenths of the points and scored on the others, from the smallest on, until two in
    a row score lower than the best; the best is then fitted to all points.

    Arguments:
        points: (N, D) float64, finite.
        seed: of the held-out points and the k-means starts.
        components: increasing numbers to try.

    >>> source = torch.Generator().manual_seed(0)
    >>> points = torch.randn(600, 1, generator=source).double() + torch.tensor([[-5.0], [5.0]]).repeat(300, 1)
    >>> len(choose_mixture(points, components=(1, 2, 5)).weights)
    2
    """
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed)).to(points.device)
    held_out, others = points[order[::_HELD_OUT]], points[order[torch.arange(len(order)) % _HELD_OUT != 0]]
    best, highest, lower = components[0], -math.inf, 0
    for count in components:
        if count > len(others) // 2:
            break
        likelihood = fit_mixture(others, count, seed=seed).log_prob(held_out).mean().item()
        if likelihood > highest:
            best, highest, lower = count, likelihood, 0
        else:
            lower += 1
            if lower == 2:
                break
    return fit_mixture(points, best, seed=seed)


def _scale(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation by dimension; that of a constant dimension is positive."""
    deviation = points.std(0, correction=0).maximum(1e-7 * points.abs().amax(0))
    return points.mean(0), deviation.clamp_min(torch.finfo(points.dtype).tiny)


def _start(points: Tensor, components: int, seed: int) -> Tensor:
    """Return the responsibilities of a k-means clustering, (N, K)."""
    from sklearn.cluster import KMeans

    labels = KMeans(components, n_init=1, random_state=seed).fit(points.cpu().numpy()).labels_
    start = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), components)
    return start.to(points)


def _expectation_maximisation(points: Tensor, responsibilities: Tensor) -> GaussianMixture:
    before, near = -math.inf, None
    for iteration in range(_ITERATIONS):
        mixture = _maximise(points, responsibilities)
        if iteration % _REFRESH == 0:
            near = None
        joint = _log_joint(points, mixture.weights, mixture.means, mixture.precision_factors(), near)
        evidence = joint.logsumexp(1, keepdim=True)
        likelihood = evidence.mean().item()
        if abs(likelihood - before) < _TOLERANCE:
            if near is None:
                break
            near = None  # the rise counts once all pairs were looked at
        else:
            near = joint > evidence - _FAR
        before, responsibilities = likelihood, (joint - evidence).exp_()
    return mixture


def _maximise(points: Tensor, responsibilities: Tensor) -> GaussianMixture:
    dim = points.shape[1]
    counts = responsibilities.sum(0) + 10 * torch.finfo(points.dtype).eps
    means = responsibilities.T @ points / counts[:, None]
    covariances = points.new_empty(len(counts), dim, dim)
    for k, (mean, count) in enumerate(zip(means, counts, strict=True)):
        share = responsibilities[:, k]
        near = share > _NEGLIGIBLE
        weighted = (points[near] - mean) * share[near].sqrt()[:, None]
        covariances[k] = weighted.T @ weighted / count
    covariances.diagonal(dim1=1, dim2=2).add_(_RIDGE)
    return GaussianMixture(counts / counts.sum(), means, covariances)


def _log_joint(
    points: Tensor, weights: Tensor, means: Tensor, factors: Tensor, near: Tensor | None = None
) -> Tensor:
    """Return log(weight_k N(x; mean_k, covariance_k)), (N, K); minus infinity where ``near``, (N, K), is false."""
    dim = points.shape[1]
    offsets = (factors @ means[..., None]).squeeze(2)
    constants = weights.log() + factors.diagonal(dim1=1, dim2=2).log().sum(1) - dim / 2 * math.log(2 * math.pi)
    distances = points.new_full((len(weights), len(points)), math.inf)
    for k, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        chosen = None if near is None else near[:, k].nonzero().squeeze(1)
        if chosen is None or 2 * len(chosen) > len(points):
            distances[k] = _square_distances(points, factor, offset)
        else:
            distances[k, chosen] = _square_distances(points[chosen], factor, offset)
    return (constants[:, None] - distances.div_(2)).T


def _square_distances(points: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    blocks = points.split(max(1, _CELLS // points.shape[1]))
    return torch.cat([torch.addmm(offset, block, factor.T, beta=-1).square_().sum(1) for block in blocks])


def _inverse_factors(covariances: Tensor) -> Tensor:
    factors = torch.linalg.cholesky(covariances)
    identity = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False)
