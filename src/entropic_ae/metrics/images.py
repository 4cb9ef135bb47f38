"""Metrics on images."""

from __future__ import annotations

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_double, as_tensor
from entropic_ae.errors import InputError

__all__ = ["psnr", "reconstruction_error", "spread", "ssim", "total_variance"]

_CHUNK = 1024  # images compared at a time; a sum of integers, so it cannot change the result
_FEW = 64  # images compared in float64 at a time
_BORDER = 5  # pixels on each side of the centre of the window of the structural similarity


def reconstruction_error(images: ArrayLike, reconstructions: ArrayLike) -> float:
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
    images, reconstructions = _checked(images, reconstructions, "reconstruction_error")
    total = 0
    for x, x_hat in zip(images.split(_CHUNK), reconstructions.split(_CHUNK), strict=True):
        difference = x_hat.to(x.device, torch.int32) - x.to(torch.int32)
        total += int(difference.square().sum(dtype=torch.int64))
    return total / 255**2 / len(images)


def psnr(images: ArrayLike, reconstructions: ArrayLike) -> float:
    """Peak signal-to-noise ratio of reconstructions in decibels, the mean over images; higher is better.

    Of one image it is ``10 log10(1 / e)``, e being the mean squared error over channels and pixels in [0, 1].

    Arguments:
        images: uint8, (N, C, H, W), N >= 1.
        reconstructions: uint8, of the same shape.

    Returns: decibels; infinite if an image is reproduced without any error.

    Raises: InputError: another type, different shapes, or no image.

    Computed by torchmetrics.

    >>> import torch
    >>> black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> round(psnr(black, black + 51), 4)  # an error of a fifth everywhere
    13.9794
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    images, reconstructions = _checked(images, reconstructions, "psnr")
    pairs = zip(images.split(_FEW), reconstructions.split(_FEW), strict=True)
    total = 0.0
    for x, x_hat in pairs:
        pixels = as_double(x_hat.to(x.device)), as_double(x)
        total += float(peak_signal_noise_ratio(*pixels, data_range=255.0, reduction="sum", dim=(1, 2, 3)))
    return total / len(images)


def ssim(images: ArrayLike, reconstructions: ArrayLike) -> float:
    """Structural similarity of reconstructions, the mean over images; 1 for equal images.

    Local means, variances and covariances are weighted by a Gaussian of standard deviation 1.5 pixels, 11 pixels
    wide, for each channel. Unlike in the paper, windows across the border count, too, with pixels reflected there,
    so the value differs from one of whole windows only (scikit-image), most in small images.

    Arguments:
        images: uint8, (N, C, H, W), N >= 1, H and W at least 6.
        reconstructions: uint8, of the same shape.

    Returns: a dimensionless value of at most 1.

    Raises: InputError: another type, different shapes, no image, or images smaller than that.

    Reference: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
    https://doi.org/10.1109/TIP.2003.819861. Computed by torchmetrics.

    >>> import torch
    >>> images = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    >>> round(ssim(images, images), 6), ssim(images, 255 - images) < 0
    (1.0, True)
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    images, reconstructions = _checked(images, reconstructions, "ssim")
    if min(images.shape[2:]) <= _BORDER:
        raise InputError(
            f"ssim needs images of at least {_BORDER + 1} x {_BORDER + 1}, for the borders of its window, got "
            f"{images.shape[2]} x {images.shape[3]}; use psnr or reconstruction_error."
        )
    pairs = zip(images.split(_FEW), reconstructions.split(_FEW), strict=True)
    total = 0.0
    for x, x_hat in pairs:
        similarity = structural_similarity_index_measure(
            as_double(x_hat.to(x.device)), as_double(x), data_range=255.0, reduction="sum"
        )
        assert isinstance(similarity, Tensor)  # no tuple, which other arguments give
        total += similarity.item()
    return total / len(images)


def _checked(images: ArrayLike, reconstructions: ArrayLike, who: str) -> tuple[Tensor, Tensor]:
    """Return both as tensors; InputError if they are not uint8 images of one shape."""
    images, reconstructions = as_tensor(images, "images"), as_tensor(reconstructions, "reconstructions")
    for name, x in (("images", images), ("reconstructions", reconstructions)):
        if x.dtype != torch.uint8 or x.ndim != 4:
            raise InputError(
                f"{name} must be uint8 (N, C, H, W), got {x.dtype} {tuple(x.shape)}; "
                "scale to 0..255 and round before the comparison."
            )
    if images.shape != reconstructions.shape or len(images) == 0:
        raise InputError(
            f"{who} needs at least one image and equal shapes, got {tuple(images.shape)} and "
            f"{tuple(reconstructions.shape)}; give each image its own reconstruction."
        )
    return images, reconstructions


def spread(fake: ArrayLike, real: ArrayLike) -> float:
    """Ratio of the total variance of generated images to that of real images; near 0 if all are the same image.

    The total variance is the trace of the covariance, the sum of the unbiased variances of all pixels. The ratio
    is 1 for images as varied as the real ones. Below 1, images are blurred or lack diversity; the ratio cannot
    distinguish the two. The sums are of integers, hence exact.

    Arguments:
        fake: generated images, uint8, (N, C, H, W), N >= 2.
        real: real images, uint8, (M, C, H, W), M >= 2, which are not all the same.

    Returns: the dimensionless ratio, at least 0.

    Raises: InputError: another type, different shapes of an image, fewer than 2 images, or real images without
        variance.

    >>> import torch
    >>> real = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8) // 2 * 2
    >>> spread(real // 2, real), spread(real[:1].expand(50, -1, -1, -1), real)
    (0.25, 0.0)
    """
    fake, real = as_tensor(fake, "spread"), as_tensor(real, "spread")
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


def total_variance(images: ArrayLike) -> float:
    """Mean over images of their squared difference from the mean image, summed over channels and pixels.

    Pixels count in [0, 1]. It is the reconstruction error of a model that knows nothing but the mean image; the
    share of it that a reconstruction error amounts to is the variance that the model leaves unexplained.

    Arguments:
        images: uint8, (N, C, H, W), N >= 2.

    Raises: InputError: another type or shape, or fewer than 2 images.

    >>> black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> total_variance(torch.cat([black, black + 255]))
    16.0
    """
    images = as_tensor(images, "total_variance")
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) < 2:
        raise InputError(
            f"total_variance needs at least 2 images, uint8 (N, C, H, W), got {images.dtype} "
            f"{tuple(images.shape)}; scale to 0..255 and round first."
        )
    return _total_variance(images) * (len(images) - 1) / len(images) / 255**2


def _total_variance(images: Tensor) -> float:
    """Return the sum over pixels of the unbiased variance, in units of 1/255 squared."""
    n = len(images)
    sums = torch.zeros(images[0].numel(), dtype=torch.int64, device=images.device)
    squares = 0
    for part in images.flatten(1).split(_CHUNK):
        sums += part.sum(0, dtype=torch.int64)
        squares += int(part.to(torch.int32).square().sum(dtype=torch.int64))
    # in Python integers, because the squared sums of many images exceed 64 bits
    return (n * squares - sum(s * s for s in sums.tolist())) / (n * (n - 1))
