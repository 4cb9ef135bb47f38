"""Nearest training images of samples, and the share of samples that are nearly copies of training images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike
from entropic_ae.errors import InputError
from entropic_ae.metrics.checks import checked_pair
from entropic_ae.metrics.pairs import Pairs

__all__ = ["NearCopies", "Neighbours", "near_copies", "nearest_neighbours"]


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
    """Share of the samples that are nearer to a training image than ``threshold``, or equal to one."""
    expected: float
    """The expected share of images of the same distribution as the held-out ones."""
    threshold: float
    """A low quantile of the distances of held-out images from their nearest training images."""
    exact: int
    """Number of samples whose features are equal to those of a training image."""
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
    samples, training = checked_pair(samples, training, names=("sample", "training"))
    pairs = Pairs(samples, training)
    found = [pairs.nearest(rows, 1, ties=True) for rows in pairs.blocks()]
    squares, numbers, equal = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(squares[:, 0].sqrt(), numbers[:, 0], equal)


def near_copies(
    samples: ArrayLike, held_out: ArrayLike, training: ArrayLike, *, quantile: float = 0.01
) -> NearCopies:
    """Compare the distances of samples from their nearest training images with those of held-out images.

    A sample is a near-copy if it is nearer to a training image than the j-th smallest distance of n held-out
    images, j = floor(quantile (n + 1)). An image of the same distribution is so with probability j / (n + 1),
    whatever the distribution: at most 1 % by default. This is ``expected``. A higher share shows copying; a share
    of 0 may also be that of samples that are far from all images, so look at a fidelity beside it.

    A sample that equals a training image is always a near-copy. If equal images are in the held-out set, too, the
    expected share is at least theirs.

    Arguments:
        samples: features of samples, (N, F).
        held_out: features of images that were not trained on, (n, F), n >= 1 / quantile - 1.
        training: features of all training images, (M, F). A share of them hides copies of the others.
        quantile: above 0 and below 1.

    Raises: InputError: too few held-out images for the quantile, a quantile outside its range, no rows, different
        widths, or values that are not finite.

    References:
        Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", 2020,
        https://arxiv.org/abs/2004.05675, for the comparison with held-out images.
        Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005, for the exact quantile.

    >>> training, held_out, fresh = torch.randn(3, 500, 8, generator=torch.Generator().manual_seed(0))
    >>> near_copies(fresh, held_out, training).share < 0.03
    True
    >>> near_copies(training + 0.01, held_out, training).share
    1.0
    """
    if not 0 < quantile < 1:
        raise InputError(f"quantile must be above 0 and below 1, got {quantile}; the default is 0.01.")
    held = nearest_neighbours(held_out, training)
    n = len(held.distances)
    order = math.floor(quantile * (n + 1) * (1 + 1e-12))  # 0.07 * 100 is no less than 7
    if order == 0:
        raise InputError(
            f"a quantile of {quantile} needs at least {math.ceil(1 / quantile) - 1} held-out images, got {n}; "
            "give more, or a higher quantile."
        )
    threshold = held.distances.sort().values[order - 1]
    found = nearest_neighbours(samples, training)
    copies = (found.distances < threshold) | (found.distances == 0)
    return NearCopies(
        share=copies.double().mean().item(),
        expected=max(order / (n + 1), (held.distances == 0).double().mean().item()),
        threshold=threshold.item(),
        exact=int((found.distances == 0).sum()),
        samples=found,
        held_out=held,
    )
