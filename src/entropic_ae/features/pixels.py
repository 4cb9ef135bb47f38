"""Pixels as features, for small images."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor, nn

from entropic_ae.data import ImageData
from entropic_ae.errors import InputError
from entropic_ae.features.space import Features

__all__ = ["pixel_features"]

_MOST_PIXELS = 4096  # the eigenvalues of a larger covariance take minutes, and few sets have the rank


class _Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).float() / 255


def pixel_features(data: ImageData, weights: Path | None, device: str) -> Features:  # noqa: ARG001
    """Return the space of pixels / 255."""
    dim = math.prod(data.train.images.shape[1:])
    if dim > _MOST_PIXELS:
        raise InputError(
            f"feature space 'pixels' takes at most {_MOST_PIXELS} values an image, got {dim} in {data.name}; "
            "use --features inception, or classifier if the images have labels."
        )
    return Features("pixels", _Pixels(), dim, batch_size=4096, device=device)
