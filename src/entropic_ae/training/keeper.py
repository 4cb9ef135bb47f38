"""The keeper: the best weights, the log and the checkpoint of a training, and the decision to stop it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic
from entropic_ae.storage.log import write_log
from entropic_ae.storage.run_folder import CHECKPOINT, LOG, WEIGHTS
from entropic_ae.storage.tensors import write_tensors
from entropic_ae.training.settings import Settings
from entropic_ae.training.stopping import Stopped, stopped

__all__ = ["Keeper"]


class Keeper(Callback):
    """Keeps the best weights and the log, in memory and in the folder; the checkpoint holds both.

    An epoch is done when its checkpoint is written. The other files are derived from the checkpoint: if a run is
    killed before they are written, they are written when it is resumed.

    Arguments:
        folder: of the run, if there is one.
        settings: of the training.
    """

    def __init__(self, folder: Path | None, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.rates = [settings.encoder_rate, settings.decoder_rate]
        self.owed = False  # whether files of the latest epoch are still to be written
        self.best = math.inf
        self.weights: dict[str, Tensor] = {}
        self.rows: list[dict[str, float]] = []
        self.stopped: Stopped | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint holds beside Lightning's own state."""
        return {"best": self.best, "weights": self.weights, "rows": self.rows, **self._fixed()}

    def _fixed(self) -> dict[str, Any]:
        """Return the settings of the optimiser that a checkpoint fixes, since it holds the optimiser."""
        return {"rates": self.rates, "beta2": self.settings.beta2}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint; InputError if it was trained with other rates or another beta2."""
        before = {"rates": [1.0, 1.0], "beta2": 0.999} | {
            name: state[name] for name in self._fixed() if name in state
        }
        for name, now in self._fixed().items():
            if before[name] != now:
                shown = {"rates": "encoder_rate and decoder_rate"}.get(name, name)
                raise InputError(
                    f"the checkpoint has {shown} {before[name]}, got {now}; restore what it has, or train in "
                    "another folder."
                )
        self.best, self.weights, self.rows = state["best"], state["weights"], state["rows"]

    def on_fit_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Write the files that a killed run owes."""
        if self.folder is not None and trainer.is_global_zero and self.rows:
            self._write(self.folder, better=True)

    def on_train_start(self, trainer: Trainer, task: Any) -> None:
        """Do not train on a resumed run that has stopped and still meets the rule by which it did."""
        self._decide(trainer, task)
        if self.stopped is not None and trainer.is_global_zero:
            warnings.warn(
                f"{self.stopped}; nothing more is trained: to train on, set stop_after and stop_rate to values "
                "that it does not meet, such as 0, and epochs to the total wanted.",
                stacklevel=1,  # Lightning's own warnings are silenced, by the module that they come from
            )

    def on_train_epoch_end(self, trainer: Trainer, task: Any) -> None:
        """Keep the epoch."""
        row = dict(task.row)
        if better := row["validation_loss"] < self.best:
            self.best = row["validation_loss"]
            self.weights = {name: t.detach().cpu().clone() for name, t in task.model.state_dict().items()}
        if task.validated is not None:
            task.validated.leave()
        self.rows = [*self.rows, row]
        if trainer.logger is not None:
            # flushed before the checkpoint is written, so every finished epoch is logged; an epoch killed in
            # between is logged again when the run is resumed
            trainer.logger.log_metrics(row, step=trainer.current_epoch + 1)
            trainer.logger.save()
        if self.folder is not None and not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder / CHECKPOINT)  # all processes take part, one writes
        elif self.folder is not None:
            self.owed = True
            try:
                with atomic(self.folder / CHECKPOINT) as path:
                    trainer.save_checkpoint(path)
            finally:  # even if the disk has no space for the checkpoint: the weights are smaller
                self._write(self.folder, better)
        self._decide(trainer, task)

    def _decide(self, trainer: Trainer, task: Any) -> None:
        losses = [row["validation_loss"] for row in self.rows]
        rate = task.learning_rate / self.settings.learning_rate
        self.stopped = stopped(losses, rate, self.settings, task.batches.per_epoch)
        trainer.should_stop |= self.stopped is not None  # a callback may stop it, too

    def _write(self, folder: Path, better: bool) -> None:
        if better:
            write_tensors(folder / WEIGHTS, self.weights)
        write_log(folder / LOG, self.rows)
        self.owed = False

    def finish(self) -> None:
        """Write the files that Ctrl-C interrupted."""
        if self.owed and self.folder is not None:
            self._write(self.folder, better=bool(self.weights))

    def restore(self, model: Autoencoder) -> None:
        """Give a model the best weights."""
        if self.weights:
            model.load_state_dict(self.weights)
