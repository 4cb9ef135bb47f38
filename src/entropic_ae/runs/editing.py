"""Directions between classes in the space of the codes, and images that are moved along them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from entropic_ae import generation
from entropic_ae.errors import InputError
from entropic_ae.priors import Alphabet
from entropic_ae.runs.labels import Label, Labels, find_label, given_labels

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["direction", "edit"]


def direction(run: Run, toward: Label, away: Label | None, *, transported: bool) -> Tensor:
    """Return the direction between two classes: the implementation of ``Run.direction``."""
    if run.model.labels is not None:
        raise InputError(
            f"{run.name} is conditional: its decoder takes the label, and its codes have no direction for it; "
            "edit images by decoding them with another label."
        )
    labels = run.data.train.labels
    if labels is None:
        raise InputError(
            f"a direction toward {toward} needs images of two labels, and those of {run.info.data} have none; "
            "train on a folder for each class."
        )
    to, of = find_label(run, toward), None if away is None else find_label(run, away)
    if to == of:
        raise InputError(f"a direction is between two labels, got {to} twice; give another.")
    codes, _ = run.codes
    if not transported and run.transport is not None:
        codes = run.transport.inverse(codes.to(next(run.model.parameters()).device)).cpu()
    chosen = labels == to
    others = ~chosen if of is None else labels == of
    for label, there in ((to, chosen), (of, others)):
        if not there.any():
            raise InputError(
                f"{run.info.data} has no training images "
                f"{'of another label' if label is None else f'of label {label}'}; give a label that it has."
            )
    return (codes[chosen].double().mean(0) - codes[others].double().mean(0)).float()


def edit(
    run: Run, images: Tensor, toward: Label, away: Label | None, strength: float, labels: Labels | None
) -> Tensor:
    """Change images toward a class: the implementation of ``Run.edit``."""
    if not math.isfinite(strength):
        raise InputError(f"strength must be a finite number, got {strength}; 1 moves one class onto the other.")
    if run.model.labels is None:
        given_labels(run, labels, len(images))  # refuses labels
        step = strength * direction(run, toward, away, transported=False)
        prior = run.model.bottleneck.prior()
        with generation.without_transport(run.model):  # whose map would scatter the classes
            codes = generation.encode(run.model, images) + step
            if isinstance(prior, Alphabet):  # a part of a step changes a part of the values
                codes = prior.dithered(codes)
            return generation.decode(run.model, codes)
    if strength != 1 or away is not None:
        raise InputError(
            f"{run.name} is conditional: it decodes a code with another label, which has no strength, and is away "
            "from the image's own; leave both out."
        )
    codes = generation.encode(run.model, images, given_labels(run, labels, len(images)))
    return generation.decode(run.model, codes, given_labels(run, toward, len(images)))
