"""Nearest training images of samples, and the share of samples that are nearly copies of training images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.estimators.pairs import Pairs
from entropic_ae.metrics.checks import checked_rows

__all__ = ["CopyReference", "NearCopies", "Neighbours", "near_copies", "nearest_neighbours"]


@dataclass(frozen=True)
class Neighbours:
    """The nearest training row of each row, as returned by ``nearest_neighbours``.

    >>> nearest_neighbours([[0.0]], [[2.0], [-2.0]])
    Neighbours(distances=tensor([2.], dtype=torch.float64), indices=tensor([0]), ties=tensor([2]))
    """

    distances: Tensor
    """Euclidean distances in the unit of the features, (N,) float64."""
    indices: Tensor
    """Numbers of the nearest training rows, (N,); of several at the same distance the lowest."""
    ties: Tensor
    """How many training rows are at this distance, (N,); 1 if the nearest is the only one."""


@dataclass(frozen=True)
class NearCopies:
    """How many samples are nearer to a training image than held-out images are, as returned by ``near_copies``.

    >>> training, held_out, fresh = torch.randn(3, 200, 8, generator=torch.Generator().manual_seed(0))
    >>> near_copies(training, held_out, training).exact
    200
    """

    share: float
    """Share of the samples that are relatively nearer to a training image than ``threshold``, or equal to one."""
    expected: float
    """The expected share of images of the same distribution as the held-out ones."""
    threshold: float
    """A low quantile of the relative distances of held-out images from their nearest training images."""
    exact: int
    """Number of samples whose features are equal to those of a training image."""
    copies: Tensor
    """Which samples are near-copies, (N,) bool."""
    samples: Neighbours
    """The nearest training rows of the samples; ``samples.distances.argsort()`` shows the nearest ones first."""
    held_out: Neighbours
    """The nearest training rows of the held-out images."""


def nearest_neighbours(samples: ArrayLike, training: ArrayLike) -> Neighbours:
    """Return the nearest training row of each sample, by exact Euclidean distances.

    ``training_images[found.indices]`` are the images to show beneath the samples. The search compares blocks of
    all pairs; memory is linear in N + M.

    Arguments:
        samples: features of samples, (N, F).
        training: features of training images, (M, F).

    Returns: ``distances``, ``indices`` and ``ties``, each (N,), on the device of the samples if it is a GPU and on
        the CPU otherwise.

    Raises: InputError: no rows, different widths, or values that are not finite.

    >>> found = nearest_neighbours([[0.0, 0.0], [3.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]])
    >>> found.distances.tolist(), found.indices.tolist(), found.ties.tolist()
    ([2.0, 1.0], [0, 1], [1, 1])
    """
    return _search(samples, training, 1)[0]


def near_copies(
    samples: ArrayLike, held_out: ArrayLike, training: ArrayLike, *, quantile: float = 0.01, around: int = 5
) -> NearCopies:
    """Compare the relative distances of samples from their nearest training images with those of held-out images.

    The relative distance is that from the nearest training image over the mean of those from the next ``around``.
    A changed copy is far from its original where features see the change, but much nearer to it than to all
    others. A sample is a near-copy if its relative distance is less than the j-th smallest of n held-out images,
    j = floor(quantile (n + 1)). An image of the same distribution is so with probability j / (n + 1), whatever the
    distribution: at most 1 % by default. This is ``expected``. A higher share shows copying; a share of 0 may also
    be that of samples that are far from all images, so look at a fidelity beside it.

    A sample that equals a training image is always a near-copy. If equal images are in the held-out set, too, the
    expected share is at least theirs.

    Arguments:
        samples: features of samples, (N, F).
        held_out: features of images that were not trained on, (n, F), n >= 1 / quantile - 1.
        training: features of all training images, (M, F). A share of them hides copies of the others.
        quantile: above 0 and below 1.
        around: further training images, at least 1; all others, if there are fewer. With one training image the
            distance itself is compared.

    Raises: InputError: too few held-out images for the quantile, a quantile outside its range, ``around`` below 1,
        no rows, different widths, or values that are not finite.

    References:
        Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", 2020,
        https://arxiv.org/abs/2004.05675, for the comparison with held-out images.
        Carlini et al., "Extracting training data from diffusion models", 2023, https://arxiv.org/abs/2301.13188,
        for distances relative to those of further images.
        Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005, for the exact quantile.

    >>> training, held_out, fresh = torch.randn(3, 500, 8, generator=torch.Generator().manual_seed(0))
    >>> near_copies(fresh, held_out, training).share < 0.03
    True
    >>> near_copies(training + 0.01, held_out, training).share
    1.0
    """
    return CopyReference(held_out, training, quantile=quantile, around=around).find(samples)


class CopyReference:
    """Near-copies in several sets of samples, with one search for the neighbours of the held-out images.

    Arguments:
        held_out, training, quantile, around: of ``near_copies``.

    Raises: InputError: as of ``near_copies``.

    >>> training, held_out, fresh = torch.randn(3, 200, 8, generator=torch.Generator().manual_seed(0))
    >>> CopyReference(held_out, training).find(fresh).share < 0.05
    True
    """

    def __init__(
        self, held_out: ArrayLike, training: ArrayLike, *, quantile: float = 0.01, around: int = 5
    ) -> None:
        if not 0 < quantile < 1:
            raise InputError(f"quantile must be above 0 and below 1, got {quantile}; the default is 0.01.")
        if around < 1:
            raise InputError(f"around must be at least 1, got {around}; the default is 5.")
        self._training, self._around = training, around
        self._held, relative = _relative(held_out, training, around)
        n = len(relative)
        order = math.floor(quantile * (n + 1) * (1 + 1e-12))  # 0.07 * 100 is no less than 7
        if order == 0:
            raise InputError(
                f"a quantile of {quantile} needs at least {math.ceil(1 / quantile) - 1} held-out images, got {n}; "
                "give more, or a higher quantile."
            )
        self._threshold = relative.sort().values[order - 1]
        self._expected = max(order / (n + 1), (self._held.distances == 0).double().mean().item())

    def find(self, samples: ArrayLike) -> NearCopies:
        """Return the near-copies among samples, (N, F)."""
        found, relative = _relative(samples, self._training, self._around)
        copies = (relative < self._threshold) | (found.distances == 0)
        return NearCopies(
            share=copies.double().mean().item(),
            expected=self._expected,
            threshold=self._threshold.item(),
            exact=int((found.distances == 0).sum()),
            copies=copies,
            samples=found,
            held_out=self._held,
        )


def _search(rows: ArrayLike, training: ArrayLike, k: int) -> tuple[Neighbours, Tensor]:
    """Return the nearest training row of each row, and its distances from the k nearest, or all there are."""
    rows = checked_rows(rows, "sample")
    training = checked_rows(training, "training", like=rows, like_name="sample")
    pairs = Pairs(rows, training)
    found = [pairs.nearest(block, min(k, len(training)), ties=True) for block in pairs.blocks()]
    squares, numbers, equal = (torch.cat(parts) for parts in zip(*found, strict=True))
    same = squares == squares[:, :1]
    ties = torch.where(same[:, -1], equal, same.sum(1))  # all that tie are found, unless the k-th does too
    return Neighbours(squares[:, 0].sqrt(), numbers[:, 0], ties), squares.sqrt()


def _relative(rows: ArrayLike, training: ArrayLike, around: int) -> tuple[Neighbours, Tensor]:
    """Return the nearest training row of each row, and its distance over the mean of those of the next ones."""
    nearest, distances = _search(rows, training, 1 + around)
    if distances.shape[1] == 1:
        return nearest, nearest.distances
    others = distances[:, 1:].mean(1)
    equal = nearest.distances == 0
    return nearest, torch.where(equal, 0.0, nearest.distances / torch.where(equal, 1.0, others))
