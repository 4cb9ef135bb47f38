"""Pixels as features."""

from __future__ import annotations

from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.features.space import Features

__all__ = ["pixel_features"]

_MOST_PIXELS = (
    1024  # values an image: the eigenvalues of a larger covariance take long, and few sets have the rank
)


class _Pixels(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images.float() / 255, self.factor).flatten(1)


def pixel_features(data: ImageData, device: str) -> Features:
    """Return the space of pixels / 255; images of more than 1,024 values are averaged down by a whole factor."""
    channels, height, width = data.train.images.shape[1:]
    factor = 1
    while channels * (height // factor) * (width // factor) > _MOST_PIXELS:
        factor += 1
    dim = channels * (height // factor) * (width // factor)
    return Features("pixels", _Pixels(factor), dim, batch_size=4096, device=device, content=f"factor {factor}")
