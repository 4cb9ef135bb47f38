"""Terms on reconstructions that compare structure or features instead of pixels."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.errors import InputError
from entropic_ae.networks import RandomFeatures
from entropic_ae.randomness import seeded
from entropic_ae.registry import Registry
from entropic_ae.terms.term import Term

__all__ = ["FEATURE_NETWORKS", "FeatureError", "MultiScaleSimilarity", "frozen_network"]


def _of_images(name: str) -> nn.Module:
    """Refuse a network that a run trains or loads before it is trained, where there is no run."""
    raise InputError(
        f"the feature network {name!r} is at hand in a run, which eae.train makes; elsewhere give it to the term: "
        "term.prepared(lambda name: feature_network(name, data))."
    )


FEATURE_NETWORKS: Registry[Callable[[], nn.Module]] = Registry(
    "feature network",
    {
        "random": RandomFeatures,
        "classifier": partial(_of_images, "classifier"),
        **{name: partial(_of_images, name) for name in ("dino", "lpips-alex", "lpips-vgg")},
    },
)

_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of the published scales, the finest first
_WINDOW, _SIGMA = 11, 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2
_LEAST_SIMILARITY = 1e-3  # towards 0 the gradient of the powers is infinite
_LEAST_NORM = 0.1  # of activations: below it they are noise that the normalisation would amplify


@dataclass(frozen=True)
class MultiScaleSimilarity(Term):
    """Dissimilarity $P (1 - S)$ of images of P values, S being their MS-SSIM, averaged over the batch.

    MS-SSIM multiplies the contrast and structure of an image at several scales, each half of the one before, and
    the luminance at the last: 1 for equal images. As many of the five published scales are used as windows of 11
    pixels fit, with their exponents scaled to the sum 1: two at 32 pixels, three at 64, five from 176 on. A
    similarity below 0.001 at one scale counts as 0.001. P makes it a sum over values, as squared errors are; the
    default weight is that at which both have a similar share in early training.

    Raises: InputError for images of less than 11 pixels a side.

    References:
        Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003,
        https://doi.org/10.1109/ACSSC.2003.1292216.
        Zhao et al., "Loss functions for image restoration with neural networks", 2017, for it as a loss,
        https://arxiv.org/abs/1511.08861.

    >>> x = torch.rand(5, 1, 32, 32)
    >>> round(MultiScaleSimilarity()(None, Trace(x, None, x)).item(), 2)
    0.0
    """

    weight: float = 0.02

    name = "multiscale_similarity"
    setting = "multiscale_similarity"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return 1 - MS-SSIM times the number of values of an image."""
        _check_sides(trace.x.shape[2:])
        return trace.x[0].numel() * (1 - _similarity(trace.x, trace.x_hat).mean())

    def check(self, model: Autoencoder) -> None:
        """Reject images in which no window fits."""
        if (shape := getattr(model.decoder, "shape", None)) is not None:
            _check_sides(shape[1:])


