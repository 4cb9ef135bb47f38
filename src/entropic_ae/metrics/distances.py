"""Kernel and sliced distances between two sets of features."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.metrics.checks import checked_pair
from entropic_ae.randomness import generator, seeded

__all__ = ["kernel_distance", "sliced_distance"]

_CHUNK = 2**21  # kernels, or projections, held at once: 16 MiB


class _Given(torch.nn.Module):
    """A pass-through extractor: torchmetrics requires one, but the features are already computed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    subsets: int | None = None,
    subset_size: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    r"""Squared maximum mean discrepancy with the kernel $(x^T y / F + 1)^3$ (KID on Inception's features).

    Unlike the Frechet distance, it is unbiased: for two sets of one distribution its expectation is 0, for any N.
    So results for small N are comparable, and a value may be slightly negative. Computed in float64.

    By default all pairs of rows count, one block of them in memory at a time. The standard error is that of both
    samples: the variance over rows of their mean kernels, less what it counts twice of the variance within pairs.
    For equal distributions, where the first of the two vanishes, it is about a quarter too high.

    ``subsets`` or ``subset_size`` selects the convention of KID, the mean over random subsets. It costs more from
    about 100 subsets of 1,000 rows on, has more variance, and its deviation is that of one subset.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2.
        subsets: number of random subsets to average over; 100 if only ``subset_size`` is given.
        subset_size: rows in a subset, drawn without replacement; at most N and M. 1,000 if only ``subsets`` is
            given.
        seed: of the subsets; the state of the global generators is kept.

    Returns:
        The estimate and its standard error; with subsets, mean and (population) standard deviation over them, 0 if
        each subset holds all rows.

    Raises:
        InputError: fewer than 2 rows, different widths, values that are not finite, ``subsets`` < 1 or
            ``subset_size`` < 2.

    References:
        Binkowski et al., "Demystifying MMD GANs", 2018, https://arxiv.org/abs/1801.01401; subsets are computed by
        torchmetrics.
        Sutherland and Deka, "Unbiased estimators for the variance of MMD estimators", 2019,
        https://arxiv.org/abs/1906.02104, for the two parts of the variance.

    >>> import torch
    >>> real, fake = torch.randn(2, 400, 4, generator=torch.Generator().manual_seed(0))
    >>> estimate, error = kernel_distance(real, fake)
    >>> abs(estimate) < 3 * error, kernel_distance(real, fake + 1.0)[0] > 1
    (True, True)
    >>> kernel_distance(real, fake, subsets=10, subset_size=100)[1] > error
    True
    """
    real, fake = (features.double() for features in checked_pair(real, fake, least=2))
    if subsets is None and subset_size is None:
        return _all_pairs(real, fake)
    subsets = 100 if subsets is None else subsets
    subset_size = 1000 if subset_size is None else subset_size
    if subsets < 1 or subset_size < 2:
        raise InputError(
            f"kernel_distance needs subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}; "
            "KID takes 100 and 1000."
        )
    return _subsets(real.cpu(), fake.cpu(), subsets, min(subset_size, len(real), len(fake)), seed)


