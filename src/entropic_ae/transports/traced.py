"""Maps of normal scores as graphs of fixed size, by operations that ONNX has, in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from entropic_ae.priors import rational

__all__ = ["TracedCopula", "TracedMixture"]

_STEPS = 50  # of the bracketed search; the first ones are Newton's, of the others every second one
_NEWTON = 8
_LEAST, _LARGEST = -700.0, 1e30  # logarithm of a weight that counts, and a bound of every quantile


class TracedCopula(nn.Module):
    """``CopulaTransport`` on normal scores, in both directions, for the export.

    Arguments:
        root: (S, S), lower triangular.
        knots, images: (Q, S), of each dimension's piecewise linear map; None for the identity.

    >>> map = TracedCopula(torch.eye(1).double(), torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0]]))
    >>> map.transform(torch.tensor([[3.0]])), map.restore(torch.tensor([[1.5]]))
    (tensor([[1.5000]], dtype=torch.float64), tensor([[3.]], dtype=torch.float64))
    """

    root: Tensor
    inverse: Tensor
    knots: Tensor | None
    images: Tensor | None

    def __init__(self, root: Tensor, knots: Tensor | None = None, images: Tensor | None = None) -> None:
        super().__init__()
        eye = torch.eye(len(root)).to(root)
        self.register_buffer("root", root.clone())
        self.register_buffer("inverse", torch.linalg.solve_triangular(root, eye, upper=False))
        self.register_buffer("knots", None if knots is None else knots.double())
        self.register_buffer("images", None if images is None else images.double())

    def transform(self, scores: Tensor) -> Tensor:
        """Map normal scores, (N, S), to standard normal ones, (N, S) float64."""
        return _interpolated(scores.double(), self.knots, self.images) @ self.inverse.T

    def restore(self, u: Tensor) -> Tensor:
        """Invert ``transform``: (N, S) float64."""
        return _interpolated(u.double() @ self.root.T, self.images, self.knots)


def _interpolated(x: Tensor, knots: Tensor | None, images: Tensor | None) -> Tensor:
    """Return the piecewise linear map of x, (N, S), which goes on with its last slopes at the ends."""
    if knots is None or images is None:
        return x
    number, dim = knots.shape
    place = (x[:, :, None] > knots.T).long().sum(2).clamp(1, number - 1)  # of the knot after
    place = place + torch.arange(dim, device=x.device) * number
    knots, images = knots.T.flatten(), images.T.flatten()
    low, start = knots[place - 1], images[place - 1]
    return start + (x - low) * ((images[place] - start) / (knots[place] - low))


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
        below = (weights + rational.log_erfc(values * -math.sqrt(0.5))).logsumexp(2)
        above = (weights + rational.log_erfc(values * math.sqrt(0.5))).logsumexp(2)
        u = rational.normal_quantile(torch.minimum(below, above) - math.log(2))
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
        target = rational.log_erfc(u.abs() * math.sqrt(0.5))
        quantiles = (u[:, None] - shifts) / slopes
        counted = log_weights > _LEAST
        low = torch.where(counted, quantiles, _LARGEST).amin(1)
        high = torch.where(counted, quantiles, -_LARGEST).amax(1)
        first = (log_weights.exp() * quantiles).sum(1)
        first = torch.minimum(torch.maximum(first, low), high)
        flip = torch.where(left, -1.0, 1.0).to(u)[:, None] * math.sqrt(0.5)  # 1 is exact in float32

        def step(
            bracket: tuple[Tensor, Tensor, Tensor], newton: Tensor
        ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
            z, low, high = bracket
            values = z[:, None] * slopes + shifts
            log_tail = (log_weights + rational.log_erfc(values * flip)).logsumexp(1)
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
