"""Images in memory: splits, data sets, and operations on pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["IN_MEMORY", "SPLITS", "Given", "ImageData", "Split", "fingerprint", "resized", "shuffled"]

SPLITS = ("train", "validation", "test")
IN_MEMORY = "an array in memory"  # the source of images without a name or path


class Split(NamedTuple):
    """Images of one split, uint8 (N, C, H, W), and their labels, int64 (N,) or None.

    >>> Split(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5)).at(slice(3)).labels
    tensor([0, 1, 2])
    """

    images: Tensor
    labels: Tensor | None

    def at(self, index: slice | Tensor) -> Split:
        """Return the part at ``index``."""
        return Split(self.images[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class ImageData:
    """A data set in memory: three splits that share no image; see ``load_images``.

    ``name`` is valid in file names. ``classes`` is the number of classes, None without labels. ``source`` is the
    source given (an absolute path for files and folders); leave it out in a custom ``ImageData``.

    >>> from entropic_ae.data import load_images
    >>> load_images("digits").shape
    (1, 8, 8)
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int | None = None
    source: str = IN_MEMORY

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


Array = np.ndarray | Tensor
# images, alone or with labels, with splits; lists of images or paths; data sets; ``datasets`` has no types
Given = Array | list[Any] | tuple[Array | list[Any], Array | list[int]] | ImageData | Dataset[Any]


def fingerprint(images: Tensor) -> str:
    """Return a SHA-256 of uint8 images.

    >>> len(fingerprint(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)))
    64
    """
    return hashlib.sha256(memoryview(images.contiguous().numpy().data).cast("B")).hexdigest()


def shuffled(split: Split) -> Split:
    """Return a split in a fixed random order."""
    order = torch.randperm(len(split.images), generator=torch.Generator().manual_seed(0))
    return split.at(order)


def resized(images: Tensor, size: int) -> Tensor:
    """Crop (N, C, H, W) to the centre square and resize it to ``size``, bilinear with antialiasing."""
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, :, top : top + side, left : left + side]
    resized = torch.empty(len(images), images.shape[1], size, size, dtype=torch.uint8)
    for start in range(0, len(images), 1000):
        chunk = square[start : start + 1000].float()
        chunk = torch.nn.functional.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + 1000] = chunk.round_().clamp_(0, 255)
    return resized
