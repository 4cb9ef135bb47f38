"""Measures of how far codes are from N(0, I), in closed form or on random directions."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor, exact
from entropic_ae.errors import InputError
from entropic_ae.estimators.discrepancy import pair_sum

__all__ = ["cramer_wold", "epps_pulley", "matricial_free_energy", "norm_transport", "sliced_transport"]

_PLANE = 2
_ORDER, _NODES = 12, 2000  # of the correction, and of the integral that it is fitted to
_CLOSEST = 1e-12  # relative distance at which two eigenvalues count as equal


@exact
def cramer_wold(z: ArrayLike) -> Tensor:
    r"""Squared Cramer-Wold distance of codes from N(0, I), in closed form.

    Codes and normal distribution are projected on a direction, smoothed by a Gaussian of variance $\gamma$ and
    compared in $L_2$; the distance is the mean over all directions. With $\gamma = (4 / 3N)^{2/5}$,

    $d^2 = \frac{1}{2 \sqrt{\pi}} \Big( \frac{1}{N^2} \sum_{ij} \varphi_D \Big( \frac{\|z_i - z_j\|^2}{4 \gamma}
    \Big) \gamma^{-1/2} + (1 + \gamma)^{-1/2} - \frac{2}{N} \sum_i \varphi_D \Big( \frac{\|z_i\|^2}{2 + 4 \gamma}
    \Big) \big( \gamma + \tfrac{1}{2} \big)^{-1/2} \Big)$,

    where $\varphi_D(s)$ is the mean of $e^{-s w^2}$ over the first coordinate w of unit vectors. The published
    $\varphi_D(s) \approx (1 + 4 s / (2 D - 3))^{-1/2}$ is too coarse in few dimensions: at D = 16 it gives draws
    from N(0, I) five times their value. Here a polynomial corrects it, to a relative error of 1e-5. Draws from
    N(0, I) have a small value above 0, as each code is compared with itself too.

    Arguments:
        z: codes, (N, D) floating point, N at least 2.

    Returns: a 0-dimensional tensor, float64 for float64 codes and float32 otherwise; computed in float64.

    Raises: InputError if z is not a floating-point matrix of at least 2 rows.

    Reference: Knop, Spurek, Tabor, Podolak, Mazur and Jastrzebski, "Cramer-Wold auto-encoder", Journal of Machine
    Learning Research 21, 2020, https://jmlr.org/papers/v21/19-560.html.

    >>> z = torch.randn(500, 32, generator=torch.Generator().manual_seed(0))
    >>> (cramer_wold(z) < 0.005).item(), (cramer_wold(z + 1) > 0.05).item()
    (True, True)
    """
    z, kind = _checked("cramer_wold", z)
    z = z.double()
    n, dim = z.shape
    gamma = (4 / (3 * n)) ** 0.4

    def smoothed(square: Tensor, width: float) -> Tensor:
        return _mean_over_directions(square / (4 * width), dim) * width**-0.5

    with torch.autocast(z.device.type, enabled=False):
        centred = z - z.detach().mean(0)
        within = pair_sum(centred, centred, lambda square: smoothed(square, gamma)) / n**2
        across = smoothed(z.square().sum(1), gamma + 0.5).mean()
        return ((within + (1 + gamma) ** -0.5 - 2 * across) / (2 * math.sqrt(math.pi))).to(kind)


def _mean_over_directions(square: Tensor, dim: int) -> Tensor:
    """Return the mean of exp(-square * w^2) over the first coordinate w of unit vectors."""
    if dim == 1:
        return (-square).exp()
    if dim == _PLANE:
        return torch.special.i0e(square / 2)
    x = (square - dim) / (square + dim)
    correction = torch.zeros_like(x)
    for coefficient in _corrections(dim):
        correction = correction * x + coefficient
    return correction * (1 + square * (4 / (2 * dim - 3))).rsqrt()


@lru_cache(maxsize=8)
def _corrections(dim: int) -> tuple[float, ...]:
    """Return the coefficients, highest power first, of a polynomial in (s - D) / (s + D) that makes it exact."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    angle, x = (nodes + 1) * math.pi / 4, np.cos(math.pi * (np.arange(_ORDER) + 0.5) / _ORDER)
    s = dim * (1 + x) / (1 - x)
    density = np.sin(angle) ** (dim - 2) * weights
    exact = (np.exp(-s[:, None] * np.cos(angle) ** 2) * density).sum(1) / density.sum()
    fitted = np.polynomial.chebyshev.chebfit(x, exact * np.sqrt(1 + s * (4 / (2 * dim - 3))), _ORDER - 1)
    return tuple(np.polynomial.chebyshev.cheb2poly(fitted)[::-1].tolist())


