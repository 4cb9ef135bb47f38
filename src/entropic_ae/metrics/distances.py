"""The kernel distance between two sets of features."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.metrics.checks import checked_features
from entropic_ae.randomness import seeded

__all__ = ["kernel_distance"]


class _Given(torch.nn.Module):
    """A pass-through extractor: torchmetrics requires one, but the features are already computed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(
    real: ArrayLike, fake: ArrayLike, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    r"""Squared maximum mean discrepancy with the kernel $(x^T y / F + 1)^3$ (KID on Inception's features).

    Unlike the Frechet distance, it is unbiased on each random subset. So results for small N are comparable, and
    a value may be slightly negative. Computed in float64.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2.
        subsets: number of random subsets to average over.
        subset_size: rows in a subset, drawn without replacement; at most N and M.
        seed: of the subsets; the state of the global generators is kept.

    Returns:
        Mean and (population) standard deviation over the subsets; 0 if each subset holds all rows.

    Raises:
        InputError: fewer than 2 rows, different widths, values that are not finite, ``subsets`` < 1 or
            ``subset_size`` < 2.

    Reference: Binkowski et al., "Demystifying MMD GANs", 2018, https://arxiv.org/abs/1801.01401. Computed by
    torchmetrics.

    >>> import torch
    >>> real = torch.arange(12.0).reshape(6, 2) / 12
    >>> mean, std = kernel_distance(real, real + 1.0, subsets=4)
    >>> mean > 1, round(std, 6)
    (True, 0.0)
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    if subsets < 1 or subset_size < 2:
        raise InputError(
            f"kernel_distance needs subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}; "
            "the defaults are 100 and 1000."
        )
    real = checked_features(real, "real")
    fake = checked_features(fake, "fake", width=real.shape[1])
    size = min(subset_size, len(real), len(fake))
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
