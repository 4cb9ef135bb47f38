"""Images in memory: splits, data sets, and operations on pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from entropic_ae.storage.run_info import IN_MEMORY

__all__ = [
    "IN_MEMORY",
    "SPLITS",
    "DataWarning",
    "Given",
    "ImageData",
    "LeftOutWarning",
    "Split",
    "fingerprint",
    "largest_part",
    "resized",
    "shuffled",
]

SPLITS = ("train", "validation", "test")


class DataWarning(UserWarning):
    """Something about a set of images that its user should know."""


class LeftOutWarning(DataWarning):
    """Images of a set are damaged, or files of it are no images here: they are left out."""


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
    source given (an absolute path for files and folders); leave it out in a custom ``ImageData``. ``white`` is the
    value that became 255, None if the images had 8 bits: 1 for images of 0 and 1, 4,095 for 12 bits.
    ``class_names`` has the name of each class, such as that of its folder; None if they have none, or no labels.
    Left out are the ``damaged`` images, by name, and the files ``passed_over``, whose number is by suffix.
    ``files`` has for each split the name of each image's file, below the folder; it is empty without such files.

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
    white: int | None = None
    class_names: tuple[str, ...] | None = None
    damaged: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

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


def largest_part(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    """Return width and height of the largest part of an image that has the aspect of another.

    >>> largest_part(160, 64, 80, 32), largest_part(160, 64, 32, 32)
    ((160, 64), (64, 64))
    """
    wide = (height * to_width + to_height // 2) // to_height
    high = (width * to_height + to_width // 2) // to_width
    return min(width, max(1, wide)), min(height, max(1, high))


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Crop (N, C, H, W) to the largest centre part of this aspect and resize it, bilinear with antialiasing."""
    if images.shape[2:] == (height, width):
        return images
    wide, high = largest_part(images.shape[3], images.shape[2], width, height)
    top, left = (images.shape[2] - high) // 2, (images.shape[3] - wide) // 2
    part = images[:, :, top : top + high, left : left + wide]
    resized = torch.empty(len(images), images.shape[1], height, width, dtype=torch.uint8)
    for start in range(0, len(images), 1000):
        chunk = part[start : start + 1000].float()
        chunk = torch.nn.functional.interpolate(chunk, size=(height, width), mode="bilinear", antialias=True)
        resized[start : start + 1000] = chunk.round_().clamp_(0, 255)
    return resized
