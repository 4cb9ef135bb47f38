"""Discrepancies between two samples: of kernels, of distances, of nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from entropic_ae.arrays import ArrayLike, as_tensor, exact
from entropic_ae.errors import InputError
from entropic_ae.estimators.entropy import digamma, knn_entropy, log_ball

__all__ = ["energy_distance", "knn_divergence", "mmd2", "pair_sum"]

_CHUNK = 2**23  # distances held at once: 64 MiB in float64


@exact
def mmd2(
    x: ArrayLike,
    y: ArrayLike,
    *,
    scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    check_finite: bool = True,
) -> Tensor:
    r"""Unbiased estimate of the squared maximum mean discrepancy between two samples.

    The kernel is a sum of inverse multiquadratics,

    $k(x, y) = \sum_s \frac{C_s}{C_s + \|x - y\|^2}$ with $C_s = 2 D s$,

    where 2 D is the mean squared distance between two draws from N(0, I). Pairs of a point with itself are left
    out, so the estimate may be slightly negative. It is differentiable in both samples. All kernels share one
    matrix of distances. Memory is linear in N + M: blocks are recomputed for the gradient.

    Arguments:
        x: (N, D) floating point, N at least 2.
        y: (M, D), M at least 2.
        scales: the values s.
        check_finite: reject samples that are not finite. The check waits for the device, so training steps disable
            it; such samples then give a value that is not finite.

    Returns: a 0-dimensional tensor, float64 for float64 samples and float32 otherwise; computed in float64.

    Raises: InputError if a sample is not a floating-point matrix of at least 2 rows, the widths differ, a scale
        is not above 0, or a value is not finite.

    References:
        Gretton et al., "A kernel two-sample test", Journal of Machine Learning Research 13, 2012, lemma 6,
        https://jmlr.org/papers/v13/gretton12a.html.
        Tolstikhin et al., "Wasserstein auto-encoders", 2017, https://arxiv.org/abs/1711.01558; the scales are
        those of their code.

    >>> x, y = torch.randn(2, 1000, 4, generator=torch.Generator().manual_seed(0))
    >>> abs(mmd2(x, y).item()) < 0.02, mmd2(x, y + 1).item() > 0.1
    (True, True)
    """
    if not scales or min(scales) <= 0:
        raise InputError(f"mmd2 expects scales above 0, got {tuple(scales)}.")
    x, y, kind = _checked("mmd2", x, y, check_finite)
    constants = [2 * x.shape[1] * scale for scale in scales]

    def kernel(square: Tensor) -> Tensor:
        return torch.stack([c / (c + square) for c in constants]).sum(0)

    with torch.autocast(x.device.type, enabled=False):
        n, m = len(x), len(y)
        within_x = pair_sum(x, x, kernel, within=True) / (n * (n - 1))
        within_y = pair_sum(y, y, kernel, within=True) / (m * (m - 1))
        return (within_x + within_y - 2 * pair_sum(x, y, kernel) / (n * m)).to(kind)


@exact
def energy_distance(x: ArrayLike, y: ArrayLike, *, check_finite: bool = True) -> Tensor:
    r"""Unbiased estimate of the energy distance $2 E\|x - y\| - E\|x - x'\| - E\|y - y'\|$ of two samples.

    It is 0 for equal distributions and positive otherwise. Pairs of a point with itself are left out, so the
    estimate may be slightly negative. Points that coincide have no gradient for their distance.

    Arguments:
        x: (N, D) floating point, N at least 2.
        y: (M, D), M at least 2.
        check_finite: as for ``mmd2``.

    Returns: a 0-dimensional tensor, float64 for float64 samples and float32 otherwise; computed in float64.

    Raises: InputError as ``mmd2``.

    Reference: Szekely and Rizzo, "Energy statistics: a class of statistics based on distances", Journal of
    Statistical Planning and Inference 143, 2013, https://doi.org/10.1016/j.jspi.2013.03.018.

    >>> x, y = torch.randn(2, 1000, 4, generator=torch.Generator().manual_seed(0))
    >>> abs(energy_distance(x, y).item()) < 0.02, energy_distance(x, y + 1).item() > 0.5
    (True, True)
    """
    x, y, kind = _checked("energy_distance", x, y, check_finite)
    with torch.autocast(x.device.type, enabled=False):
        centre = y.detach().mean(0)
        x, y = x - centre, y - centre
        n, m = len(x), len(y)
        within = pair_sum(x, x, _distance, within=True) / (n * (n - 1))
        within = within + pair_sum(y, y, _distance, within=True) / (m * (m - 1))
        return (2 * pair_sum(x, y, _distance) / (n * m) - within).to(kind)


@exact
def knn_divergence(x: ArrayLike, y: ArrayLike, k: int = 1, *, check_finite: bool = True) -> Tensor:
    r"""Nearest-neighbour estimate of the Kullback-Leibler divergence $KL(p \,\|\, q)$ from samples, in nats.

    Let x be N draws from p, y be M draws from q, $\rho_i$ the distance of $x_i$ to its k-th nearest other x, and
    $\nu_i$ that to its k-th nearest y. The estimate is

    $KL = \frac{D}{N} \sum_i \log \frac{\nu_i}{\rho_i} + \log \frac{M}{N - 1}$.

    It is minus the estimate of ``knn_entropy`` and an estimate of the cross entropy of the same kind, whose biases
    cancel where p = q and N = M. It may be negative. It is differentiable in both
    samples. Equal points count as half a float64 epsilon of their largest value apart, without a gradient.

    Arguments:
        x: (N, D) floating point, N above k.
        y: (M, D), M at least k.
        k: order of the neighbours, at least 1.
        check_finite: as for ``mmd2``.

    Returns: a 0-dimensional tensor, float64 for float64 samples and float32 otherwise; computed in float64.

    Raises: InputError as ``mmd2``, and for too few samples.

    Reference: Wang, Kulkarni and Verdu, "Divergence estimation for multidimensional densities via
    k-nearest-neighbor distances", IEEE Transactions on Information Theory 55, 2009, https://doi.org/10.1109/TIT.2009.2016060.

    >>> x, y = torch.randn(2, 5000, 2, generator=torch.Generator().manual_seed(0))
    >>> abs(knn_divergence(x, y).item()) < 0.1, abs(knn_divergence(x, y + 1).item() - 1) < 0.2
    (True, True)
    """
    x, y, kind = _checked("knn_divergence", x, y, check_finite)
    if not 1 <= k <= min(len(x) - 1, len(y)):
        raise InputError(
            f"knn_divergence expects more than k and at least k samples and k of at least 1, got {len(x)} and "
            f"{len(y)} and k={k}."
        )
    with torch.autocast(x.device.type, enabled=False):
        dim = x.shape[1]
        entropy = knn_entropy(x, k, check_finite=False)
        square = _nearest_square(x, y, k)
        cross = 0.5 * dim * square.log().mean() + log_ball(dim) + math.log(len(y)) - digamma(k)
        return (cross - entropy).to(kind)


def _nearest_square(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Return the squared distance of each x to its k-th nearest y, (N,), by exact differences."""
    with torch.no_grad():
        centre = y.mean(0)
        a, b = x - centre, y - centre
        rows = max(1, _CHUNK // len(y))
        found = [
            (b.square().sum(1) - 2 * part @ b.T).topk(k, largest=False).indices[:, -1] for part in a.split(rows)
        ]
    other = y[torch.cat(found)]
    square = (x - other).square().sum(1)
    with torch.no_grad():
        largest = torch.maximum(x.abs().amax(1), other.abs().amax(1))
        least = (largest * torch.finfo(torch.float64).eps / 2).square().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(square > least, square, least)


def _distance(square: Tensor) -> Tensor:
    """Return the distance; one that is rounding has no gradient."""
    far = square > torch.finfo(square.dtype).eps
    return torch.where(far, square, 1).sqrt() * far


def _checked(who: str, x: ArrayLike, y: ArrayLike, check_finite: bool) -> tuple[Tensor, Tensor, torch.dtype]:
    """Return both samples in float64, and the type of the result."""
    x, y = as_tensor(x, who), as_tensor(y, who)
    for sample in (x, y):
        if sample.dim() != 2 or min(sample.shape[0] - 1, sample.shape[1]) < 1 or not sample.is_floating_point():
            raise InputError(
                f"{who} expects floating-point samples (N, D) of at least 2, got "
                f"{sample.dtype} of shape {tuple(sample.shape)}."
            )
    if x.shape[1] != y.shape[1]:
        raise InputError(f"{who} expects samples of one width, got widths {x.shape[1]} and {y.shape[1]}.")
    if check_finite and not all(bool(torch.isfinite(sample).all()) for sample in (x, y)):
        raise InputError(f"{who} expects finite samples, got NaN or infinity; look at what produced them.")
    return x.double(), y.double(), torch.float64 if x.dtype == torch.float64 else torch.float32


def pair_sum(x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor], *, within: bool = False) -> Tensor:
    """Sum a function of the squared distances of all pairs, in memory linear in N + M.

    Arguments:
        x: (N, D).
        y: (M, D).
        kernel: maps squared distances to values, elementwise.
        within: x and y are one sample; pairs of a point with itself are left out.
    """
    rows = max(1, _CHUNK // len(y))
    blocks = []
    for start in range(0, len(x), rows):

        def block(x: Tensor, y: Tensor, start: int = start) -> Tensor:
            part = x[start : start + rows]
            square = (part.square().sum(1)[:, None] + y.square().sum(1) - 2 * part @ y.T).clamp_min(0)
            if not within:
                return kernel(square).sum()
            itself = torch.zeros_like(square, dtype=torch.bool)
            itself.diagonal(start).fill_(True)
            return kernel(square).masked_fill(itself, 0).sum()

        saves = torch.is_grad_enabled() and rows < len(x) and (x.requires_grad or y.requires_grad)
        blocks.append(checkpoint(block, x, y, use_reentrant=False) if saves else block(x, y))
    return torch.stack(blocks).sum()
