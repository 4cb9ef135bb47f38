"""Features of a fixed convolutional network that is not trained."""

from __future__ import annotations

from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features
from entropic_ae.networks import RandomFeatures

__all__ = ["random_features"]

_CHANNELS, _GRID = 16, 4


class _Random(RandomFeatures):
    """The means of the last layer's channels over a grid of 4 x 4."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Return the features (N, 256) of uint8 images of any size (N, C, H, W)."""
        if images.shape[1] not in (1, 3):
            raise InputError(
                f"feature space 'random' needs 1 or 3 channels, got {images.shape[1]}; "
                "use --features pixels, or convert the images to RGB."
            )
        return nn.functional.adaptive_avg_pool2d(super().forward(images.float() / 255)[-1], _GRID).flatten(1)


def random_features(data: ImageData, device: str) -> Features:  # noqa: ARG001
    """Return the 256 features of an untrained convolutional network, of grey or colour images of any size.

    They are the means of the 16 channels of ``RandomFeatures`` over a grid of 4 x 4.
    ``python -m benchmarks spaces`` measures how they rank known damages.

    Reference: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020,
    https://arxiv.org/abs/2002.09797, which recommends a network with random weights where images are far from
    ImageNet's.
    """
    return Features("random", _Random(), _CHANNELS * _GRID**2, device=device, content="random")
