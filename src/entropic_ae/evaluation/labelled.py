"""The classification accuracy score: what a classifier learns from samples, tested on real images."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import Split
from entropic_ae.densities import Density
from entropic_ae.errors import InputError
from entropic_ae.features import classifier_accuracy
from entropic_ae.generation import sample
from entropic_ae.randomness import generator

__all__ = ["classification_accuracy_score", "labelled_samples"]


def classification_accuracy_score(samples: Split, real: Split, test: Split) -> dict[str, float]:
    """Return the accuracy on real images of a classifier trained on samples, and of one trained on real images.

    Both are the library's own small classifier, from the same start, trained for 5 epochs. The score tells, in one
    number, whether samples have the content of their labels and its variety: samples that are all alike, or of
    which some show another label, teach less.

    Arguments:
        samples: images with labels, uint8 (N, C, H, W).
        real: as many real training images, with labels.
        test: other real images, with labels.

    Returns: ``samples`` and ``real``, in [0, 1]. The score is ``samples``, to be compared with ``real``.

    Raises: InputError for images without labels, or different numbers of samples and real images.

    Reference: Ravuri and Vinyals, "Classification accuracy score for conditional generative models", 2019,
    https://arxiv.org/abs/1905.10887.

    >>> from entropic_ae.data import load_images
    >>> data = load_images("digits")
    >>> some = data.train.at(slice(200))
    >>> found = classification_accuracy_score(some, some, data.test)
    >>> found["samples"] == found["real"] > 0.6
    True
    """
    if len(samples.images) != len(real.images):
        raise InputError(
            f"classification_accuracy_score needs as many real images as samples, got {len(real.images)} and "
            f"{len(samples.images)}; give equal numbers."
        )
    return {
        "samples": classifier_accuracy(samples, test),
        "real": classifier_accuracy(real, test),
    }


def labelled_samples(
    model: Autoencoder, densities: Mapping[int, Density], real: Split, n: int, seed: int
) -> tuple[Split, Split]:
    """Draw samples with the labels of real images, and return them and these images.

    Arguments:
        model: a trained model.
        densities: of the codes of each label; of a conditional model the first one alone, with all labels.
        real: training images with labels.
        n: number of either, at most that of real images.
        seed: of the choice of real images, and of the samples.
    """
    chosen = real.at(torch.randperm(len(real.images), generator=generator(seed))[:n])
    assert chosen.labels is not None
    if model.labels is not None:
        density = next(iter(densities.values()))
        return Split(
            sample(model, density, len(chosen.images), seed=seed, labels=chosen.labels), chosen.labels
        ), chosen
    images = torch.empty_like(chosen.images)
    for label, density in densities.items():
        wanted = chosen.labels == label
        if wanted.any():
            images[wanted] = sample(model, density, int(wanted.sum()), seed=seed)
    return Split(images, chosen.labels), chosen
