"""Nearest-neighbour estimators of entropy: in space, on the sphere and in the cube."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError, warn
from entropic_ae.estimators.neighbours import kth_in_largest_norm, kth_neighbour
from entropic_ae.randomness import generator

__all__ = ["cube_entropy", "digamma", "distinct_codes", "knn_entropy", "log_ball", "sphere_entropy"]

_RESOLUTION = 2  # multiples of the machine epsilon below which two values coincide
_LEAST = torch.finfo(torch.float64).eps / 2  # the relative distance at which equal codes count
_TINY = math.sqrt(torch.finfo(torch.float64).tiny)  # its square is not 0
_EULER = 0.57721566490153286061
_REDUCTIONS = ("mean", "none")


def knn_entropy(
    z: ArrayLike,
    k: int = 1,
    *,
    others: ArrayLike | None = None,
    queries: int | None = None,
    seed: int = 0,
    reduction: str = "mean",
    check_finite: bool = True,
) -> Tensor:
    r"""Kozachenko-Leonenko estimate of the differential entropy of codes, in nats.

    Let $R_i$ be the Euclidean distance from code i to its k-th nearest other code, $V_D$ the volume of the unit
    ball and $\psi$ the digamma function. The estimate is

    $H = \frac{D}{N} \sum_i \log R_i + \log V_D + \log(N - 1) - \psi(k)$.

    For k = 1 this is the paper's estimator, whose N + 1 samples are the N codes here. Other authors use
    $\psi(N)$ instead of $\log(N - 1)$; the two differ by less than 1 / N.

    The estimate is differentiable in z: its gradient pushes each code away from its k-th neighbour. A pair of
    codes coincides if no coordinate differs by more than 2 epsilon of the larger of its two values; such a
    distance has no gradient. Equal codes count as half a float64 epsilon of their largest value apart, in every
    precision. So the estimate stays finite, though far too low: a distribution with equal codes has no
    differential entropy. Memory is linear in N, time quadratic.

    The bias grows with D and shrinks with N: for N(0, I) and N = 10,000 it is about 0.2 nats at D = 16, 7 at
    D = 64 and 22 at D = 128. To remove most of it, compare with the estimate for N samples of the reference
    distribution. A minibatch has a small N. ``others`` adds M codes of the same distribution to the candidate
    neighbours. Then $\log(N + M - 1)$ replaces $\log(N - 1)$, at the cost of N by N + M distances.

    Of many codes, a random part suffices: with ``queries`` = m, m codes drawn without replacement look for their
    neighbours among all. The expectation over draws is the estimate of all codes, at the cost of m by N distances.
    Its standard error follows from the terms of the m codes, see ``reduction``; it is about 3 / sqrt(m) nats for
    N(0, I) at D = 16.

    Arguments:
        z: codes, (N, D) floating point, a tensor or an array, N + M > k. Half precisions are computed in float32
            and neighbours are searched in float64, regardless of autocast.
        k: order of the neighbour, at least 1. A larger k lowers the variance and raises the bias.
        others: further codes, (M, D), on the same device; they get no gradient.
        queries: number m of codes whose neighbours are searched, from 1 to N; default: all. They and their
            neighbours among z get gradients.
        seed: of the draw of the queries.
        reduction: mean, or none for the terms of the mean, one per query, (m,). Their standard deviation over
            $\sqrt{m}$, times $\sqrt{1 - m / N}$, is the standard error as an estimate of that of all N codes.
        check_finite: reject codes that are not finite, and warn of codes that equal their k-th neighbour. The
            checks wait for the device, so training steps disable them; non-finite codes then give a non-finite
            estimate.

    Returns: a 0-dimensional tensor, (m,) without reduction; float64 for float64 codes and float32 otherwise.

    Raises: InputError (a ValueError) if z is not (N, D), ``others`` has a different width, there are no more than
        k codes, k < 1, ``queries`` are not from 1 to N, the reduction is unknown, or a code is not finite.

    References:
        Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector", Problems of Information
        Transmission 23, 1987.
        Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
        generative models", 2020, section 3.2, https://arxiv.org/abs/2002.10631.
        For k > 1: Singh et al., "Nearest neighbor estimates of entropy", 2003.

    >>> import math, torch
    >>> z = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    >>> abs(knn_entropy(z).item() - math.log(2 * math.pi * math.e)) < 0.1
    True
    >>> abs(knn_entropy(z[:50], others=z[50:]).item() - knn_entropy(z).item()) < 0.5
    True
    >>> terms = knn_entropy(z, queries=500, reduction="none")
    >>> error = terms.std() / math.sqrt(500) * math.sqrt(1 - 500 / 5000)
    >>> bool((terms.mean() - knn_entropy(z)).abs() < 3 * error)
    True
    """
    sample = _checked("knn_entropy", z, k, others, queries, seed, reduction, check_finite)
    dim = sample.z.shape[1]
    with torch.autocast(sample.z.device.type, enabled=False):
        return sample.estimate(_neighbour_square(sample).log(), 0.5 * dim, log_ball(dim))


def sphere_entropy(
    z: ArrayLike,
    k: int = 1,
    *,
    others: ArrayLike | None = None,
    queries: int | None = None,
    seed: int = 0,
    reduction: str = "mean",
    check_finite: bool = True,
) -> Tensor:
    r"""Nearest-neighbour estimate of the entropy of codes on the unit sphere in D dimensions, in nats.

    The entropy is relative to the surface measure of the sphere, of dimension D - 1. A spherical cap replaces the
    ball of ``knn_entropy``. With $A(t)$ the area of the cap of angle t and $t_i$ the angle from code i to its k-th
    nearest other code, the estimate is

    $H = \frac{1}{N} \sum_i \log A(t_i) + \log(N - 1) - \psi(k)$.

    The area is exact at any angle and the sphere has no boundary. So the estimate is unbiased for the uniform
    distribution in any dimension, up to $\log(N - 1) - \psi(N) < 1 / N$. The maximum entropy is the logarithm of
    the sphere's area; the estimate can exceed it for points spaced more evenly than random draws. Codes that
    coincide are treated as in ``knn_entropy``; antipodal codes have no gradient either.

    Arguments:
        z: codes of norm 1, (N, D) floating point, D >= 2, N + M > k.
        k: order of the neighbour, at least 1.
        others, queries, seed, reduction: see ``knn_entropy``.
        check_finite: reject codes that are not finite or not of norm 1. The check waits for the device.

    Returns: a 0-dimensional tensor, (m,) without reduction; float64 for float64 codes and float32 otherwise.

    Raises: InputError as ``knn_entropy``, and for D = 1 or codes whose norm is not 1.

    Reference: Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector", Problems of
    Information Transmission 23, 1987; the area of a cap replaces the volume of a ball.

    >>> import math, torch
    >>> z = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)).double()
    >>> area = 2 * math.pi**4 / math.gamma(4)
    >>> abs(sphere_entropy(z / z.norm(dim=1, keepdim=True)).item() - math.log(area)) < 0.1
    True
    """
    sample = _checked("sphere_entropy", z, k, others, queries, seed, reduction, check_finite)
    dim = sample.z.shape[1]
    if dim < 2:
        raise InputError("sphere_entropy expects codes of 2 dimensions at least, got 1; raise latent_dim.")
    if check_finite and not bool((sample.z.detach().double().norm(dim=1) - 1).abs().max() < 1e-2):
        raise InputError("sphere_entropy expects codes of norm 1; divide each by its norm.")
    with torch.autocast(sample.z.device.type, enabled=False):
        distance = _neighbour_square(sample).sqrt()
        return sample.estimate(_log_cap(2 * torch.asin((distance / 2).clamp_max(1 - 1e-12)), dim))


def cube_entropy(
    z: ArrayLike,
    k: int = 1,
    *,
    others: ArrayLike | None = None,
    queries: int | None = None,
    seed: int = 0,
    reduction: str = "mean",
    check_finite: bool = True,
) -> Tensor:
    r"""Nearest-neighbour estimate of the entropy of codes in the cube [-1, 1]^D, in nats.

    Near the faces of the cube the ball of ``knn_entropy`` reaches outside. This overestimates the entropy of codes
    there, so maximising the estimate pushes codes onto the faces. Here the neighbourhood of code i is the cube of
    half side $R_i$ around it, clipped to $[-1, 1]^D$. $R_i$ is the distance to the k-th nearest other code in the
    maximum norm. The estimate is

    $H = \frac{1}{N} \sum_i \sum_d \log(\min(z_{id} + R_i, 1) - \max(z_{id} - R_i, -1)) + \log(N - 1) - \psi(k)$.

    It is unbiased for the uniform distribution in any dimension, up to $\log(N - 1) - \psi(N) < 1 / N$. The
    maximum entropy is D log 2; the estimate can exceed it for points spaced more evenly than random draws. Codes
    that coincide are treated as in ``knn_entropy``.

    Arguments:
        z: codes from -1 to 1, (N, D) floating point, N + M > k.
        k: order of the neighbour, at least 1.
        others, queries, seed, reduction: see ``knn_entropy``.
        check_finite: reject codes that are not finite or outside the cube. The check waits for the device.

    Returns: a 0-dimensional tensor, (m,) without reduction; float64 for float64 codes and float32 otherwise.

    Raises: InputError as ``knn_entropy``, and for codes outside the cube.

    Reference: Kraskov, Stoegbauer and Grassberger, "Estimating mutual information", Physical Review E 69, 2004,
    https://doi.org/10.1103/PhysRevE.69.066138, for the maximum norm. The clipping at the faces is added here.

    >>> z = 2 * torch.rand(2000, 8, generator=torch.Generator().manual_seed(0)) - 1
    >>> abs(cube_entropy(z).item() - 8 * math.log(2)) < 0.1
    True
    """
    sample = _checked("cube_entropy", z, k, others, queries, seed, reduction, check_finite)
    if check_finite and not bool(sample.z.detach().abs().max() <= 1 + 1e-6):
        raise InputError("cube_entropy expects codes from -1 to 1, got some outside; use knn_entropy for these.")
    with torch.autocast(sample.z.device.type, enabled=False):
        z, points = sample.drawn(torch.float64)
        neighbour = points[kth_in_largest_norm(points.detach(), len(z), k)]
        difference = z - neighbour
        reach = difference.abs().amax(1)
        if check_finite:
            _warn_of_equal(sample, reach)
        # to look first is quicker where it waits for no device; no code of the cube is above 1
        if z.device.type != "cpu" or not reach.detach().min().item() > _RESOLUTION * sample.epsilon:
            reach = _separate(reach, z, neighbour, difference, sample.epsilon, power=1)
        reach = reach[:, None]
        sides = (z + reach).clamp_max(1) - (z - reach).clamp_min(-1)
        return sample.estimate(sides.log().sum(1))


def _log_cap(angle: Tensor, dim: int) -> Tensor:
    """Return the log area of caps of the unit sphere in R^dim, given their angles, (N,) in (0, pi).

    The area is that of the sphere in R^(dim - 1) times the integral of sin(t)^(dim - 2) from 0 to the angle.
    Gauss-Legendre quadrature with max(64, dim) nodes is exact up to rounding.
    """
    rule = _gauss_legendre(max(64, dim))
    nodes, weights = (torch.from_numpy(part).to(angle.device, non_blocking=True) for part in rule)
    terms = (dim - 2) * torch.sin(angle[:, None] * nodes).log() + weights.log()
    log_rim = math.log(2) + 0.5 * (dim - 1) * math.log(math.pi) - math.lgamma(0.5 * (dim - 1))
    return log_rim + angle.log() + terms.logsumexp(1)


@lru_cache
def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes and weights of Gauss-Legendre quadrature on the unit interval."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def distinct_codes(codes: Tensor, k: int = 1) -> Tensor:
    """Return each value of codes, (N, D), once, in their order; all codes if no more than k values differ.

    Reported entropies are of these: a distribution with equal codes has no differential entropy. Waits for the
    device.

    >>> distinct_codes(torch.tensor([[2.0], [1.0], [2.0]])).tolist()
    [[2.0], [1.0]]
    """
    _, inverse = codes.unique(dim=0, return_inverse=True)
    count = int(inverse.max()) + 1
    if count == len(codes) or count <= k:
        return codes
    order = torch.arange(len(codes), device=codes.device)
    first = order.new_full((count,), len(codes)).scatter_reduce(0, inverse, order, "amin")
    return codes[first.sort().values]


@dataclass(frozen=True)
class _Sample:
    """The checked arguments of an estimator, by their names there."""

    who: str
    z: Tensor
    k: int
    others: Tensor | None
    queries: int | None
    seed: int
    reduction: str
    check: bool

    @property
    def kind(self) -> torch.dtype:
        return torch.float64 if self.z.dtype == torch.float64 else torch.float32

    @property
    def epsilon(self) -> float:
        """Of the codes' own precision."""
        return torch.finfo(self.z.dtype).eps

    def drawn(self, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the m queries, (m, D), and all candidates, (N + M, D), which start with them."""
        z = self.z.to(kind)
        if self.queries is not None:
            z = z[torch.randperm(len(z), generator=generator(self.seed)).to(z.device)]
        points = z if self.others is None else torch.cat([z, self.others.detach().to(z)])
        return z if self.queries is None else z[: self.queries], points

    def estimate(self, log_volume: Tensor, scale: float = 1, constant: float = 0) -> Tensor:
        """Return the estimate from (m,) log volumes up to the k-th neighbours, scaled and shifted first."""
        constant += math.log(len(self.z) + _length(self.others) - 1) - digamma(self.k)
        log_volume = log_volume.mean() if self.reduction == "mean" else log_volume
        return (scale * log_volume + constant).to(self.kind)


def _checked(
    who: str,
    z: ArrayLike,
    k: int,
    others: ArrayLike | None,
    queries: int | None,
    seed: int,
    reduction: str,
    check_finite: bool,
) -> _Sample:
    """Return the arguments, with tensors; InputError if the estimate is not defined for them."""
    z, others = as_tensor(z, who), None if others is None else as_tensor(others, who)
    if z.dim() != 2 or z.shape[1] == 0 or not z.is_floating_point():
        raise InputError(
            f"{who} expects floating-point codes shaped (N, D), got {z.dtype} of shape {tuple(z.shape)}; "
            "flatten each code to one row."
        )
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"{who} expects a whole number of neighbours k >= 1, got {k!r}.")
    if others is not None and (others.dim() != 2 or others.shape[1] != z.shape[1]):
        raise InputError(
            f"{who} expects others of the codes' width {z.shape[1]}, got shape {tuple(others.shape)}."
        )
    if len(z) == 0 or len(z) + _length(others) <= k:
        got = len(z) if others is None else f"{len(z)} and {len(others)} others"
        raise InputError(f"{who} needs more than k={k} codes, got {got}; raise the batch size.")
    if queries is not None and (
        isinstance(queries, bool) or not isinstance(queries, int) or not 1 <= queries <= len(z)
    ):
        raise InputError(
            f"{who} expects a whole number of queries from 1 to {len(z)}, the number of codes, got {queries!r}; "
            "leave it out to search the neighbours of all."
        )
    if reduction not in _REDUCTIONS:
        raise InputError(f"{who} expects the reduction {' or '.join(_REDUCTIONS)}, got {reduction!r}.")
    if check_finite and not all(bool(torch.isfinite(codes).all()) for codes in (z, others) if codes is not None):
        raise InputError(f"{who} expects finite codes, got NaN or infinity; look at what produced them.")
    return _Sample(who, z, k, others, queries, seed, reduction, check_finite)


def _length(others: Tensor | None) -> int:
    return 0 if others is None else len(others)


def digamma(k: int) -> float:
    """Return the digamma function of a whole number."""
    return sum(1 / i for i in range(1, k)) - _EULER


def log_ball(dim: int) -> float:
    """Return the logarithm of the volume of the unit ball."""
    return 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim + 1)


def _neighbour_square(sample: _Sample) -> Tensor:
    """Return the squared distance of each query to its k-th neighbour, (m,) float64, above 0.

    Differentiable in z, except for codes that coincide with their neighbour.
    """
    certain = sample.check or sample.z.dtype == torch.float64
    z, points = sample.drawn(sample.kind)
    neighbour = points[kth_neighbour(points.detach().double(), len(z), sample.k, certain=certain)]
    difference = z - neighbour
    square = difference.double().square().sum(1)  # a float32 square could over- or underflow
    if sample.check:
        _warn_of_equal(sample, square)
    return _separate(square, z, neighbour, difference, sample.epsilon, power=2)


def _warn_of_equal(sample: _Sample, distance: Tensor) -> None:
    """Warn if codes equal their k-th neighbour, with their share and the remedy."""
    if equal := int((distance == 0).sum()):
        warn(
            f"{equal:,} of {len(distance):,} codes ({equal / len(distance):.2%}) equal their neighbour of order "
            f"k={sample.k}, which makes the estimate of {sample.who} far too low; raise k above the number of "
            "equal codes, add uniform noise of the step to which values were rounded, or leave copies out."
        )


def _separate(
    distance: Tensor, z: Tensor, neighbour: Tensor, difference: Tensor, epsilon: float, *, power: int
) -> Tensor:
    """Return powers of distances, (N,) float64, without gradient for pairs that coincide, and above 0.

    Arguments:
        distance: of each code from its neighbour, to the power.
        z, neighbour, difference: the codes, one neighbour of each, and their difference, all (N, D).
        epsilon: of the codes' own precision.
        power: 1 or 2.
    """
    with torch.no_grad():
        size = torch.maximum(z.abs(), neighbour.abs())
        # to look first is quicker where it waits for no device
        if z.device.type == "cpu" and distance.min().item() > (
            z.shape[1] * (_RESOLUTION * epsilon * size.max().item()) ** power
        ):
            return distance
        coincide = (difference.abs() <= _RESOLUTION * epsilon * size).all(1)
        # less than any distance between different codes of this size
        least = (size.amax(1).double() * _LEAST).clamp_min_(_TINY) ** power
        equal = distance == 0  # NaN stays NaN
        fixed = torch.where(equal, least, distance)
        coincide |= equal
    return torch.where(coincide, fixed, distance)
