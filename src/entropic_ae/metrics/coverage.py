"""Fidelity and coverage by nearest neighbours: precision, recall, density, coverage, and their clipped forms."""

from __future__ import annotations

import math
from bisect import bisect_left

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.estimators.pairs import Pairs
from entropic_ae.metrics.checks import checked_rows

__all__ = ["FidelityReference", "fidelity_coverage"]


class FidelityReference:
    """Fidelity and coverage of several generated sets against one real set, whose balls are found once.

    Arguments:
        real: features of real images, (N, F), N > k.
        k: order of the nearest neighbour.

    Raises: InputError: as of ``fidelity_coverage``.

    >>> real, fake = torch.randn(2, 100, 4, generator=torch.Generator().manual_seed(0))
    >>> FidelityReference(real).measure(fake) == fidelity_coverage(real, fake)
    True
    """

    def __init__(self, real: ArrayLike, k: int = 5) -> None:
        if k < 1:
            raise InputError(f"fidelity_coverage needs k of at least 1, got {k}; the default is 5.")
        self._k = k
        self._real = checked_rows(real, "real")
        self._check_number(len(self._real), "real")
        nearest, own = Pairs(self._real, self._real).all_nearest(k, itself=True)
        self._radius = nearest[:, -1:]
        self._clipped = torch.minimum(self._radius, _median_squared(self._radius))
        self._own_balls = torch.bincount(own[nearest <= self._clipped], minlength=len(self._real))

    def measure(self, fake: ArrayLike) -> dict[str, float]:
        """Return the values of ``fidelity_coverage`` of generated features, (M, F), M > k."""
        real, k = self._real, self._k
        fake = checked_rows(fake, "fake", like=real)
        self._check_number(len(fake), "fake")
        fake_radius = Pairs(fake, fake).all_nearest(k, itself=True)[0][:, -1]
        balls, clipped_balls = (torch.zeros(len(fake), dtype=torch.int64, device=fake.device) for _ in range(2))
        covered, recalled = [], []
        pairs = Pairs(real, fake)
        for rows in pairs.blocks():
            block = pairs.bounds(rows)
            inside = pairs.inside(block, self._radius[rows])
            balls += inside.sum(0)
            covered.append(inside.sum(1))
            clipped_balls += pairs.inside(block, self._clipped[rows], closed=True).sum(0)
            recalled.append(pairs.inside(block, fake_radius[None]).any(1))
        counts = torch.cat(covered)
        share = counts.clamp_max(k).double().mean().item() / k
        return {
            "precision": _mean(balls > 0),
            "recall": _mean(torch.cat(recalled)),
            "density": _mean(balls) / k,
            "coverage": _mean(counts > 0),
            "clipped_density": min(1.0, _mean(clipped_balls.clamp_max(k)) / _mean(self._own_balls.clamp_max(k))),
            "clipped_coverage": _calibrated(share, len(real), len(fake), k),
        }

    def _check_number(self, number: int, name: str) -> None:
        if number <= self._k:
            raise InputError(
                f"fidelity_coverage needs more than k={self._k} rows of {name} features, got {number}; "
                "give more images or a lower k."
            )


def fidelity_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> dict[str, float]:
    r"""Precision, recall, density, coverage and the clipped forms of the last two, of generated features.

    A ball around a point has the distance to its k-th nearest other point of the same set as its radius. Its
    boundary does not belong to it.

    - ``precision``: share of generated points inside a ball of a real point.
    - ``recall``: share of real points inside a ball of a generated point.
    - ``density``: mean number of real balls around a generated point, divided by k.
    - ``coverage``: share of real balls with a generated point inside.
    - ``clipped_density``: density with radii of at most their median (the boundary included) and at most k balls
      for each point, relative to that of the real points themselves, at most 1.
    - ``clipped_coverage``: at most k generated points count for each real ball; the share of generated points that
      would have to be real to give this value, the others far away.

    The clipped forms fall linearly with the share of generated points that are far from the real ones.

    **What each of them misses.** Density has no upper bound: it is N / k if each generated point is inside all
    balls. In many dimensions the mean of the features is, since it is nearer to all points than they are to each
    other. A generator that repeats the mean of 1,000 draws from N(0, I) in 64 dimensions has precision 1, density
    200, coverage 1 and both clipped forms 1 (prdc 0.2 gives the same); only its recall, 0, tells. Half the
    standard deviation has coverage 1 and recall 0 there, too. Recall in turn is 0 for any generator without more
    than k different images in a place, and outliers among generated points raise it. So none should be shown
    alone, and precision and recall always together. A generator that repeats one training image has coverage
    near 0. Copies of all training images have 1 everywhere: see ``near_copies``.

    Compare only values of equal N, M and k. Distances are compared exactly, in float64; one block at a time is in
    memory. Of more than k equal points the radius is 0, and nothing is inside. prdc 0.2 computes the distance of
    equal points with a rounding error, so only such sets differ.

    Arguments:
        real: features of real images, (N, F), N > k.
        fake: features of generated images, (M, F), M > k; in the same order of features.
        k: order of the nearest neighbour: 5 in the papers of density and of the clipped forms, 3 in that of
            precision.

    Returns: the six values by name; all but ``density`` are at most 1.

    Raises: InputError: k < 1, too few rows, different widths, or values that are not finite.

    References:
        Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models", 2019,
        https://arxiv.org/abs/1904.06991.
        Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020,
        https://arxiv.org/abs/2002.09797; their package prdc 0.2 for boundaries.
        Salvy, Talbot and Thirion, "Enhanced generative model evaluation with Clipped Density and Coverage", 2026,
        https://arxiv.org/abs/2507.01761; their code, commit 9920dae, for boundaries and steps.

    >>> import torch
    >>> real, fake = torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(0))
    >>> found = fidelity_coverage(real, fake)
    >>> found["precision"] > 0.9, found["recall"] > 0.9, found["coverage"] > 0.9
    (True, True, True)
    >>> fidelity_coverage(real, fake + 10)["clipped_density"]
    0.0
    """
    return FidelityReference(real, k).measure(fake)


def _mean(values: Tensor) -> float:
    return values.double().mean().item()


def _median_squared(square: Tensor) -> Tensor:
    """Return the square of the median distance, of an even number the mean of the two in the middle."""
    ordered = square.flatten().sort().values
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else ((low.sqrt() + high.sqrt()) / 2).square()  # a radius keeps its digits


def _calibrated(share: float, n: int, m: int, k: int) -> float:
    """Return the share of good points among m that is expected to give this uncalibrated clipped coverage."""
    if share == 0:
        return 0.0
    fewest = bisect_left(range(k, m + 1), share, key=lambda good: _expected(good, n, k))
    return (k + fewest) / (m + 1)


def _expected(good: int, n: int, k: int) -> float:
    """Return the expected number of ``good`` points of the real distribution in a ball, at most k, over k.

    The probability of a ball with k of the other n - 1 points follows Beta(k, n - k), so the number is
    beta-binomial: Salvy et al., 2026.
    """

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    missing = 0.0
    for j in range(min(k, good + 1)):
        binomial = -log_beta(j + 1, good - j + 1) - math.log(good + 1)
        missing += (k - j) * math.exp(binomial + log_beta(k + j, n - k + good - j) - log_beta(k, n - k))
    return 1 - missing / k
