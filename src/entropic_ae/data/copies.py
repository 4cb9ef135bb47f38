"""Exact copies among images, by the digest of their pixels: kept in one split, and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from entropic_ae.data.images import ImageData, Split

__all__ = ["Copies", "count_copies", "groups_of", "hold_out"]


class Copies(NamedTuple):
    """The numbers of exact copies in a data set.

    Attributes:
        images: number of images of all splits.
        repeated: number of images that equal an earlier one.
        test, validation: number of images of these splits.
        test_in_training, validation_in_training: how many of them equal a training image.
    """

    images: int
    repeated: int
    test: int
    validation: int
    test_in_training: int
    validation_in_training: int

    @property
    def shared(self) -> bool:
        """Whether a test or validation image equals a training image."""
        return self.test_in_training + self.validation_in_training > 0

    def __str__(self) -> str:
        """One sentence with the numbers, without a full stop.

        >>> print(Copies(100, 3, 10, 9, 2, 0))
        3 of 100 images are exact copies of others; 2 of 10 test images stand in training too
        """
        shared = [
            f"{count:,} of {total:,} {split} images"
            for split, count, total in (
                ("test", self.test_in_training, self.test),
                ("validation", self.validation_in_training, self.validation),
            )
            if count
        ]
        where = f"; {' and '.join(shared)} stand in training too" if shared else ""
        return f"{self.repeated:,} of {self.images:,} images are exact copies of others{where}"


def count_copies(data: ImageData) -> Copies:
    """Count the exact copies in a data set; a memory-mapped one is read image by image.

    >>> import torch
    >>> one = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), None)
    >>> print(count_copies(ImageData("twins", one, one, one)))
    5 of 6 images are exact copies of others; 2 of 2 test images and 2 of 2 validation images stand in training too
    """
    train, validation, test = (_digests(split.images) for split in (data.train, data.validation, data.test))
    seen = set(train)
    total = len(train) + len(validation) + len(test)
    return Copies(
        total,
        total - len(seen.union(validation, test)),
        len(test),
        len(validation),
        sum(one in seen for one in test),
        sum(one in seen for one in validation),
    )


def groups_of(images: Tensor) -> np.ndarray:
    """Return for each image, (N, C, H, W), the index of the first image that equals it, int64 (N,).

    >>> import torch
    >>> groups_of(torch.tensor([7, 5, 7], dtype=torch.uint8).view(3, 1, 1, 1)).tolist()
    [0, 1, 0]
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(one, i) for i, one in enumerate(_digests(images))], dtype=np.int64)


def hold_out(
    split: Split, groups: np.ndarray, count: int, *, leave: int = 1, names: np.ndarray | None = None
) -> tuple[Split, Split]:
    """Cut about ``count`` images off the end of a split, so that no image stands on both sides of the cut.

    Copies count as if they stood beside the first of them, and the cut is the nearest one that separates none.
    Only the images on the wrong side change places, within the memory of ``split``: a large set is memory-mapped,
    and stays so. Without copies nothing moves, and the cut is exact.

    Arguments:
        split: all images; their places change.
        groups: equal numbers for equal images, see ``groups_of``; they change places with the images.
        count: number of images to hold out.
        leave: number of different images to leave at least. A set that has no more is cut at ``count``.
        names: of the images, which change places with them.

    Returns: what is left, and what is held out.

    >>> import torch
    >>> images = torch.tensor([1, 2, 3, 1, 4, 3], dtype=torch.uint8).view(6, 1, 1, 1)
    >>> rest, held = hold_out(Split(images, None), groups_of(images), 2)
    >>> rest.images.flatten().tolist(), held.images.flatten().tolist()
    ([1, 2, 1], [3, 4, 3])
    """
    total = len(split.images)
    cut = max(0, total - count)
    order = np.argsort(groups, kind="stable")  # copies side by side
    borders = 1 + np.flatnonzero(np.diff(groups[order]))
    if leave <= len(borders) < total - 1:
        borders = borders[leave - 1 :]
        cut = int(borders[np.abs(borders - cut).argmin()])
        held = np.zeros(total, dtype=bool)
        held[order[cut:]] = True
        _exchange((*split, groups, names), np.flatnonzero(held[:cut]), cut + np.flatnonzero(~held[cut:]))
    return split.at(slice(cut)), split.at(slice(cut, None))


def _exchange(columns: Iterable[Tensor | np.ndarray | None], some: np.ndarray, others: np.ndarray) -> None:
    """Exchange as many rows of each column, in place."""
    to, origin = np.concatenate((some, others)), np.concatenate((others, some))
    for values in columns:
        if values is not None:
            values[to] = values[origin]


def _digests(images: Tensor) -> list[bytes]:
    return [hashlib.sha256(row).digest() for row in images.contiguous().flatten(1).numpy()]
