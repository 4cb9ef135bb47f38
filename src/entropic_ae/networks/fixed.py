"""A fixed convolutional network with random kernels: features without training or download."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError

__all__ = ["RandomFeatures"]

_WIDTHS = (3, 32, 32, 32, 16)  # channels of the images and of each layer
_LEAST = 8  # sides from which on an image is halved before a layer
_STEP = 2.0**-12  # of the weights: coarser than what machines differ by when they compute them


class RandomFeatures(nn.Module):
    """Four layers of 3 x 3 convolution and ReLU, between which the image is halved down to 4 pixels at least.

    The kernels are normal draws, scaled to a norm of sqrt(2). Half of the first layer's sum to zero in each
    channel, which makes them blind to brightness and sensitive to blur. The draws are those of NumPy's
    ``RandomState``, whose stream never changes, and are rounded, so that every version and machine has the same
    network.

    >>> [tuple(one.shape[1:]) for one in RandomFeatures()(torch.rand(2, 1, 32, 32))]
    [(32, 32, 32), (32, 16, 16), (32, 8, 8), (16, 4, 4)]
    """

    def __init__(self) -> None:
        super().__init__()
        for layer, kernel in enumerate(_kernels()):
            self.register_buffer(f"kernel{layer}", kernel)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the activations of each layer for grey or colour images in [0, 1], (N, C, H, W) of any size."""
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"the network of 'random' features takes images of 1 or 3 channels, got {images.shape[1]}; use "
                "other features, or convert the images to RGB."
            )
        x = images.expand(-1, 3, -1, -1) - 0.5
        found = []
        for layer, kernel in enumerate(self.buffers()):
            if layer and min(x.shape[2:]) >= _LEAST:
                x = nn.functional.avg_pool2d(x, 2)
            x = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), kernel).relu()
            found.append(x)
        return found


def _kernels() -> list[Tensor]:
    source = np.random.RandomState(0)
    kernels: list[Tensor] = []
    for inputs, outputs in pairwise(_WIDTHS):
        kernel = source.standard_normal((outputs, inputs, 3, 3))
        if not kernels:
            half = kernel[: outputs // 2]
            half -= half.mean((2, 3), keepdims=True)
        kernel *= np.sqrt(2 / np.square(kernel).sum((1, 2, 3), keepdims=True))
        kernels.append(torch.from_numpy((np.round(kernel / _STEP) * _STEP).astype(np.float32)))
    return kernels
