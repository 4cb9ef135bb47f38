"""Intervals of distances over resamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import scipy
import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.metrics.checks import checked_pair
from entropic_ae.randomness import generator

__all__ = ["Interval", "interval"]


@dataclass(frozen=True)
class Interval:
    """A value with its interval, as returned by ``interval``.

    >>> found = Interval(3.0, 1.0, 5.0, 1.0)
    >>> found.low <= found.estimate <= found.high
    True
    """

    estimate: float
    """The statistic of all rows."""
    low: float
    high: float
    standard_error: float
    """Standard deviation of the estimate over fresh sets of the same sizes."""


def interval(
    statistic: Callable[[Tensor, Tensor], float],
    real: ArrayLike,
    fake: ArrayLike,
    *,
    resamples: int = 20,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of a distance over fresh real and generated sets of the same sizes, from random halves of both.

    The standard error is the standard deviation of the statistic over random halves of the rows, drawn without
    replacement. Half of the rows has twice the variance, and half of it is shared by all halves, so no factor is
    needed. The interval is the estimate and as many standard errors to both sides as Student's distribution has
    with ``resamples - 1`` degrees of freedom.

    It covers the *expectation of the statistic for sets of these sizes*, bias included: for the Frechet distance
    not the distance of infinite sets. So compare two intervals of equal sizes. Rows are resampled independently in
    both sets, so a statistic of pairs (an image and its own reconstruction) is not meant.

    Found by simulation (200 rows of 8 features, 150 pairs of sets, 20 halves, level 0.95): the interval covers the
    mean Frechet distance in 96 to 100 % of cases and the mean kernel distance in 95 to 100 %. For equal
    distributions it is up to 1.7 times too wide, because the leading part of the error vanishes there. The
    percentiles of a bootstrap cover the Frechet distance in 83 % of cases for shifted normals and in 2 % for equal
    ones: rows that are drawn twice raise the distance of each resample.

    For the Frechet distance alone, ``FrechetReference`` estimates the standard error without resampling.

    Arguments:
        statistic: a function of real and generated rows, such as ``frechet_distance``; it is called
            ``resamples + 1`` times and must be defined for half of the rows.
        real: features of real images, (N, F), N >= 4.
        fake: features of generated images, (M, F), M >= 4.
        resamples: number of random halves, at least 2.
        seed: of the halves.
        level: probability of covering, above 0 and below 1.

    Raises: InputError: too few rows or resamples, a level outside its range, different widths, or values that are
        not finite.

    Reference: Politis, Romano and Wolf, "Subsampling", 1999; Shao and Wu, "A general theory for jackknife variance
    estimation", 1989, https://doi.org/10.1214/aos/1176347263.

    >>> from entropic_ae.metrics import sliced_distance
    >>> real, fake = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
    >>> found = interval(sliced_distance, real, fake + 1)
    >>> found.low < 6 < found.high  # 3 times the squared length of the shift
    True
    """
    if resamples < 2 or not 0 < level < 1:
        raise InputError(
            f"interval needs at least 2 resamples and a level above 0 and below 1, got {resamples} and {level}; "
            "the defaults are 20 and 0.95."
        )
    real, fake = checked_pair(real, fake, least=4)
    estimate = float(statistic(real, fake))
    source = generator(seed)

    def half(rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=source)[: len(rows) // 2].to(rows.device)]

    values = torch.tensor([float(statistic(half(real), half(fake))) for _ in range(resamples)]).double()
    error = values.std().item()
    width = float(scipy.stats.t.ppf((1 + level) / 2, resamples - 1)) * error
    return Interval(estimate, estimate - width, estimate + width, error)
