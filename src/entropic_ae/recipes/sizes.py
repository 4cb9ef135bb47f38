"""Sizes: width, length and schedule of a training, by the device, the number of the images and their size.

The presets of registered data sets keep the numbers of the paper, but for the width on a CPU. Other images get
settings that fit them, see ``fitted``:

- The error is a sum over the values of an image, so at twice the side it is four times as large, and the entropy's
  weight that keeps the balance is four times as large: the weight is a constant times C H W.
- The schedule is counted in optimiser steps: an epoch of a folder of 600 images has 4 of them, one of 60,000 has
  486.

- The moving average of the weights leaves less error on all sets that were measured. Augmentation does so on some
  sets and harms others, and images do not tell which they are: it is suggested in words.

``results/measures/defaults.json`` holds what the numbers were chosen by, and ``schedules.json`` what the average
and augmentation bring; ``tools/defaults.py`` and ``tools/schedules.py`` measure it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entropic_ae.data import DATASETS, ImageData
from entropic_ae.recipes.presets import PRESETS, preset_for
from entropic_ae.recipes.recipe import Recipe, Scalar
from entropic_ae.recipes.settings import System, configure
from entropic_ae.recipes.systems import RECIPES
from entropic_ae.registry import Registry

__all__ = ["PAPER", "PAPER_WIDTH", "SIZES", "Size", "fitted"]

PAPER_WIDTH = 128
_CPU_WIDTH = 16
ENTROPY = 1 / 3072  # weight per value of an image: twice the paper's for CIFAR-10, 0.505 / 3072
DISCRETE_ENTROPY = 1 / 512  # that of how an alphabet is used: 2 for an image of MNIST
_BITS = 2  # values of a code of a finite alphabet in the place of a number
_BATCH = 100
_LEAST_BATCHES = 4  # an epoch, of a small set
_SMALLEST = 16  # images of a batch, if the set has them
_FEWEST, _MOST = 2, 5000  # epochs: the steps of medium, of a set of four minibatches
_STOP_RATE = 0.01
EMA = 0.99  # decay of the average of the weights
_PARTS = ("bottleneck", "terms", "transport")  # which decide what other settings there are


@dataclass(frozen=True)
class Size:
    """How large the networks are and how long they train.

    Attributes:
        name: as in ``--size``.
        summary: in one line.
        width: channels of the first convolution.
        steps: optimiser steps of the whole training, rounded up to epochs, of which there are 2 at least.
        learning_rate: the initial one.
        patience_steps, stop_after: as in ``training.Settings``.

    >>> SIZES["small"].steps
    3000
    """

    name: str
    summary: str
    width: int
    steps: int
    learning_rate: float
    patience_steps: int
    stop_after: int


PAPER = "paper"  # the size that leaves the numbers of the preset as they are
_SMALL = Size("small", "width 16, 3,000 steps", _CPU_WIDTH, 3_000, 2e-3, 300, 1_000)
_MEDIUM = Size("medium", "width 64, 20,000 steps", 64, 20_000, 1e-3, 1_000, 4_000)
SIZES: Registry[Size | None] = Registry("size", {"small": _SMALL, "medium": _MEDIUM, PAPER: None})


def fitted(
    recipe: Recipe,
    images: ImageData,
    given: Mapping[str, Scalar],
    *,
    preset: str | None = None,
    named: bool = False,
    size: str | None = None,
    gpu: bool = False,
    processes: int = 1,
) -> dict[str, Scalar]:
    """Return the settings that fit the device and the images, without those that are given.

    Without a size, a preset that is registered for the images, or named, keeps its numbers, but for the width on a
    CPU. Other images get the schedule of ``small`` on a CPU and of ``medium`` on a GPU, there with the paper's
    width. Networks that are not the preset's have no width to choose, and custom recipes keep their weights.

    Arguments:
        recipe: the system.
        images: whose number, shape and source count.
        given: settings that are given; the others fit them.
        preset: a name in ``PRESETS``; default: that of the images.
        named: whether the preset was chosen by its name, so that its numbers are kept.
        size: a name in ``SIZES``; ``paper`` gives no settings at all.
        gpu: whether the device is one.
        processes: that share each minibatch.

    Raises: InputError for an unknown name.

    >>> from entropic_ae.data import load_images
    >>> fitted(RECIPES["eae"], load_images("digits"), {})
    {}
    >>> fitted(RECIPES["eae"], load_images("digits"), {"epochs": 3}, size="small")["width"]
    16
    """
    registered = images.source in DATASETS and images.source in PRESETS
    own = not named and not registered
    name = preset or (images.source if registered else preset_for(images.shape))
    scale = SIZES.find(size) if size is not None else None
    if size == PAPER:
        return {}
    parts = {key: value for key, value in given.items() if key in _PARTS}
    system = configure(recipe, PRESETS.find(name), parts)
    known = system.settings()
    found: dict[str, Scalar] = {}
    if _takes_width(system):
        usual = PAPER_WIDTH if gpu else _CPU_WIDTH
        if scale is not None:
            found["width"] = scale.width
        elif own or known["width"] == PAPER_WIDTH:
            found["width"] = usual
    if own:
        found |= _of_images(system, images)
    found = {key: value for key, value in found.items() if key in known and key not in given}
    if own or scale is not None:
        system = system.with_settings({**found, **{key: given[key] for key in given if key in known}})
        found |= _schedule(system, given, images, scale or (_MEDIUM if gpu else _SMALL), processes)
    own_rate = {**recipe.network, **recipe.settings.get(name, {})}
    return {
        key: value
        for key, value in found.items()
        if key in known and key not in given and (key != "learning_rate" or key not in own_rate)
    }


def _takes_width(system: System) -> bool:
    """Return whether the networks are those of the preset, and have a width that the recipe leaves open."""
    recipe = system.recipe
    own = {**recipe.network, **recipe.settings.get(system.preset.name, {})}
    return (
        recipe.encoder is None and recipe.decoder is None and "width" not in own and "width" in system.settings()
    )


def _of_images(system: System, images: ImageData) -> dict[str, Scalar]:
    """Return the length of a code and the weight of the entropy, by the shape, and the decay of the average."""
    sides = images.shape[1:]
    discrete = system.recipe.is_discrete
    length = latent_dim(max(sides), images.shape[0]) * (_BITS if discrete else 1)
    found: dict[str, Scalar] = {"latent_dim": length, "ema": EMA}
    if system.recipe.name in RECIPES.builtin:
        weight = DISCRETE_ENTROPY if discrete else ENTROPY
        found["entropy"] = float(f"{weight * math.prod(images.shape):.3g}")
    return found


def latent_dim(side: int, channels: int) -> int:
    """Return the length of a code for images of a side in pixels.

    >>> latent_dim(32, 3), latent_dim(32, 1), latent_dim(128, 3)
    (64, 32, 128)
    """
    return max(8, min(128, side * (2 if channels > 1 else 1)))


def _schedule(
    system: System, given: Mapping[str, Scalar], images: ImageData, size: Size, processes: int
) -> dict[str, Scalar]:
    """Return batch size, epochs and the rules of the learning rate, for the number of training images."""
    number = len(images.train.images)
    if "batch_size" in given:
        batch = min(number, system.preset.training.batch_size)
    else:
        wanted = max(number // _LEAST_BATCHES, _SMALLEST, _least_batch(system, images))
        batch = max(2, min(_BATCH, wanted, number) // processes * processes)
    per_epoch = number // batch
    return {
        "batch_size": batch,
        "epochs": max(_FEWEST, min(_MOST, math.ceil(size.steps / per_epoch))),
        "learning_rate": size.learning_rate,
        "patience": 1,  # the steps decide
        "patience_steps": 0 if "patience" in given else size.patience_steps,  # the larger one counts
        "stop_after": size.stop_after,
        "stop_rate": _STOP_RATE,
    }


def _least_batch(system: System, images: ImageData) -> int:
    """Return the smallest batch that the bottleneck and the terms accept."""
    narrow = {"width": 1} if "width" in system.settings() else {}
    model, objective = system.with_settings(narrow).build(images.shape, classes=images.classes)
    return max(model.bottleneck.least_batch, *(term.least_batch_of(model) for term in objective.terms))
