"""The maximum mean discrepancy between two samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError

__all__ = ["mmd2"]

_CHUNK = 2**23  # distances held at once: 64 MiB in float64


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
    x, y = as_tensor(x, "mmd2"), as_tensor(y, "mmd2")
    for sample in (x, y):
        if sample.dim() != 2 or min(sample.shape[0] - 1, sample.shape[1]) < 1 or not sample.is_floating_point():
            raise InputError(
                "mmd2 expects floating-point samples (N, D) of at least 2, got "
                f"{sample.dtype} of shape {tuple(sample.shape)}."
            )
    if x.shape[1] != y.shape[1] or not scales or min(scales) <= 0:
        raise InputError(
            f"mmd2 expects samples of one width and scales above 0, got widths {x.shape[1]} and {y.shape[1]} "
            f"and scales {tuple(scales)}."
        )
    if check_finite and not all(bool(torch.isfinite(sample).all()) for sample in (x, y)):
        raise InputError("mmd2 expects finite samples, got NaN or infinity; look at what produced them.")
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    constants = [2 * x.shape[1] * scale for scale in scales]
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.double(), y.double()
        n, m = len(x), len(y)
        within_x = _kernel_sum(x, x, constants, within=True) / (n * (n - 1))
        within_y = _kernel_sum(y, y, constants, within=True) / (m * (m - 1))
        return (within_x + within_y - 2 * _kernel_sum(x, y, constants) / (n * m)).to(kind)


def _kernel_sum(x: Tensor, y: Tensor, constants: Sequence[float], *, within: bool = False) -> Tensor:
    """Sum the kernel over all pairs; ``within`` one sample, pairs of a point with itself are left out."""
    rows = max(1, _CHUNK // len(y))
    blocks = []
    for start in range(0, len(x), rows):

        def block(x: Tensor, y: Tensor, start: int = start) -> Tensor:
            part = x[start : start + rows]
            square = (part.square().sum(1)[:, None] + y.square().sum(1) - 2 * part @ y.T).clamp_min(0)
            if within:
                square = square.clone()
                square.diagonal(start).fill_(torch.inf)  # a kernel of 0
            return sum((c / (c + square)).sum() for c in constants)  # type: ignore[return-value]

        saves = torch.is_grad_enabled() and rows < len(x) and (x.requires_grad or y.requires_grad)
        blocks.append(checkpoint(block, x, y, use_reentrant=False) if saves else block(x, y))
    return torch.stack(blocks).sum()
