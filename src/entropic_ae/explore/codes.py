"""Maths on codes: their principal axes, a walk along them, and how unusual a code is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.densities.density import check_codes
from entropic_ae.priors import Alphabet, as_prior

__all__ = ["PrincipalAxes", "norm_percentile", "principal_axes", "walk", "within"]


@dataclass(frozen=True)
class PrincipalAxes:
    """The directions in which codes vary most; see ``principal_axes``. All float64.

    Attributes:
        mean: of the codes, (D,).
        directions: orthonormal, in order of decreasing variance, (K, D).
        deviations: standard deviation of the codes along each, (K,).
        shares: of the total variance, (K,).

    >>> axes = principal_axes(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> axes.mean.tolist(), axes.shares.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor
    shares: Tensor


def principal_axes(codes: Tensor, n: int | None = None) -> PrincipalAxes:
    """Return the first n principal axes of codes.

    The sign of a direction makes its entry of the largest magnitude positive, as in scikit-learn.

    Arguments:
        codes: (N, D), finite, N of at least 2.
        n: number of axes; default: all D.

    Raises: InputError for fewer than 2 codes, or codes that are not finite.

    >>> axes = principal_axes(torch.tensor([[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]]), n=1)
    >>> [round(value, 6) for value in axes.directions[0].tolist()], round(axes.deviations.item(), 6)
    ([0.6, 0.8], 5.0)
    """
    codes = check_codes(codes, 2, "principal_axes")
    mean = codes.mean(0)
    centred = codes - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / (len(codes) - 1))
    variances, directions = variances.flip(0).clamp_min(0), vectors.T.flip(0)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    shares = variances / variances.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return PrincipalAxes(mean, (directions * largest.sign())[:n], variances[:n].sqrt(), shares[:n])


def walk(axes: PrincipalAxes, steps: Tensor, start: Tensor | None = None) -> Tensor:
    """Return codes, (N, D) float32, at given steps along the axes from a start.

    Arguments:
        axes: K principal axes.
        steps: in standard deviations along the first axes, (N, K) or fewer columns.
        start: a code, (D,); default: the mean.

    >>> axes = principal_axes(torch.tensor([[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]]), n=1)
    >>> walk(axes, torch.tensor([[2.0]]), start=torch.tensor([1.0, 0.0]))
    tensor([[7., 8.]])
    """
    start = (axes.mean if start is None else start).double()
    count = steps.shape[1]
    return (start + (steps.double() * axes.deviations[:count]) @ axes.directions[:count]).float()


def within(codes: Tensor, prior: Distribution) -> Tensor:
    """Project codes, (N, D), onto the support of the prior: a walk can leave a sphere or a cube.

    In a finite alphabet values change one after the other, see ``Alphabet.dithered``.

    >>> from entropic_ae.priors import UniformSphere
    >>> within(torch.tensor([[0.0, 2.0]]), UniformSphere(2))
    tensor([[0., 1.]])
    """
    prior = as_prior(prior)
    return prior.dithered(codes) if isinstance(prior, Alphabet) else prior.nearest(codes)


def norm_percentile(code: Tensor, codes: Tensor) -> float:
    """Return the percentage of codes, (N, D), whose norm is below that of a code, (D,); equal norms count half.

    50 is typical; near 0 or 100 the code is unusual. Norms that differ only by float32 rounding count as equal, so
    on a sphere every code is at 50.

    >>> norm_percentile(torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]]))
    37.5
    """
    norm, norms = code.double().norm(), codes.double().norm(dim=1)
    equal = torch.isclose(norms, norm, rtol=1e-5, atol=0)
    return 100 * ((norms < norm) & ~equal).double().add(equal.double() / 2).mean().item()
