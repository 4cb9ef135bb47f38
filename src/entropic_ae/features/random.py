"""Features of a fixed convolutional network that is not trained."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features

__all__ = ["random_features"]

_WIDTHS = (3, 32, 32, 32, 16)  # channels of the images and of each layer
_GRID = 4
_STEP = 2.0**-12  # of the weights: coarser than what machines differ by when they compute them


class _Random(nn.Module):
    """Four layers of 3 x 3 convolution and ReLU; the means of 16 channels over a grid of 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        for layer, kernel in enumerate(_kernels()):
            self.register_buffer(f"kernel{layer}", kernel)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, 256) of uint8 images of any size (N, C, H, W)."""
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"feature space 'random' needs 1 or 3 channels, got {images.shape[1]}; "
                "use --features pixels, or convert the images to RGB."
            )
        x = images.float().expand(-1, 3, -1, -1) / 255 - 0.5
        for layer, kernel in enumerate(self.buffers()):
            if layer and min(x.shape[2:]) >= 2 * _GRID:
                x = nn.functional.avg_pool2d(x, 2)
            x = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), kernel).relu()
        return nn.functional.adaptive_avg_pool2d(x, _GRID).flatten(1)


def random_features(data: ImageData, device: str) -> Features:  # noqa: ARG001
    """Return the 256 features of an untrained convolutional network, of grey or colour images of any size.

    Four layers of 3 x 3 convolution and ReLU, between which the image is halved down to 4 pixels at least, then
    the means of 16 channels over a grid of 4 x 4. The kernels are normal draws, scaled to a norm of sqrt(2). Half
    of the first layer's sum to zero in each channel, which makes them blind to brightness and sensitive to blur.
    The draws are those of NumPy's ``RandomState``, whose stream never changes, and are rounded, so that every
    version and machine has the same network. ``python -m benchmarks spaces`` measures how it ranks known damages.

    Reference: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020,
    https://arxiv.org/abs/2002.09797, which recommends a network with random weights where images are far from
    ImageNet's.
    """
    network = _Random()
    return Features("random", network, _WIDTHS[-1] * _GRID**2, device=device, content="random")


def _kernels() -> list[Tensor]:
    source = np.random.RandomState(0)
    kernels: list[Tensor] = []
    for inputs, outputs in pairwise(_WIDTHS):
        kernel = source.standard_normal((outputs, inputs, 3, 3))
        if not kernels:
            half = kernel[: outputs // 2]
            half -= half.mean((2, 3), keepdims=True)
        kernel *= np.sqrt(2 / np.square(kernel).sum((1, 2, 3), keepdims=True))
        kernels.append(torch.from_numpy(np.round(kernel / _STEP) * _STEP).float())
    return kernels
