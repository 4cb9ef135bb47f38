"""Early stopping: a rule on the validation losses and the learning rate, the same after a resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from entropic_ae.training.settings import Settings

__all__ = ["STOP_SETTINGS", "Stopped", "stopped"]

STOP_SETTINGS = ("stop_after", "stop_rate")  # which may be changed in a resumed run, as epochs may


@dataclass(frozen=True)
class Stopped:
    """A training that ended before its last epoch.

    Attributes:
        epoch: the last one, from 1.
        steps: optimiser steps up to its end.
        reason: why, as part of a sentence.
        rule: the setting that ended it, of ``STOP_SETTINGS``.
    """

    epoch: int
    steps: int
    reason: str
    rule: str

    def record(self) -> dict[str, Any]:
        """Return the entry ``stopped`` of run.json."""
        return asdict(self)

    def __str__(self) -> str:
        return f"training stopped after epoch {self.epoch}: {self.reason}"


def stopped(losses: Sequence[float], rate: float, settings: Settings, per_epoch: int) -> Stopped | None:
    """Return why training ends after these epochs; None if it goes on, or has had all epochs.

    Arguments:
        losses: the validation loss of each epoch so far.
        rate: the learning rate of the next epoch, as a share of the initial one.
        settings: ``stop_after``, ``stop_rate`` and ``epochs``.
        per_epoch: optimiser steps of an epoch.

    >>> print(stopped([3.0, 2.0, 2.5, 2.5], 1.0, Settings(stop_after=20), per_epoch=10))
    training stopped after epoch 4: 20 steps brought no lower validation loss than epoch 2 (stop_after=20)
    """
    done = len(losses)
    if not done or done >= settings.epochs:
        return None
    best = losses.index(min(losses)) + 1
    reason = rule = ""
    if settings.stop_after and done - best >= math.ceil(settings.stop_after / per_epoch):
        rule = "stop_after"
        reason = f"{(done - best) * per_epoch} steps brought no lower validation loss than epoch {best}"
        reason += f" (stop_after={settings.stop_after})"
    elif rate < settings.stop_rate:
        rule = "stop_rate"
        reason = f"the learning rate fell to {rate:.2g} of the initial one (stop_rate={settings.stop_rate:g})"
    return Stopped(done, done * per_epoch, reason, rule) if rule else None
