"""Distances between two sets of features."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.randomness import seeded

__all__ = ["frechet_distance", "kernel_distance"]


class _Given(torch.nn.Module):
    """A pass-through extractor: torchmetrics requires one, but the features are already computed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def _checked(real: ArrayLike, fake: ArrayLike, least: int) -> tuple[Tensor, Tensor]:
    """Return both feature sets as float64 on the CPU; InputError names the one that is not valid."""
    real, fake = as_tensor(real, "real features"), as_tensor(fake, "fake features")
    for name, features in (("real", real), ("fake", fake)):
        if features.ndim != 2 or features.shape[1] == 0:
            raise InputError(
                f"{name} features must be a matrix (N, F), got shape {tuple(features.shape)}; "
                "flatten what belongs to one image to one row."
            )
        if len(features) < least:
            raise InputError(
                f"a distance needs at least {least} rows of {name} features, got {len(features)}; "
                "give more images."
            )
        if not bool(torch.isfinite(features).all()):
            raise InputError(
                f"{name} features must be finite, got NaN or infinite values; "
                "look for a diverged model or a damaged feature network."
            )
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"real and fake features must have one width, got {real.shape[1]} and {fake.shape[1]}; "
            "compute both with the same feature space."
        )
    return real.detach().cpu().double(), fake.detach().cpu().double()


def frechet_distance(real: ArrayLike, fake: ArrayLike) -> float:
    r"""Squared Frechet distance between Gaussians fitted to two sets of features (FID on Inception's).

    The distance is $\|m - n\|^2 + \mathrm{tr}(S + T - 2 (S T)^{1/2})$ for the means m, n and the unbiased
    covariances S, T, in float64. Its sampling bias falls with N, so compare only distances of equal N.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2. N < F is allowed.

    Returns:
        The distance in squared feature units, at least 0.

    Raises:
        InputError: fewer than 2 rows, different widths, or values that are not finite.

    Reference: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    2017, https://arxiv.org/abs/1706.08500. Computed by torchmetrics.

    >>> import torch
    >>> real = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    >>> round(frechet_distance(real, real + 3.0), 6)
    9.0
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, fake = _checked(real, fake, least=2)
    # torchmetrics takes a covariance as a difference of sums, which loses digits where the mean is
    # large; the distance does not change when both sets are shifted.
    centre = real.mean(dim=0)
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), sync_on_compute=False)
    metric.set_dtype(torch.float64)
    metric.update(real - centre, real=True)
    metric.update(fake - centre, real=False)
    return max(0.0, float(metric.compute()))


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
    real, fake = _checked(real, fake, least=2)
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