@exact
def epps_pulley(
    z: ArrayLike,
    *,
    slices: int = 256,
    nodes: int = 17,
    reach: float = 3.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Epps-Pulley statistic of codes against N(0, 1), averaged over random directions: SIGReg.

    For the projections $x$ of the codes on a direction it is
    $\int |\frac{1}{N} \sum_i e^{i t x_i} - e^{-t^2/2}|^2 e^{-t^2/2} dt$ from -``reach`` to ``reach``, by the
    trapezoidal rule. The statistic of the test, and the loss of LeJEPA, is N times this: here the value does not
    grow with the batch. Draws from N(0, I) have about 1.05 / N.

    Arguments:
        z: codes, (N, D) floating point.
        slices: number of directions.
        nodes: of the rule, from 0 to ``reach``; the integrand is even.
        reach: end of the integral.
        generator: of the directions; default: that of the device.

    Returns: a 0-dimensional tensor, float64 for float64 codes and float32 otherwise.

    Raises: InputError if z is not a floating-point matrix of at least 2 rows, or there are no slices or fewer than
        2 nodes.

    References: Epps and Pulley, "A test for normality based on the empirical characteristic function", Biometrika
    70, 1983, https://doi.org/10.1093/biomet/70.3.723; Balestriero and LeCun, "LeJEPA: provable and scalable
    self-supervised learning without the heuristics", 2025, https://arxiv.org/abs/2511.08544.

    >>> z = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> (epps_pulley(z) < 0.005).item(), (epps_pulley(2 * z) > 0.1).item()
    (True, True)
    """
    if nodes < 2 or not reach > 0:
        raise InputError(f"epps_pulley expects at least 2 nodes and a reach above 0, got {nodes} and {reach}.")
    z, kind = _checked("epps_pulley", z)
    with torch.autocast(z.device.type, enabled=False):
        x = z @ _directions("epps_pulley", z, slices, generator)  # (N, S)
        t = torch.linspace(0, reach, nodes, device=z.device, dtype=z.dtype)
        normal = (t.square() / -2).exp()
        weights = normal * (reach / (nodes - 1))
        weights[[0, -1]] /= 2
        error = z.new_zeros(x.shape[1])
        for node, value, weight in zip(t, normal, weights, strict=True):  # without a tensor (N, S, nodes)
            angle = node * x
            error = error + weight * ((angle.cos().mean(0) - value).square() + angle.sin().mean(0).square())
        return (2 * error).mean().to(kind)


@exact
def sliced_transport(z: ArrayLike, *, slices: int = 256, generator: torch.Generator | None = None) -> Tensor:
    r"""Squared sliced 2-Wasserstein distance of codes from N(0, I).

    On each random direction the sorted projections are compared with the normal quantiles at $(i - 1/2) / N$; the
    squared differences are averaged over codes and directions. ``sliced_wasserstein`` compares two samples.

    Arguments:
        z: codes, (N, D) floating point.
        slices: number of directions.
        generator: of the directions; default: that of the device.

    Returns: a 0-dimensional tensor, float64 for float64 codes and float32 otherwise.

    Raises: InputError if z is not a floating-point matrix of at least 2 rows, or there are no slices.

    Reference: Bonneel, Rabin, Peyre and Pfister, "Sliced and Radon Wasserstein barycenters of measures", Journal
    of Mathematical Imaging and Vision 51, 2015, https://doi.org/10.1007/s10851-014-0506-3.

    >>> z = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> (sliced_transport(z) < 0.02).item(), abs(sliced_transport(z + 1).item() - 1) < 0.2
    (True, True)
    """
    z, kind = _checked("sliced_transport", z)
    with torch.autocast(z.device.type, enabled=False):
        ordered = (z @ _directions("sliced_transport", z, slices, generator)).sort(0).values
        return (ordered - _normal_quantiles(len(z)).to(z)[:, None]).square().mean().to(kind)


@exact
def norm_transport(z: ArrayLike) -> Tensor:
    r"""Squared 2-Wasserstein distance of the norms of codes from those of N(0, I).

    The sorted norms are compared with the quantiles of the chi distribution with D degrees of freedom, at
    $(i - 1/2) / N$. An estimate of the entropy from few codes prefers equal norms; this distance holds them to
    their law.

    Arguments:
        z: codes, (N, D) floating point, N at least 2.

    Returns: a 0-dimensional tensor, float64 for float64 codes and float32 otherwise.

    Raises: InputError if z is not a floating-point matrix of at least 2 rows.

    >>> z = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> shell = z / z.norm(dim=1, keepdim=True) * 8**0.5
    >>> (norm_transport(z) < 0.02).item(), (norm_transport(shell) > 0.4).item()
    (True, True)
    """
    z, kind = _checked("norm_transport", z)
    n, dim = z.shape
    with torch.autocast(z.device.type, enabled=False):
        square = z.square().sum(1)
        norms = torch.where(square > 0, square, 1).sqrt() * (square > 0)  # the norm has no gradient at 0
        return (norms.sort().values - _chi_quantiles(n, dim).to(z)).square().mean().to(kind)


@exact
def matricial_free_energy(z: ArrayLike) -> Tensor:
    r"""Free energy of the squared singular values of the matrix of codes, which is low for normal codes.

    With $\lambda$ the D eigenvalues of $Z^T Z$ and c = D / N it is

    $F = \frac{1}{D} \sum_d \Big( \frac{\lambda_d}{D} - (1/c - 1) \log \lambda_d \Big) - \frac{1}{D (D - 1)}
    \sum_{d \neq e} \log |\lambda_d - \lambda_e|$,

    the sign turned from the paper, so that it is minimised. It sees the covariance of the codes of a batch and
    nothing else: codes of +1 and -1, or uniform ones, score as normal ones do. Of one dimension the last sum is
    empty. Equal eigenvalues count as 1e-12 of the largest apart, without a gradient, so that the value is finite.

    Arguments:
        z: codes, (N, D) floating point, N above D.

    Returns: a 0-dimensional tensor, float64 for float64 codes and float32 otherwise; computed in float64.

    Raises: InputError if z is not a floating-point matrix with more rows than columns.

    Reference: Sonthalia and Nadakuditi, "Matricial free energy as a Gaussianizing regularizer: enhancing
    autoencoders for Gaussian code generation", 2025, https://arxiv.org/abs/2510.17120.

    >>> z = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> (matricial_free_energy(z) < matricial_free_energy(0.9 * z)).item()
    True
    """
    z, kind = _checked("matricial_free_energy", z)
    n, dim = z.shape
    if n <= dim:
        raise InputError(
            f"matricial_free_energy expects more codes than dimensions, got {n} of {dim}; raise the batch size or "
            "lower latent_dim."
        )
    with torch.autocast(z.device.type, enabled=False):
        z = z.double()
        values = torch.linalg.eigvalsh(z.T @ z)  # values alone: their gradient holds where they are equal, too
        least = values.detach().amax() * _CLOSEST + torch.finfo(torch.float64).tiny
        values = values.clamp_min(least)
        potential = (values / dim - (n / dim - 1) * values.log()).mean()
        gaps = (values[:, None] - values)[torch.triu_indices(dim, dim, 1).unbind()].abs()
        pairs = gaps.clamp_min(least).log().sum() * 2 / max(1, dim * (dim - 1))
        return (potential - pairs).to(kind)


def _checked(who: str, z: ArrayLike) -> tuple[Tensor, torch.dtype]:
    """Return codes in float64 if they are, in float32 otherwise, with the type of the result."""
    z = as_tensor(z, who)
    if z.dim() != 2 or min(len(z) - 1, z.shape[1]) < 1 or not z.is_floating_point():
        raise InputError(
            f"{who} expects floating-point codes (N, D), N at least 2, got {z.dtype} of shape {tuple(z.shape)}."
        )
    kind = torch.float64 if z.dtype == torch.float64 else torch.float32
    return z.to(kind), kind


def _directions(who: str, z: Tensor, slices: int, generator: torch.Generator | None) -> Tensor:
    """Draw unit vectors, (D, S)."""
    if slices < 1:
        raise InputError(f"{who} expects at least 1 slice, got {slices}.")
    drawn = torch.randn(z.shape[1], slices, generator=generator, device=z.device, dtype=z.dtype)
    return drawn / drawn.norm(dim=0)


@lru_cache(maxsize=8)
def _normal_quantiles(n: int) -> Tensor:
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)


@lru_cache(maxsize=8)
def _chi_quantiles(n: int, dim: int) -> Tensor:
    from scipy.special import gammaincinv

    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return torch.from_numpy(gammaincinv(dim / 2, levels.numpy())).mul(2).sqrt()