def _all_pairs(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Return the unbiased estimate from all pairs, and its standard error."""
    n, m = len(real), len(fake)
    rows, columns, square = _kernel_means(real, fake)
    mean = rows.mean()
    within = square - rows.square().mean() - columns.square().mean() + mean.square()
    estimate, pairs = -2 * mean, 4 * within.clamp_min(0) / (n * m)
    error = torch.zeros_like(mean)
    for features, across in ((real, rows), (fake, columns)):
        own, square = _kernel_means_within(features)
        count = len(features)
        estimate = estimate + own.mean()
        centred = square - 2 * own.square().mean() + own.mean().square()
        pairs = pairs + 2 * centred.clamp_min(0) / (count * (count - 1))
        error = error + 4 * (own - across).var() / count
    # the variance over rows includes that within pairs twice
    return estimate.item(), torch.maximum(error - pairs, pairs).sqrt().item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    base = torch.addmm(x.new_ones(()), x, y.T, alpha=1 / x.shape[1])
    return base * base.square()


def _kernel_means(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean kernels of each row of x, (N,), of each row of y, (M,), and the mean of squares."""
    rows, columns, square = [], y.new_zeros(len(y)), y.new_zeros(())
    for part in x.split(max(1, _CHUNK // len(y))):
        kernel = _kernel(part, y)
        rows.append(kernel.mean(1))
        columns += kernel.sum(0)
        square += kernel.square_().sum()
    return torch.cat(rows), columns / len(x), square / (len(x) * len(y))


def _kernel_means_within(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean kernel of each row with the others, (N,), and the mean of squares over pairs."""
    n = len(x)
    sums, square = x.new_zeros(n), x.new_zeros(())
    start = 0
    for part in x.split(max(1, _CHUNK // n)):
        stop = start + len(part)
        kernel = _kernel(part, x[start:])  # each pair once
        kernel.diagonal().fill_(0)
        sums[start:stop] += kernel.sum(1)
        sums[stop:] += kernel[:, len(part) :].sum(0)
        kernel.square_()
        square += kernel.sum() + kernel[:, len(part) :].sum()
        start = stop
    return sums / (n - 1), square / (n * (n - 1))


def _subsets(real: Tensor, fake: Tensor, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Return mean and deviation over random subsets, by torchmetrics."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features", category=UserWarning)
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=subsets, subset_size=size, sync_on_compute=False
        )
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with seeded(seed):  # torchmetrics draws its subsets from the global generator
        mean, std = metric.compute()
    if size == len(real) == len(fake):
        std = torch.zeros(())  # and no rounding of sums in other orders
    return float(mean), float(std)


def sliced_distance(real: ArrayLike, fake: ArrayLike, *, projections: int = 1000, seed: int = 0) -> float:
    r"""Sliced squared 2-Wasserstein distance times 3 F (MIND on Inception's features).

    It is the mean over random directions of the squared 2-Wasserstein distance of the projections, times 3 F; a
    shift by d has the value $3 \|d\|^2$. It needs sorting only and no covariance, so it is defined for N < F, and
    its bias is that of one-dimensional samples. Sets of different sizes are compared by their quantile functions,
    exactly; torch-fidelity leaves out rows instead. For equal sizes and seeds both draw the same directions.
    ``sliced_wasserstein`` is the root, without the factor.

    Arguments:
        real: features of real images, (N, F), N >= 1.
        fake: features of generated images, (M, F), M >= 1.
        projections: number of directions.
        seed: of the directions.

    Returns: the distance in squared feature units, at least 0. Compare only distances of equal N and M.

    Raises: InputError: no rows, different widths, values that are not finite, or ``projections`` < 1.

    Reference: Berthet et al., "MIND: Monge Inception Distance for generative models evaluation", 2026,
    https://arxiv.org/abs/2605.06797.

    >>> import torch
    >>> real = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
    >>> round(sliced_distance(real, real + 2.0), 4)
    12.0
    """
    if projections < 1:
        raise InputError(f"sliced_distance needs at least 1 projection, got {projections}; the default is 1000.")
    real, fake = (features.double() for features in checked_pair(real, fake))
    dim, n, m = real.shape[1], len(real), len(fake)
    directions = torch.randn(projections, dim, generator=generator(seed)).to(real)
    directions = directions / directions.norm(dim=1, keepdim=True)
    # the quantile functions are constant between multiples of 1 / N and of 1 / M; in units of 1 / (N M)
    ends = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m + 1)]).unique().to(real.device)
    weights = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    of_real, of_fake = (ends - 1) // m, (ends - 1) // n
    total = 0.0
    for part in directions.split(max(1, _CHUNK // (n + m))):
        x, y = ((part @ features.T).sort(1).values for features in (real, fake))
        total += float(((x[:, of_real] - y[:, of_fake]).square() @ weights).sum())
    return 3 * dim * total / projections
