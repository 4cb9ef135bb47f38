"""What all networks share: the sizes that fit, spectral normalisation, and the map from logits to images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from entropic_ae.errors import InputError

__all__ = ["LARGEST", "SIDES", "Shape", "check_sizes", "finish", "fits", "halved", "to_images"]

Shape = Sequence[int]

_STEP, LARGEST = 8, 256
SIDES = f"multiples of {_STEP} from {_STEP} to {LARGEST}"


def fits(side: int) -> bool:
    """Return whether convolutional networks take images of that side.

    >>> fits(256), fits(28)
    (True, False)
    """
    return _STEP <= side <= LARGEST and side % _STEP == 0


def check_sizes(shape: Shape, **sizes: int) -> None:
    """Raise InputError for images, (C, H, W), that no convolutional network takes, or a size below 1."""
    channels, height, width = shape
    if channels < 1 or not (fits(height) and fits(width)):
        raise InputError(
            f"expected images whose sides are {SIDES}, got {channels}x{height}x{width}; "
            "set image_size, for example image_size=32."
        )
    if sizes.pop("kernel_size", 3) < 3:
        raise InputError("kernel_size must be at least 3, whose padding keeps the sides.")
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} must be at least 1, got {size}.")


def halved(side: int) -> int:
    """Return half of a side, rounded up.

    >>> halved(9), halved(1)
    (5, 1)
    """
    return (side + 1) // 2


def finish(network: nn.Module, spectral: bool) -> None:
    """Apply spectral normalisation if requested; use the channels-last layout, faster on CPUs and tensor cores."""
    if spectral:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                # for a transposed convolution PyTorch takes its second dimension, the output channels, as rows
                spectral_norm(layer)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def to_images(logits: Tensor) -> Tensor:
    """Return the sigmoid, computed in float32 at least: in bf16 it has fewer values than 8-bit images."""
    return torch.sigmoid(logits.float() if logits.dtype != torch.float64 else logits)
