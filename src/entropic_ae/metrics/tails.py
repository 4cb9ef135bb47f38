"""How far out a value lies in the tail of other values, and several such tails as one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError

__all__ = ["LEAST_REFERENCE", "p_values", "tail_surprise"]

LEAST_REFERENCE = 20  # values: with fewer no p-value is below 5 %
_TAIL = 0.1  # of the reference, whose mean excess gives the tail beyond it


def tail_surprise(values: ArrayLike, reference: ArrayLike) -> Tensor:
    """Return -log P(R >= v) of each value v, in nats, for R like the reference values: (N,) float64.

    Up to the quantile u of 90 % the probability is empirical, (1 + #{r >= v}) / (n + 1). Beyond u it would soon be
    the same for every value, so there it is the exponential tail with the mean excess b of the reference:
    P(R >= v) = P(R >= u) exp(-(v - u) / b). That is a generalised Pareto tail of shape 0. The result never falls
    when the value grows, and values beyond all of the reference are still ordered.

    If reference values were drawn like the values, the results are about standard exponential. The sum over two
    independent quantities, half of Fisher's statistic, then has 2 s ~ chi^2 with 4 degrees of freedom; for
    quantities that depend on each other, ``p_values`` compares it with that of the reference.

    Arguments:
        values: (N,), of which large ones are unusual.
        reference: ordinary values, (n,), n at least 20.

    Raises: InputError for fewer reference values, other shapes, or values that are not finite.

    Reference: Fisher, "Statistical methods for research workers", 4th edition, 1932, section 21.1; Pickands,
    "Statistical inference using extreme order statistics", 1975, https://doi.org/10.1214/aos/1176343003.

    >>> exponential = -torch.linspace(0.0005, 0.9995, 1000).log()
    >>> [round(x, 1) for x in tail_surprise(torch.tensor([0.0, 1.0, 10.0]), exponential).tolist()]
    [0.0, 1.0, 10.0]
    """
    values, ordered = _checked(values, "values"), _checked(reference, "reference", LEAST_REFERENCE).sort().values
    n = len(ordered)
    beyond = math.ceil(_TAIL * n)
    start = ordered[n - beyond - 1]
    over = ordered[ordered > start]  # fewer, if several are equal to the start
    beyond, excess = len(over), (over - start).mean() if len(over) else torch.zeros(())
    within = (n + 1) / (1 + n - torch.searchsorted(ordered, values)).double()
    tail = math.log((n + 1) / (1 + beyond)) + (values - start) / excess
    # without an excess all of the tail are one value, and nothing says how fast it ends
    return torch.where((values > start) & (excess > 0), tail, within.log())


def p_values(values: ArrayLike, reference: ArrayLike) -> Tensor:
    """Return the share of ordinary values that are at least as large as each value: (N,) float64, never 0.

    (1 + #{r >= v}) / (n + 1). For a value that is drawn like the reference, the chance of a share of at most p is
    at most p, whatever the distribution (a conformal p-value).

    Arguments:
        values: (N,), of which large ones are unusual.
        reference: ordinary values, (n,), n at least 20.

    Raises: InputError as ``tail_surprise``.

    Reference: Bates, Candes, Lei, Romano and Sesia, "Testing for outliers with conformal p-values", 2023,
    https://doi.org/10.1214/22-AOS2244.

    >>> p_values([18.5, 100], range(20)).tolist() == [2 / 21, 1 / 21]
    True
    """
    values, ordered = _checked(values, "values"), _checked(reference, "reference", LEAST_REFERENCE).sort().values
    return (1 + len(ordered) - torch.searchsorted(ordered, values)).double() / (len(ordered) + 1)


def _checked(values: ArrayLike, who: str, least: int = 0) -> Tensor:
    found = as_tensor(values, who).detach().double().cpu().contiguous()
    if found.dim() != 1 or len(found) < least:
        raise InputError(f"{who} expects at least {least} numbers (N,), got shape {tuple(found.shape)}.")
    if not bool(found.isfinite().all()):
        raise InputError(f"{who} expects finite numbers, got NaN or infinity; leave those out.")
    return found
