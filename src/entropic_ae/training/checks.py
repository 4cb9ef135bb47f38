"""Validation before training: data, batch sizes, and the processes that share them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.errors import InputError
from entropic_ae.terms import Objective
from entropic_ae.training.augment import NONE
from entropic_ae.training.batches import EqualBatches, length
from entropic_ae.training.execution import Execution
from entropic_ae.training.settings import Settings

__all__ = ["check_preview", "check_training", "minibatches_to_settle"]

_SPANS = 10  # of a running average, until its initial value is negligible


def check_training(
    model: Autoencoder,
    objective: Objective,
    train: Tensor | Dataset[Tensor],
    validation: Tensor | Dataset[Tensor],
    settings: Settings,
    execution: Execution,
    labels: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Raise InputError if training cannot work; the arguments are those of ``fit``.

    Checked are the type of the data, that they suffice for the smallest batch of each part and for all processes,
    that the processes share each minibatch evenly, and the labels of a conditional model.
    """
    if model.labels is not None:
        for one, its_labels in zip((train, validation), labels or (None, None), strict=True):
            model.labels.checked(its_labels, length(one))
    data = {"training": train, "validation": validation}
    images = any(isinstance(one, Tensor) and not one.is_floating_point() for one in data.values())
    for name, one in data.items():
        if length(one) < 2 or (images and not (isinstance(one, Tensor) and _is_image_batch(one))):
            got = f"{one.dtype} of shape {tuple(one.shape)}" if isinstance(one, Tensor) else f"{length(one)} rows"
            raise InputError(
                f"expected at least 2 {name} images as uint8 (N, C, H, W), or rows of floats for both "
                f"training and validation, got {got}."
            )
    if settings.augment != NONE and not images:
        raise InputError(
            f"augment={settings.augment} changes images, expected uint8 (N, C, H, W), got rows of floats; set "
            f"augment={NONE}."
        )
    validated = settings.validated(length(validation))
    batches = {
        "training": min(length(train), settings.batch_size),
        "validation": min(map(len, EqualBatches(validated, settings.batch_size))),
    }
    least = model.bottleneck.least_batch
    if batches["training"] < least:
        raise InputError(
            f"{type(model.bottleneck).__name__} needs batches of at least {least} images in training, got "
            f"{batches['training']}; raise batch_size or give more images."
        )
    for term in objective.terms:
        for name, smallest in batches.items():
            if smallest < (least := term.least_batch_of(model)):
                raise InputError(
                    f"{term.name} needs batches of at least {least} images, got {smallest} in "
                    f"{name}; raise batch_size or give more images."
                )
    count, fewest = execution.processes, min(length(train), validated)
    if settings.batch_size % count:
        raise InputError(f"batch_size must be a multiple of the {count} processes, got {settings.batch_size}.")
    if count > 1 and fewest < 2 * count:
        raise InputError(f"{count} processes need at least {2 * count} images to share, got {fewest}; take fewer.")


def _is_image_batch(data: Tensor) -> bool:
    return data.dtype == torch.uint8 and data.dim() == 4


def minibatches_to_settle(model: nn.Module) -> int:
    """Return the minibatches after which the initial values of a model's running averages are negligible.

    Before, evaluation says little of a model, which it judges by these averages. 0 for a model without any.

    >>> minibatches_to_settle(nn.BatchNorm1d(4, momentum=0.1)), minibatches_to_settle(nn.Linear(4, 4))
    (100, 0)
    """
    found = (getattr(module, "momentum", None) for module in model.modules())
    momenta = [momentum for momentum in found if isinstance(momentum, float | int) and momentum > 0]
    return math.ceil(_SPANS / min(momenta)) if momenta else 0


def check_preview(every: int | None) -> None:
    """Raise InputError unless a number of epochs between two previews is at least 0.

    >>> check_preview(None), check_preview(0)
    (None, None)
    """
    if every is not None and every < 0:
        raise InputError(f"preview_every must be at least 1 epoch, or 0 for no preview, got {every}.")
