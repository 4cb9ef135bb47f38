"""The training schedule, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from entropic_ae.errors import InputError
from entropic_ae.training.augment import augmentations

__all__ = ["Settings"]

_OF_AN_AVERAGE = 20  # minibatches: a running average of momentum 0.1 weighs about as many


@dataclass(frozen=True)
class Settings:
    """The published schedule: Adam, the learning rate halved when the validation loss stops falling.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per minibatch; a smaller last minibatch is left out of each shuffled pass.
        learning_rate: initial learning rate of Adam.
        patience: epochs without a lower validation loss before the learning rate is reduced.
        factor: the learning rate is multiplied by it at each reduction.
        validation_images: number of validation images, the first ones, that choose the best epoch and reduce the
            learning rate; 0 takes all.
        encoder_rate, decoder_rate: factors on the learning rate of the encoder's and the decoder's weights. An
            encoder of factor 0 stays as it is, and so does the bottleneck: neither weights nor running averages
            change, and codes are those of evaluation.
        patience_steps: the patience is at least so many optimiser steps, rounded up to epochs; 0 counts epochs
            alone.
        stop_after: training ends when so many optimiser steps, rounded up to epochs, have brought no lower
            validation loss; 0 never ends it early.
        stop_rate: training ends when the learning rate falls below this share of the initial one; 0 never does.
        ema: decay of the exponential moving average of the weights that is validated and saved, see
            ``training.averaging``; 0 validates and saves the weights themselves.
        augment: random changes of the training images, ``none`` or names joined by ``+``, see
            ``training.augment``.
        statistics_batches: minibatches from which the running averages of norms and bottlenecks are estimated anew
            before each validation, at most one epoch's; 0 keeps the averages of training, or with ``ema``, whose
            weights need their own, takes 20.
        beta2: decay of Adam's average of squared gradients. An average over 1 / (1 - beta2) steps remembers the
            large gradients of the first steps, and divides by them, for as long; 0 takes the newest alone.

    >>> Settings(epochs=20).batch_size
    100
    """

    epochs: int = 100
    batch_size: int = 100
    learning_rate: float = 5e-4
    patience: int = 5
    factor: float = 0.5
    validation_images: int = 0
    encoder_rate: float = 1.0
    decoder_rate: float = 1.0
    patience_steps: int = 0
    stop_after: int = 0
    stop_rate: float = 0.0
    ema: float = 0.0
    augment: str = "none"
    statistics_batches: int = 0
    beta2: float = 0.999

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < (least := 2 if name == "batch_size" else 1):
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("learning_rate", "decoder_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a finite number above 0, got {getattr(self, name)}.")
        if not (math.isfinite(self.encoder_rate) and self.encoder_rate >= 0):
            raise InputError(
                f"encoder_rate must be a finite number above 0, or 0 for an encoder that stays as it is, got "
                f"{self.encoder_rate}."
            )
        if not 0 < self.factor <= 1:
            raise InputError(f"factor must be above 0 and at most 1, got {self.factor}.")
        if self.validation_images < 0 or self.validation_images == 1:
            raise InputError(f"validation_images must be at least 2, or 0 for all, got {self.validation_images}.")
        for name in ("patience_steps", "stop_after"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 1 step, or 0 for none, got {getattr(self, name)}.")
        if self.statistics_batches < 0:
            raise InputError(
                "statistics_batches must be at least 1 minibatch, or 0 for the averages of training, got "
                f"{self.statistics_batches}."
            )
        for name in ("stop_rate", "ema", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}.")
        augmentations(self.augment)

    def patience_of(self, per_epoch: int) -> int:
        """Return the patience in epochs, for so many optimiser steps per epoch.

        >>> Settings(patience=5, patience_steps=301).patience_of(10), Settings(patience=5).patience_of(10)
        (31, 5)
        """
        return max(self.patience, math.ceil(self.patience_steps / per_epoch))

    def estimating(self, per_epoch: int) -> int:
        """Return how many minibatches estimate running averages anew, of so many per epoch; 0 if none do.

        >>> [one.estimating(100) for one in (Settings(), Settings(ema=0.99), Settings(statistics_batches=500))]
        [0, 20, 100]
        """
        wanted = self.statistics_batches or (_OF_AN_AVERAGE if self.ema else 0)
        return min(wanted, per_epoch)

    def validated(self, available: int) -> int:
        """Return how many of the available validation images are used.

        >>> Settings(validation_images=500).validated(10_000), Settings().validated(10_000)
        (500, 10000)
        """
        return min(available, self.validation_images or available)
