"""Metrics: pure functions of features, codes and images; none depends on a batch size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy
from entropic_ae.randomness import seeded

if TYPE_CHECKING:
    from torch.distributions import Distribution

__all__ = ["active_codes", "entropy_gap", "frechet_distance", "kernel_distance", "reconstruction_error", "spread"]

_CHUNK = 1024  # images compared at a time; a sum of integers, so it cannot change the result
_ACTIVE = 0.01  # the share of variance below which a dimension of the code counts as dead: Burda et al.'s


class _Given(torch.nn.Module):
    """The extractor that torchmetrics asks for, when the features are already there."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def _checked(real: Tensor, fake: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Return both feature sets as float64 on the CPU, or say which of them cannot be measured."""
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


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (FID on Inception's).

    It is ``||m - n||^2 + tr(S + T - 2 (S T)^(1/2))`` for the means m, n and the unbiased covariances
    S, T, in float64. Its sampling bias falls with N, so compare only distances of equal N.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2. N < F is allowed.

    Returns:
        The distance in squared feature units, at least 0.

    Raises:
        InputError: fewer than 2 rows, different widths, or values that are not finite.

    Reference: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium", 2017. Computed by torchmetrics.

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
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel ``(x y / F + 1)^3`` (KID on Inception's features).

    Unbiased on each random subset, unlike the Frechet distance, so small N can be compared and a value
    may be slightly negative. Computed in float64.

    Arguments:
        real: features of real images, (N, F), N >= 2.
        fake: features of generated images, (M, F), M >= 2.
        subsets: how many random subsets to average over.
        subset_size: rows in a subset, drawn without replacement; lowered to N or M where that is less.
        seed: chooses the subsets; the global generators are left as they were.

    Returns:
        Mean and (population) standard deviation over the subsets.

    Raises:
        InputError: fewer than 2 rows, different widths, values that are not finite, ``subsets`` < 1 or
            ``subset_size`` < 2.

    Reference: Binkowski et al., "Demystifying MMD GANs", 2018. Computed by torchmetrics.

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
    return float(mean), float(std)


def entropy_gap(
    codes: Tensor,
    prior: Distribution | None,
    k: int = 1,
    *,
    estimator: Callable[..., Tensor] = knn_entropy,
    seed: int = 0,
) -> dict[str, float | int | None]:
    """How far the entropy of the codes is from the maximum that their constraints allow.

    With codes of mean 0 and variance 1 in each direction, the maximum is the entropy of N(0, I), and the
    gap is the Kullback-Leibler divergence of the codes from it. The nearest-neighbour estimate is biased, in
    many dimensions by several nats: about 7 for 10,000 codes of 64, so that the plain gap falls below zero.
    ``corrected_gap`` puts the same estimate for as many samples of the prior in place of the maximum, where
    the bias is alike.

    Arguments:
        codes: (N, D), N > k.
        prior: the maximum-entropy distribution under the bottleneck's constraints, over (D,); None if the
            bottleneck sets no such maximum.
        k: which nearest neighbour the estimate uses.
        estimator: that of the bottleneck, right for the space of the codes.
        seed: of the samples of the prior.

    Returns:
        ``n``, ``entropy``, ``maximum``, ``gap`` = maximum - entropy, ``prior_estimate`` and
        ``corrected_gap`` = prior_estimate - entropy; in nats, all but the first two None without a prior.

    Raises:
        InputError: codes that are not a finite matrix, N <= k, or a prior of another width.

    Reference: Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector", 1987.

    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> codes = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    >>> prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    >>> abs(entropy_gap(codes, prior)["gap"]) < 0.1
    True
    >>> entropy_gap(codes, None)["gap"] is None
    True
    """
    if codes.ndim != 2 or codes.shape[1] == 0 or len(codes) <= k:
        raise InputError(
            f"entropy_gap needs codes (N, D) with N > k={k}, got shape {tuple(codes.shape)}; give more codes."
        )
    _check_finite(codes)
    n, dim = codes.shape
    entropy = estimator(codes.detach().double(), k).item()
    result: dict[str, float | int | None] = {"n": n, "entropy": entropy}
    if prior is None:
        return result | dict.fromkeys(("maximum", "gap", "prior_estimate", "corrected_gap"))
    if prior.event_shape != (dim,) or prior.batch_shape:
        raise InputError(
            f"the prior must be over the {dim} values of a code, got event {tuple(prior.event_shape)} and "
            f"batch {tuple(prior.batch_shape)}; wrap it in torch.distributions.Independent."
        )
    maximum = prior.entropy().item()
    with seeded(seed):
        prior_estimate = estimator(prior.sample((n,)).double(), k).item()
    return result | {
        "maximum": maximum,
        "gap": maximum - entropy,
        "prior_estimate": prior_estimate,
        "corrected_gap": prior_estimate - entropy,
    }


def _check_finite(codes: Tensor) -> None:
    if not bool(torch.isfinite(codes).all()):
        raise InputError(
            "codes must be finite, got NaN or infinite values; the model has diverged: lower its learning rate."
        )


def reconstruction_error(images: Tensor, reconstructions: Tensor) -> float:
    """Mean over images of ``||x_hat - x||^2``: squared differences summed over channels and pixels.

    Pixels count in [0, 1]. The sum is of integers, hence exact.

    Arguments:
        images: uint8, (N, C, H, W), N >= 1.
        reconstructions: uint8, of the same shape.

    Raises:
        InputError: another type, different shapes, or no image.

    Reference: the squared error of the paper, without its weight.

    >>> import torch
    >>> black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> reconstruction_error(black, black + 255)
    64.0
    """
    for name, x in (("images", images), ("reconstructions", reconstructions)):
        if x.dtype != torch.uint8 or x.ndim != 4:
            raise InputError(
                f"{name} must be uint8 (N, C, H, W), got {x.dtype} {tuple(x.shape)}; "
                "scale to 0..255 and round before the comparison."
            )
    if images.shape != reconstructions.shape or len(images) == 0:
        raise InputError(
            f"reconstruction_error needs at least one image and equal shapes, got {tuple(images.shape)} and "
            f"{tuple(reconstructions.shape)}; give each image its own reconstruction."
        )
    total = 0
    for x, x_hat in zip(images.split(_CHUNK), reconstructions.split(_CHUNK), strict=True):
        difference = x_hat.to(x.device, torch.int32) - x.to(torch.int32)
        total += int(difference.square().sum(dtype=torch.int64))
    return total / 255**2 / len(images)


def spread(fake: Tensor, real: Tensor) -> float:
    """Total variance of generated images over that of real ones: near 0 if they are one image again and again.

    The total variance is the trace of the covariance, the unbiased variances of all pixels summed: 1 for images
    as varied as the real ones. Less than 1 is blur or little variety, which it does not tell apart. The sums are
    of integers, hence exact.

    Arguments:
        fake: generated images, uint8, (N, C, H, W), N >= 2.
        real: real images, uint8, (M, C, H, W), M >= 2, which are not all the same.

    Returns: the ratio, at least 0, without unit.

    Raises: InputError: another type, different shapes of an image, fewer than 2 images, or real images without
        variance.

    >>> import torch
    >>> real = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8) // 2 * 2
    >>> spread(real // 2, real), spread(real[:1].expand(50, -1, -1, -1), real)
    (0.25, 0.0)
    """
    for name, images in (("generated", fake), ("real", real)):
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) < 2:
            raise InputError(
                f"spread needs at least 2 {name} images, uint8 (N, C, H, W), got {images.dtype} "
                f"{tuple(images.shape)}; scale to 0..255 and round first."
            )
    if fake.shape[1:] != real.shape[1:]:
        raise InputError(
            f"generated and real images must have one shape, got {tuple(fake.shape[1:])} and "
            f"{tuple(real.shape[1:])}; compare images of one data set."
        )
    variance = _total_variance(real)
    if variance == 0:
        raise InputError("the real images are all the same, so nothing can be as varied; look at the data.")
    return _total_variance(fake) / variance


def _total_variance(images: Tensor) -> float:
    """Return the sum over pixels of the unbiased variance, in units of 1/255 squared."""
    n = len(images)
    sums = torch.zeros(images[0].numel(), dtype=torch.int64, device=images.device)
    squares = 0
    for part in images.flatten(1).split(_CHUNK):
        sums += part.sum(0, dtype=torch.int64)
        squares += int(part.to(torch.int32).square().sum(dtype=torch.int64))
    # in Python's integers, since the squared sums of many images pass 64 bits
    return (n * squares - sum(s * s for s in sums.tolist())) / (n * (n - 1))


def active_codes(codes: Tensor, posterior_std: Tensor | None = None) -> int:
    """How many dimensions of the code carry information; the others are dead.

    With a posterior, whose mean is the code, dimension d is active if the variance of its mean over the data is
    more than 0.01 of its total variance, ``Var[mean_d] + E[std_d ** 2]``. Where that total is 1, as the
    prior of a variational autoencoder asks, this is the rule of Burda et al., a variance above 0.01; unlike
    theirs, it does not change with the scale of the codes.

    Without a posterior, scale and axes are arbitrary: any linear layer can change both, and batch normalisation
    gives variance 1 even to copies of one dimension. Then the principal directions of the codes are counted whose
    variance is more than 0.01 of that of the widest. A narrow direction may still matter to the decoder; codes on
    a curved sheet have more directions than degrees of freedom.

    Arguments:
        codes: (N, D), N >= 2; with a posterior, its means.
        posterior_std: standard deviations of the posterior, (N, D), or (D,) if all codes share them.

    Returns: a number from 0 to D.

    Raises: InputError: codes that are not a finite matrix of 2 rows at least, or deviations of another shape,
        negative or not finite.

    References: Burda et al., "Importance Weighted Autoencoders", 2016, section 5.2, for the rule and 0.01; Jing et
    al., "Understanding Dimensional Collapse in Contrastive Self-supervised Learning", 2022, for the spectrum.

    >>> import torch
    >>> codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> active_codes(torch.cat([codes, codes[:, :1], torch.ones(500, 1)], 1))  # one copy, one constant
    3
    >>> active_codes(codes * torch.tensor([1, 0.01, 0.01]), torch.tensor([0.1, 1, 0.001]))
    2
    """
    if codes.ndim != 2 or codes.shape[1] == 0 or len(codes) < 2:
        raise InputError(
            f"active_codes needs codes (N, D) with N >= 2, got shape {tuple(codes.shape)}; give more codes."
        )
    _check_finite(codes)
    resolution = torch.finfo(codes.dtype if codes.is_floating_point() else torch.float32).eps
    codes = codes.detach().double()
    rounding = (resolution**2 * codes.square().sum(1).mean()).item()  # what equal codes may differ by
    codes = codes - codes[0]  # equal codes become zeros, which their mean leaves as they are
    if posterior_std is None:
        variance = torch.linalg.eigvalsh(torch.cov(codes.T).reshape(codes.shape[1], -1))
        reference = variance.max()
    else:
        std = posterior_std.detach().to(codes)
        if std.shape not in (codes.shape, codes.shape[1:]) or not bool((std.isfinite() & (std >= 0)).all()):
            raise InputError(
                f"posterior_std must be at least 0, finite and shaped {tuple(codes.shape)} or "
                f"{tuple(codes.shape[1:])}, got {tuple(std.shape)}; give the deviations of these codes."
            )
        variance = codes.var(0)
        reference = variance + std.square().expand_as(codes).mean(0)
    return int(((variance > _ACTIVE * reference) & (variance > rounding)).sum())
