"""Samples beside their nearest training images, from the nearest sample to the farthest."""

from __future__ import annotations

from typing import Any

import torch

from entropic_ae.metrics import Neighbours

__all__ = ["at_ranks"]

_SHOWN = 10  # samples of a density


def at_ranks(samples: Neighbours, held_out: Neighbours) -> dict[str, list[Any]]:
    """Return a few samples at equal steps of rank by their distance from training images.

    The first is the nearest of all samples, the last the farthest. Of as many held-out images those at the same
    ranks are what these distances are compared with.

    Arguments:
        samples: nearest training images of samples.
        held_out: nearest training images of held-out images.

    Returns: ``samples``, the numbers of up to 10 samples; ``training_images``, those of their nearest training
        images; ``distances`` between the two, and ``held_out``, the distances of held-out images at these ranks.

    >>> from entropic_ae.metrics import nearest_neighbours
    >>> near = nearest_neighbours([[5.0], [0.5]], [[0.0], [4.0]])
    >>> at_ranks(near, nearest_neighbours([[1.0], [2.0], [7.0]], [[0.0], [4.0]]))
    {'samples': [1, 0], 'training_images': [0, 1], 'distances': [0.5, 1.0], 'held_out': [1.0, 3.0]}
    """
    order, ranked = samples.distances.argsort(stable=True).cpu(), held_out.distances.sort().values
    steps = torch.linspace(0, 1, min(_SHOWN, len(order)), dtype=torch.float64)
    chosen = order[(steps * (len(order) - 1)).round().long()]
    return {
        "samples": chosen.tolist(),
        "training_images": samples.indices.cpu()[chosen].tolist(),
        "distances": samples.distances.cpu()[chosen].tolist(),
        "held_out": ranked.cpu()[(steps * (len(ranked) - 1)).round().long()].tolist(),
    }
