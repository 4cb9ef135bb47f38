"""Loggers by name: Lightning's own, with a picture of samples every few epochs.

A logger is a row of ``LOGGERS``: how it is made, and how it takes a picture.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.pictures import image_grid, save_images
from entropic_ae.storage.log import read_log

__all__ = ["LOGGERS", "EarlierEpochs", "SamplePictures", "check_logger", "close_logger", "make_logger"]

FOLDER = "logs"
_PICTURE = "samples"
_PROJECT = "entropic-ae"  # where wandb and mlflow file a run
_MLFLOW_URI = "MLFLOW_TRACKING_URI"
_PATIENCE = 10  # seconds for a server to answer


class _Kind(NamedTuple):
    """How a logger is made, of the run folder; takes the picture of an epoch, uint8 (C, H, W); and is closed.

    ``check`` raises InputError where its server would not take a run. ``go_on`` makes that of a resumed run add to
    what was logged up to an epoch, and returns the epochs that it has; without it, it begins anew.
    """

    package: str
    make: Callable[[Path], Logger]
    log_picture: Callable[[Any, Tensor, int], None]
    close: Callable[[Any], None] = lambda _: None
    check: Callable[[], None] = lambda: None
    go_on: Callable[[Any, int], set[int]] | None = None


def _csv(folder: Path) -> Logger:
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(folder, name=FOLDER, version="")


def _csv_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    save_images(picture, Path(logger.log_dir) / f"{_PICTURE}-{epoch:04d}.png", overwrite=True)


def _tensorboard(folder: Path) -> Logger:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name=FOLDER, version="", default_hp_metric=False)


def _tensorboard_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    logger.experiment.add_image(_PICTURE, picture, epoch)


def _tensorboard_go_on(logger: Any, epoch: int) -> set[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    before = EventAccumulator(logger.log_dir, size_guidance={"scalars": 0, "images": 1}).Reload()
    logged = before.Scalars("epoch") if "epoch" in before.Tags()["scalars"] else []
    # TensorBoard then forgets later steps: of epochs that were logged, though killed before they were done
    start = Event(step=epoch + 1, session_log=SessionLog(status=SessionLog.START))
    logger.experiment.file_writer.add_event(start)
    return {event.step for event in logged}


def _wandb_check() -> None:
    import wandb

    if wandb.setup().settings.mode in ("online", "shared"):
        try:
            wandb.login()
        except wandb.Error as error:
            raise InputError(
                f"wandb takes no run of yours ({str(error).splitlines()[0]}); run wandb login, or set "
                "WANDB_MODE=offline, which keeps it in the run folder."
            ) from None


def _wandb(folder: Path) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    (folder / FOLDER).mkdir(parents=True, exist_ok=True)  # else wandb takes a folder of the system's
    return WandbLogger(name=folder.name, project=_PROJECT, save_dir=folder / FOLDER)


def _wandb_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    logger.log_image(key=_PICTURE, images=[picture.permute(1, 2, 0).numpy()], step=epoch)


def _mlflow_check() -> None:
    server = urlsplit(os.environ.get(_MLFLOW_URI, ""))
    if server.scheme not in ("http", "https"):
        return
    port = server.port or {"http": 80, "https": 443}[server.scheme]
    try:  # mlflow itself would try again for minutes, without a word
        socket.create_connection((server.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"the server of {_MLFLOW_URI}, {server.hostname}:{port}, cannot be reached ({error}); start it, or "
            f"unset {_MLFLOW_URI}, which keeps the log in the run folder."
        ) from None


def _mlflow(folder: Path) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    uri = os.environ.get(_MLFLOW_URI)
    if uri is None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow asks for it since version 3
        uri = (folder / FOLDER).resolve().as_uri()
    return MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=uri)


def _mlflow_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save_images(picture, Path(folder) / f"{_PICTURE}-{epoch:04d}.png")
        logger.experiment.log_artifact(logger.run_id, str(path))


LOGGERS: dict[str, _Kind] = {
    "csv": _Kind("csv", _csv, _csv_picture),
    "tensorboard": _Kind("tensorboard", _tensorboard, _tensorboard_picture, go_on=_tensorboard_go_on),
    "wandb": _Kind("wandb", _wandb, _wandb_picture, lambda logger: logger.experiment.finish(), _wandb_check),
    "mlflow": _Kind("mlflow", _mlflow, _mlflow_picture, check=_mlflow_check),
}


def check_logger(name: str | None, every: int = 1) -> None:
    """Raise InputError for a logger that cannot be had, or pictures more often than every epoch.

    It may be unknown, not installed, without a login (wandb) or without its server (mlflow).

    >>> check_logger("csv")
    """
    if name is not None and name not in LOGGERS:
        raise unknown_name("logger", name, LOGGERS)
    if name is not None and find_spec(LOGGERS[name].package) is None:
        raise InputError(
            f"the logger '{name}' needs the package {LOGGERS[name].package}; run "
            f"pip install 'entropic-ae[{name}]'."
        )
    if every < 1:
        raise InputError(f"pictures can be logged every epoch or more rarely, got every {every} epochs.")
    if name is not None:
        LOGGERS[name].check()


def make_logger(name: str, folder: Path) -> Logger:
    """Return Lightning's logger of that name, which writes into ``logs`` of the run folder.

    wandb and mlflow go where their own settings (``WANDB_MODE``, ``MLFLOW_TRACKING_URI``) say, if they do.

    The name has passed ``check_logger``.

    >>> type(make_logger("csv", Path("runs/a"))).__name__
    'CSVLogger'
    """
    return LOGGERS[name].make(folder)


def close_logger(name: str, logger: Logger) -> None:
    """Let a logger of that name end, where Lightning does not: the next run would go on in this one's.

    >>> close_logger("csv", make_logger("csv", Path("runs/a")))
    """
    LOGGERS[name].close(logger)


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
        self.go_on = LOGGERS[name].go_on
        self.file = log

    def on_fit_start(self, trainer: Trainer, task: LightningModule) -> None:  # noqa: ARG002
        """Log the rows, if there are any and they are not there yet."""
        if trainer.logger is None:
            return
        log = read_log(self.file)
        there: set[int] = set()
        if self.go_on is not None and trainer.is_global_zero:
            there = self.go_on(trainer.logger, len(log.get("epoch", [])))
        for values in zip(*log.values(), strict=True):
            row = dict(zip(log, values, strict=True))
            if row["epoch"] not in there:
                trainer.logger.log_metrics(row, step=int(row["epoch"]))
