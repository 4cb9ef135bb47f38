"""Callbacks for loggers: pictures of samples, and the earlier epochs of a resumed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from entropic_ae.pictures import image_grid
from entropic_ae.storage.log import read_log
from entropic_ae.training.loggers import LOGGERS

__all__ = ["EarlierEpochs", "SamplePictures"]


class SamplePictures(Callback):
    """Log a grid of samples every few epochs and after the last one, with the same draws each time.

    The grid is logged before the epoch's checkpoint is written: a run that is killed in between logs it again.

    Arguments:
        name: of the logger, in ``LOGGERS``.
        draw: returns samples, uint8 (N, C, H, W), of the current model.
        every: epochs between two pictures.
    """

    def __init__(self, name: str, draw: Callable[[], Tensor], every: int) -> None:
        self.log_picture = LOGGERS[name].log_picture
        self.draw = draw
        self.every = every

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Log a grid if one is due."""
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero and (epoch % self.every == 0 or epoch == trainer.max_epochs):
            self.log_picture(trainer.logger, image_grid(self.draw()), epoch)


class EarlierEpochs(Callback):
    """Log the earlier epochs of a resumed run if its logger has not kept them.

    Arguments:
        name: of the logger, in ``LOGGERS``.
        log: the run's log.csv, which matches the checkpoint by then.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.resume = LOGGERS[name].resume
        self.file = log

    def on_fit_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Log the rows that are missing."""
        if trainer.logger is None:
            return
        log = read_log(self.file)
        there: set[int] = set()
        if self.resume is not None and trainer.is_global_zero:
            there = self.resume(trainer.logger, len(log.get("epoch", [])))
        for values in zip(*log.values(), strict=True):
            row = dict(zip(log, values, strict=True))
            if row["epoch"] not in there:
                trainer.logger.log_metrics(row, step=int(row["epoch"]))
