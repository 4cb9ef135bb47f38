"""What a logger gets besides each epoch's losses: pictures of samples, and the epochs before a run was resumed."""

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
    """Log a grid of samples every few epochs, and of the last; the same draws each time.

    It is logged before the epoch's checkpoint is written: a run that is killed between draws it again.

    Arguments:
        name: of the logger, in ``LOGGERS``.
        draw: returns the samples, uint8 (N, C, H, W), of the model as it is.
        every: epochs between two pictures.
    """

    def __init__(self, name: str, draw: Callable[[], Tensor], every: int) -> None:
        self.log_picture = LOGGERS[name].log_picture
        self.draw = draw
        self.every = every

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Draw, if it is time."""
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero and (epoch % self.every == 0 or epoch == trainer.max_epochs):
            self.log_picture(trainer.logger, image_grid(self.draw()), epoch)


class EarlierEpochs(Callback):
    """Give the logger of a resumed run the rows of the epochs before, where it has not kept them itself.

    Arguments:
        name: of the logger, in ``LOGGERS``.
        log: the run's log.csv, which training has brought up to its checkpoint before.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.resume = LOGGERS[name].resume
        self.file = log

    def on_fit_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Log the rows, if there are any and they are not there yet."""
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