@dataclass(frozen=True)
class FeatureError(Term):
    r"""Squared distance of images and reconstructions in the layers of a frozen network, averaged over the batch.

    With the activations $a_l$ of layer l scaled to norm 1 at each position, as in LPIPS,

    $\frac{P}{L} \sum_l \mathrm{mean}_{hw} \|\hat a_l - a_l\|^2$

    for L layers and P values of an image, which make it stand beside squared errors. Unlike in LPIPS the channels
    have no learned weights, and no norm is scaled up more than tenfold. With the networks ``lpips-alex`` and
    ``lpips-vgg`` it is P times LPIPS itself: channels are weighted, norms are scaled to 1, layers are summed.

    The network belongs to no model: it is not in the weights of a run, and a run is loaded without it.

    Attributes:
        network: name in ``FEATURE_NETWORKS``: ``random``, a fixed network that needs no weights; ``classifier``,
            the one of that feature space, which a run trains on the labels of its images, or reads from the cache;
            ``dino``, DINOv2, or ``lpips-alex`` and ``lpips-vgg``, whose weights are downloaded; or a custom one.
            Such a row is a function without arguments, called at the first step of training, that returns a module
            from images in [0, 1], (N, C, H, W), to a list of activations, each (N, F, H', W'). Activations of a
            module with an attribute ``is_scaled`` that is true are compared as they are.

    Raises: InputError for an unknown network.

    References:
        Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", 2018 (LPIPS),
        https://arxiv.org/abs/1801.03924.
        Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution", 2016,
        https://arxiv.org/abs/1603.08155.

    >>> x = torch.rand(5, 3, 32, 32)
    >>> FeatureError()(None, Trace(x, None, x)).item(), FeatureError()(None, Trace(x, None, 1 - x)).item() > 0
    (0.0, True)
    """

    weight: float = 0.05
    network: str = "random"

    name = "feature_error"
    setting = "feature_error"

    def __post_init__(self) -> None:
        super().__post_init__()
        FEATURE_NETWORKS.find(self.network)

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the mean over layers and positions, times the number of values of an image."""
        x, x_hat = trace.x, trace.x_hat
        network = frozen_network(self._build(), x_hat.device, x_hat.dtype)
        scaled = (lambda one: one) if getattr(network, "is_scaled", False) else _scaled
        with torch.no_grad():
            wanted = [scaled(one) for one in network(x.to(x_hat.dtype))]
        found = network(x_hat)
        errors = [(scaled(a) - b).square().sum(1).mean() for a, b in zip(found, wanted, strict=True)]
        return x[0].numel() * torch.stack(errors).mean()

    def prepared(self, network: Callable[[str], nn.Module | None]) -> FeatureError:
        """Return the term with its network, if that is one of the training images."""
        found = network(self.network)
        return self if found is None else _Prepared(self.weight, self.network, partial(deepcopy, found))

    def _build(self) -> Callable[[], nn.Module]:
        return FEATURE_NETWORKS.find(self.network)


@dataclass(frozen=True)
class _Prepared(FeatureError):
    """The term with a function that returns its network."""

    build: Callable[[], nn.Module] = RandomFeatures

    def _build(self) -> Callable[[], nn.Module]:
        return self.build


@lru_cache(maxsize=4)
def frozen_network(build: Callable[[], nn.Module], device: torch.device, dtype: torch.dtype) -> Any:
    """Return a network without gradients; initial weights, if it draws any, leave the draws of training alone."""
    with seeded(0):
        return build().to(device, dtype).eval().requires_grad_(False)


def _scaled(activations: Tensor) -> Tensor:
    return activations / (activations.square().sum(1, keepdim=True) + _LEAST_NORM**2).sqrt()


def _check_sides(sides: Any) -> None:
    if min(sides) < _WINDOW:
        height, width = sides
        raise InputError(
            f"MultiScaleSimilarity needs images of at least {_WINDOW} x {_WINDOW}, in which its window fits, got "
            f"{height} x {width}; use squared_error or absolute_error."
        )


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    """Return the MS-SSIM of each pair of images, (N,)."""
    scales = next(n for n in range(len(_SCALES), 0, -1) if min(x.shape[2:]) >> (n - 1) >= _WINDOW)
    exponents = torch.tensor(_SCALES[:scales], dtype=y.dtype, device=y.device)
    offsets = torch.arange(_WINDOW, dtype=y.dtype, device=y.device) - _WINDOW // 2
    window = functional.normalize((-(offsets**2) / (2 * _SIGMA**2)).exp(), p=1, dim=0)
    found = []
    for scale in range(scales):
        if scale:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        mean_x, mean_y, xx, yy, xy = _blurred(torch.stack([x, y, x * x, y * y, x * y]), window)
        structure = (2 * (xy - mean_x * mean_y) + _CONTRAST) / (
            xx - mean_x.square() + yy - mean_y.square() + _CONTRAST
        )
        if scale == scales - 1:
            structure = structure * (
                (2 * mean_x * mean_y + _LUMINANCE) / (mean_x.square() + mean_y.square() + _LUMINANCE)
            )
        found.append(structure.flatten(1).mean(1))
    similarities = torch.stack(found).clamp_min(_LEAST_SIMILARITY)
    return similarities.pow((exponents / exponents.sum())[:, None]).prod(0)


def _blurred(images: Tensor, window: Tensor) -> Tensor:
    """Return weighted means over windows within the images, (..., H - 10, W - 10)."""
    maps = images.flatten(0, -3).unsqueeze(1)
    with torch.backends.cudnn.flags(allow_tf32=False):  # a variance is the difference of two of these
        maps = functional.conv2d(functional.conv2d(maps, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return maps.view(*images.shape[:-2], *maps.shape[-2:])
