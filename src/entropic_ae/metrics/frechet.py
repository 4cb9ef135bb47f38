"""The Frechet distance between two sets of features, with its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.metrics.checks import checked_features

__all__ = ["FrechetEstimate", "FrechetReference", "frechet_distance"]


class FrechetEstimate(NamedTuple):
    """A Frechet distance and how far it varies between draws of as many images.

    Attributes:
        distance: squared Frechet distance, at least 0.
        standard_error: of the distance, over draws of both sets; without the bias, which falls with their size.
    """

    distance: float
    standard_error: float


class FrechetReference:
    r"""Frechet distances from one set of real features, whose covariance is decomposed once.

    Real features have mean m and covariance S, others n and T. The gradients of the distance with respect to the
    moments give what each row adds to it (its influence): for a row x of the others
    $2 (n - m)^T (x - n) + (x - n)^T (1 - A) (x - n)$, where $A = S^{1/2} (S^{1/2} T S^{1/2})^{-1/2} S^{1/2}$, the
    linear map that transports T to S. For a real row it is the same with the sets exchanged and $A^{-1}$. The
    variances of these, divided by the numbers of rows, add up to the squared standard error (the infinitesimal
    jackknife).
    Resamples of rows are no help: their repeated rows lower the rank of a covariance, which raises the distance.

    Arguments:
        real: features of real images, (N, F), N >= 2; computed in float64 on the CPU.

    Raises: InputError: fewer than 2 rows, or values that are not finite.

    References:
        Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017,
        https://arxiv.org/abs/1706.08500, for the distance.
        Efron, "Nonparametric standard errors and confidence intervals", Canadian Journal of Statistics 9, 1981,
        for the standard error.

    >>> real = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    >>> round(FrechetReference(real).estimate(real + 3.0).distance, 6)
    9.0
    """

    def __init__(self, real: ArrayLike) -> None:
        self._real = checked_features(real, "real")
        self._mean = self._real.mean(0)
        self._centred = self._real - self._mean
        values, vectors = torch.linalg.eigh(_covariance(self._centred))
        self._kept = values > _negligible(values)
        roots = values.where(self._kept, 0).sqrt()
        self._vectors = vectors
        self._roots = roots
        self._root = (vectors * roots) @ vectors.T

    def estimate(self, fake: ArrayLike, *, error: bool = True) -> FrechetEstimate:
        """Return the distance of generated features, (M, F), M >= 2, and its standard error.

        Arguments:
            fake: features of generated images.
            error: whether to compute the standard error, which takes as long again; else it is NaN.

        Raises: InputError: fewer than 2 rows, another width, or values that are not finite.
        """
        fake = checked_features(fake, "fake", width=self._real.shape[1])
        mean = fake.mean(0)
        centred = fake - mean
        covariance = _covariance(centred)
        values, vectors = torch.linalg.eigh(self._root @ covariance @ self._root)
        kept = values > _negligible(values)
        values = values.where(kept, 0)
        shift = mean - self._mean
        traces = self._roots.square().sum() + covariance.trace() - 2 * values.sqrt().sum()
        distance = max(0.0, float(shift.square().sum() + traces))
        if not error:
            return FrechetEstimate(distance, math.nan)
        onto = vectors[:, kept] * values[kept].pow(-0.25)  # A = (root onto) (root onto)^T
        own = 2 * centred @ shift + centred.square().sum(1) - (centred @ (self._root @ onto)).square().sum(1)
        inverse = (self._vectors[:, self._kept] / self._roots[self._kept]) @ self._vectors[:, self._kept].T
        back = inverse @ (vectors[:, kept] * values[kept].pow(0.25))
        of_real = self._centred.square().sum(1) - (self._centred @ back).square().sum(1)
        of_real -= 2 * self._centred @ shift
        variance = own.var() / len(own) + of_real.var() / len(of_real)
        return FrechetEstimate(distance, float(variance.sqrt()))


def frechet_distance(real: ArrayLike, fake: ArrayLike) -> float:
    r"""Squared Frechet distance between Gaussians fitted to two sets of features (FID on Inception's).

    The distance is $\|m - n\|^2 + \mathrm{tr}(S + T - 2 (S T)^{1/2})$ for the means m, n and the unbiased
    covariances S, T, in float64. Its sampling bias falls with N, so compare only distances of equal N.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2. N < F is allowed.

    Returns:
        The distance in squared feature units, at least 0.

    Raises:
        InputError: fewer than 2 rows, different widths, or values that are not finite.

    Reference: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    2017, https://arxiv.org/abs/1706.08500.

    >>> real = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    >>> round(frechet_distance(real, real + 3.0), 6)
    9.0
    """
    return FrechetReference(real).estimate(fake, error=False).distance


def _covariance(centred: Tensor) -> Tensor:
    return centred.T @ centred / (len(centred) - 1)


def _negligible(eigenvalues: Tensor) -> Tensor:
    """Return the size of rounding errors in the eigenvalues of a matrix, of which a rank is missing."""
    return len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues.amax()
