"""What a training was understood to be, told before it starts in at most four lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from entropic_ae.data import DATASETS, Copies, ImageData, needed_for
from entropic_ae.recipes import PAPER_WIDTH, System
from entropic_ae.training.augment import NONE

__all__ = ["Overview", "overview_of"]

_COLUMNS = 80
_NAMED = 3  # damaged images named
_FEW = 100  # training images; of fewer a network learns little but them
_AUGMENTED = 1000  # training images, of fewer of which augmentation may make more


_ADVICE = "few: --set augment=mirror+shift+crop helps mixed photographs, harms digits"


@dataclass(frozen=True)
class Overview:
    r"""What a training was understood to be.

    Attributes:
        images: number of images by split.
        shape: (C, H, W) of an image.
        classes: number of classes; None without labels.
        copies: images that equal an earlier one.
        damaged: names of images that cannot be read.
        passed_over: number of files that are no images here, by suffix; hidden ones are not counted.
        parameters: number of trained weights and biases.
        device: cpu, cuda or mps.
        width: of the networks, if the device chose it; else None.
        epochs, steps: passes over the training images and optimiser steps, at most: training may end earlier.
        batch_size: images of a minibatch.
        augmentable: whether the images are few, one's own, and not augmented.

    >>> counts = {"train": 486, "validation": 54, "test": 60}
    >>> left_out = {"copies": 2, "damaged": ("a.png",), "passed_over": {"pdf": 1}}
    >>> numbers = {"parameters": 310_000, "device": "cpu", "epochs": 750, "steps": 3000, "batch_size": 100}
    >>> print(*Overview(counts, (3, 32, 32), 10, width=16, **left_out, **numbers).lines(), sep="\n")
    600 images, 32x32 RGB, 10 classes: 486 train, 54 validate, 60 test
    left out 1 damaged (a.png), 1 .pdf; 2 exact copies
    0.31 M weights on cpu, width 16 (paper: 128); 750 epochs, 3,000 steps of 100
    """

    images: Mapping[str, int]
    shape: tuple[int, int, int]
    classes: int | None
    copies: int
    damaged: tuple[str, ...]
    passed_over: Mapping[str, int]
    parameters: int
    device: str
    width: int | None
    epochs: int
    steps: int
    batch_size: int
    augmentable: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the attributes as JSON has them."""
        return {**asdict(self), "shape": list(self.shape), "damaged": list(self.damaged)}

    def lines(self) -> list[str]:
        """Return at most four lines of at most 80 columns, as far as numbers and names allow."""
        left_out, advice = self._left_out(), [_ADVICE] * self.augmentable
        weights = f"{self.parameters / 1e6:.2f} M weights on {self.device}"
        epochs = f"{self.epochs:,} epoch{'s' * (self.epochs != 1)}"
        schedule = f"{epochs}, {self.steps:,} steps of {self.batch_size}"
        if self.width is None:
            return [self._images(), *left_out, f"{weights}; {schedule}", *advice]
        paper = "" if self.width == PAPER_WIDTH else f" (paper: {PAPER_WIDTH})"
        whole = f"{weights}, width {self.width}{paper}; {schedule}"
        networks = _first_fitting(whole, f"{weights}, width {self.width}; {schedule}")
        return [self._images(), *left_out, networks, *advice]

    def _images(self) -> str:
        channels, height, width = self.shape
        kind = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
        labels = "" if self.classes is None else f", {self.classes:,} classes"
        train, validation, test = (self.images[name] for name in ("train", "validation", "test"))
        few = ": few" * (train < _FEW)
        whole = f"{sum(self.images.values()):,} images, {width}x{height} {kind}{labels}"
        return _first_fitting(
            f"{whole}: {train:,} train{few}, {validation:,} validate, {test:,} test",
            f"{whole} ({train:,} + {validation:,} + {test:,})",
        )

    def _left_out(self) -> list[str]:
        """Return a line on what is left out and what is there twice, or none."""
        needs = {suffix: needed_for(suffix) for suffix in self.passed_over}
        files = [
            f"{count:,} {f'.{suffix}' if suffix else 'without suffix'}"
            + (f" (needs {needs[suffix]})" if needs[suffix] else "")
            for suffix, count in self.passed_over.items()
        ]
        some = ", ".join(self.damaged[:_NAMED]) + ", ..." * (len(self.damaged) > _NAMED)
        copies = f"{self.copies:,} exact cop{'y' if self.copies == 1 else 'ies'}"

        def line(damaged: str, files: list[str]) -> str:
            parts = [f"{len(self.damaged):,} damaged{damaged}"] * bool(self.damaged) + files
            left = [f"left out {', '.join(parts)}"] * bool(parts)
            return "; ".join([*left, *[copies] * bool(self.copies)])

        total = [f"{sum(self.passed_over.values()):,} files of other kinds"] * bool(files)
        found = _first_fitting(line(f" ({some})", files), line("", files), line("", total))
        return [found] if found else []


def _first_fitting(*lines: str) -> str:
    """Return the first line that fits, or the last one."""
    return next((line for line in lines if len(line) <= _COLUMNS), lines[-1])


def overview_of(
    images: ImageData, copies: Copies, system: System, model: nn.Module, device: torch.device, *, chosen: bool
) -> Overview:
    """Return what a training is.

    Arguments:
        images: to train on.
        copies: among them.
        system: the recipe with its settings.
        model: the model that is trained.
        device: of the training.
        chosen: whether the device chose the width.

    >>> from entropic_ae.data import count_copies, load_images
    >>> from entropic_ae.recipes import system_for
    >>> digits = load_images("digits")
    >>> system = system_for("eae", digits, {"width": 2})
    >>> model, _ = system.build(digits.shape)
    >>> found = overview_of(digits, count_copies(digits), system, model, torch.device("cpu"), chosen=False)
    >>> found.steps, found.batch_size
    (1000, 100)
    """
    settings, number = system.preset.training, len(images.train.images)
    batch = min(number, settings.batch_size)
    return Overview(
        images={name: len(getattr(images, name).images) for name in ("train", "validation", "test")},
        shape=images.shape,
        classes=images.classes,
        copies=copies.repeated,
        damaged=images.damaged,
        passed_over=dict(images.passed_over),
        parameters=sum(weights.numel() for weights in model.parameters()),
        device=device.type,
        width=int(system.settings()["width"]) if chosen else None,
        epochs=settings.epochs,
        steps=settings.epochs * (number // batch),
        batch_size=batch,
        augmentable=images.source not in DATASETS and number < _AUGMENTED and settings.augment == NONE,
    )
