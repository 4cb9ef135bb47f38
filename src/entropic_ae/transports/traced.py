"""The mixture's Knothe-Rosenblatt map as a graph of fixed size, by operations that ONNX has, in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

__all__ = ["TracedMixture"]

_STEPS = 50  # of the bracketed search; the first ones are Newton's, of the others every second one
_NEWTON = 8
_LEAST, _LARGEST = -700.0, 1e30  # logarithm of a weight that counts, and a bound of every quantile

# Coefficients of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
# Computation 23, 1969: for arguments up to 0.46875, up to 4, and beyond.
_SMALL = (
    (
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
        1.85777706184603153e-1,
    ),
    (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (
    (
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
        2.15311535474403846e-8,
    ),
    (
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
_LARGE = (
    (
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
        1.63153871373020978e-2,
    ),
    (
        2.56852019228982242e0,
        1.87295284992346725e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


class TracedMixture(nn.Module):
    """``MixtureTransport`` on normal scores, in both directions, for the export.

    Arguments:
        factors: (S, K, S), inverse Cholesky factors of the covariances, the dimension first.
        offsets: (S, K), the factors times the means.
        weights: (K,).

    >>> map = TracedMixture(torch.ones(1, 1, 1).double(), torch.zeros(1, 1).double(), torch.ones(1).double())
    >>> torch.allclose(map.restore(torch.tensor([[0.5]])), torch.tensor([[0.5]]).double())
    True
    """

    factors: Tensor
    earlier: Tensor
    lower: Tensor
    slopes: Tensor
    offsets: Tensor
    log_weights: Tensor
    units: Tensor
    newton: Tensor

    def __init__(self, factors: Tensor, offsets: Tensor, weights: Tensor) -> None:
        super().__init__()
        dim = len(factors)
        before = torch.arange(dim)[:, None] > torch.arange(dim)
        self.register_buffer("factors", factors.clone())
        self.register_buffer("earlier", before.to(factors))
        self.register_buffer("lower", factors * before[:, None].to(factors))
        self.register_buffer("slopes", factors.diagonal(dim1=0, dim2=2).T.contiguous())
        self.register_buffer("offsets", offsets.clone())
        self.register_buffer("log_weights", weights.log())
        self.register_buffer("units", torch.eye(dim).to(factors))
        steps = torch.arange(_STEPS)
        self.register_buffer("newton", (steps < _NEWTON) | (steps % 2 == 0))

    def transform(self, scores: Tensor) -> Tensor:
        """Map normal scores, (N, S), to standard normal ones, (N, S) float64."""
        scores = scores.double()[:, None, None]
        values = (scores * self.factors).sum(3) - self.offsets  # (N, S, K)
        log_density = self.slopes.log() - values * values / 2
        before = self.log_weights + self.earlier @ log_density
        weights = before.log_softmax(2)
        below = (weights + _log_erfc(values * -math.sqrt(0.5))).logsumexp(2)
        above = (weights + _log_erfc(values * math.sqrt(0.5))).logsumexp(2)
        u = _normal_quantile(torch.minimum(below, above) - math.log(2))
        return torch.where(below < above, u, -u)

    def restore(self, u: Tensor) -> Tensor:
        """Invert ``transform``: (N, S) float64."""
        u = u.double()
        start = torch.zeros_like(u), self.log_weights + torch.zeros_like(u[:, :1])

        def one(known: tuple[Tensor, Tensor], part: tuple[Tensor, ...]) -> tuple[tuple[Tensor, Tensor], Tensor]:
            scores, log_weights = known
            lower, slopes, offsets, unit, aim = part
            shifts = scores @ lower.mT - offsets
            z = self._solve(aim, log_weights.log_softmax(1), shifts, slopes)
            values = z[:, None] * slopes + shifts
            return (scores + z[:, None] * unit, log_weights + slopes.log() - values * values / 2), z.clone()

        (scores, _), _ = scan(one, start, (self.lower, self.slopes, self.offsets, self.units, u.mT.contiguous()))
        return scores

    def _solve(self, u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
        """Solve for one dimension, (N,), by Newton's steps on the logarithm of the tail, within a bracket."""
        left = u < 0
        target = _log_erfc(u.abs() * math.sqrt(0.5))
        quantiles = (u[:, None] - shifts) / slopes
        counted = log_weights > _LEAST
        low = torch.where(counted, quantiles, _LARGEST).amin(1)
        high = torch.where(counted, quantiles, -_LARGEST).amax(1)
        first = (log_weights.exp() * quantiles).sum(1)
        first = torch.minimum(torch.maximum(first, low), high)
        flip = torch.where(left, -math.sqrt(0.5), math.sqrt(0.5)).to(u)[:, None]

        def step(
            bracket: tuple[Tensor, Tensor, Tensor], newton: Tensor
        ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
            z, low, high = bracket
            values = z[:, None] * slopes + shifts
            log_tail = (log_weights + _log_erfc(values * flip)).logsumexp(1)
            log_density = (log_weights + slopes.log() - values * values / 2).logsumexp(1)
            error = log_tail - target
            below = (error < 0) == left
            low, high = torch.where(below, z, low), torch.where(below, high, z)
            length = (log_tail - log_density - 0.5 * math.log(2 / math.pi)).exp()
            following = z - torch.where(left, error, -error) * length
            inside = newton & (following >= low) & (following <= high)
            z = torch.where(inside, following, (low + high) / 2)
            return (z, low, high), z.clone()

        (z, _, _), _ = scan(step, (first, low, high), self.newton)
        return z


def _log_erfc(x: Tensor) -> Tensor:
    """Return log(erfc(x)), to 1e-15 of erfc."""
    size = x.abs()
    few = size.clamp_max(0.46875)
    error = few * _quotient(few * few, *_SMALL)
    far = size.clamp_min(4.0)
    inverse = 1 / (far * far)
    large = (1 / math.sqrt(math.pi) - inverse * _quotient(inverse, *_LARGE)) / far
    scaled = torch.where(size <= 4, _quotient(size.clamp(0.46875, 4.0), *_MIDDLE), large)
    log_tail = scaled.log() - size * size
    upper = torch.where(size <= 0.46875, (1 - error).log(), log_tail)
    lower = torch.where(size <= 0.46875, 1 + error, 2 - log_tail.exp()).log()
    return torch.where(x >= 0, upper, lower)


def _quotient(x: Tensor, above: tuple[float, ...], below: tuple[float, ...]) -> Tensor:
    numerator, denominator = above[-1] * x, x
    for a, b in zip(above[:-2], below[:-1], strict=True):
        numerator, denominator = (numerator + a) * x, (denominator + b) * x
    return (numerator + above[-2]) / (denominator + below[-1])


def _normal_quantile(log_tail: Tensor) -> Tensor:
    """Return x at most 0 with log P(Z < x) = ``log_tail``: a start for the tail, and Newton's steps."""
    y = log_tail.clamp_max(-math.log(2))
    x = -(-2 * y - (1 - 2 * y).log() - math.log(2)).clamp_min(0.0).sqrt()
    for _ in range(6):
        log_cdf = _log_erfc(-x * math.sqrt(0.5)) - math.log(2)
        x = x - (log_cdf - y) * (log_cdf + x * x / 2 + math.log(2 * math.pi) / 2).exp()
    return x
