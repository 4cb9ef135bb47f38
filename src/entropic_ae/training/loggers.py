"""Loggers by name: Lightning's loggers, with a picture of samples every few epochs.

A logger is a row of ``LOGGERS``: how it is created, and how a picture is logged with it.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from torch import Tensor

from entropic_ae.errors import InputError
from entropic_ae.pictures import save_images
from entropic_ae.registry import Registry
from entropic_ae.storage.run_folder import LOGS

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

__all__ = ["LOGGERS", "LoggerKind", "check_logger", "close_logger", "make_logger"]

_PICTURE = "samples"
_PROJECT = "entropic-ae"  # project of a run in wandb, experiment in mlflow
_MLFLOW_URI = "MLFLOW_TRACKING_URI"
_PATIENCE = 10  # timeout of a server, in seconds


class LoggerKind(NamedTuple):
    """How a logger works: a row of ``LOGGERS``.

    Attributes:
        make: called with the run folder, returns a Lightning logger.
        log_picture: called with the logger, a picture (uint8, (C, H, W)) and its epoch, from 1; by default no
            picture is logged.
        close: called with the logger at the end, if Lightning does not close it.
        check: raises InputError if the server does not accept runs.
        resume: called with the logger of a resumed run and the epoch of its checkpoint; lets the logger append to
            its log and returns the epochs that it already holds. Default: it holds none.
        package: the required package.

    >>> from pytorch_lightning.loggers import CSVLogger
    >>> kind = LoggerKind(lambda folder: CSVLogger(folder / "logs"))
    >>> type(kind.make(Path("runs/a"))).__name__
    'CSVLogger'
    """

    make: Callable[[Path], Logger]
    log_picture: Callable[[Any, Tensor, int], None] = lambda *_: None
    close: Callable[[Any], None] = lambda _: None
    check: Callable[[], None] = lambda: None
    resume: Callable[[Any, int], set[int]] | None = None
    package: str | None = None


def _csv(folder: Path) -> Logger:
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(folder, name=LOGS, version="")


def _csv_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    save_images(picture, Path(logger.log_dir) / f"{_PICTURE}-{epoch:04d}.png", overwrite=True)


def _tensorboard(folder: Path) -> Logger:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name=LOGS, version="", default_hp_metric=False)


def _tensorboard_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    logger.experiment.add_image(_PICTURE, picture, epoch)


def _tensorboard_resume(logger: Any, epoch: int) -> set[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    before = EventAccumulator(logger.log_dir, size_guidance={"scalars": 0, "images": 1}).Reload()
    logged = before.Scalars("epoch") if "epoch" in before.Tags()["scalars"] else []
    # TensorBoard then drops later steps: epochs that were logged but killed before their checkpoint
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
                f"wandb refuses to log in ({str(error).splitlines()[0]}); run wandb login, or set "
                "WANDB_MODE=offline, which keeps the log in the run folder."
            ) from None


def _wandb(folder: Path) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    (folder / LOGS).mkdir(parents=True, exist_ok=True)  # otherwise wandb uses a system folder
    return WandbLogger(name=folder.name, project=_PROJECT, save_dir=folder / LOGS)


def _wandb_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    logger.log_image(key=_PICTURE, images=[picture.permute(1, 2, 0).numpy()], step=epoch)


def _mlflow_check() -> None:
    server = urlsplit(os.environ.get(_MLFLOW_URI, ""))
    if server.scheme not in ("http", "https"):
        return
    port = server.port or {"http": 80, "https": 443}[server.scheme]
    try:  # mlflow itself would retry silently for minutes
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
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # required since mlflow 3
        uri = (folder / LOGS).resolve().as_uri()
    return MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=uri)


def _mlflow_picture(logger: Any, picture: Tensor, epoch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save_images(picture, Path(folder) / f"{_PICTURE}-{epoch:04d}.png")
        logger.experiment.log_artifact(logger.run_id, str(path))


LOGGERS: Registry[LoggerKind] = Registry(
    "logger",
    {
        "csv": LoggerKind(_csv, _csv_picture),
        "tensorboard": LoggerKind(
            _tensorboard, _tensorboard_picture, resume=_tensorboard_resume, package="tensorboard"
        ),
        "wandb": LoggerKind(
            _wandb,
            _wandb_picture,
            close=lambda logger: logger.experiment.finish(),
            check=_wandb_check,
            package="wandb",
        ),
        "mlflow": LoggerKind(_mlflow, _mlflow_picture, check=_mlflow_check, package="mlflow"),
    },
)


def check_logger(name: str | None, every: int = 1) -> None:
    """Raise InputError for a logger that is not available, or pictures more often than every epoch.

    The logger may be unknown, not installed, without a login (wandb) or without its server (mlflow).

    >>> check_logger("csv")
    """
    kind = None if name is None else LOGGERS.find(name)
    if kind is not None and kind.package is not None and find_spec(kind.package) is None:
        wanted = f"'entropic-ae[{name}]'" if name in LOGGERS.builtin else kind.package
        raise InputError(f"the logger '{name}' needs the package {kind.package}; run pip install {wanted}.")
    if every < 1:
        raise InputError(f"pictures can be logged at most once per epoch, got every {every} epochs.")
    if kind is not None:
        kind.check()


def make_logger(name: str, folder: Path) -> Logger:
    """Return the Lightning logger of that name, which writes into ``logs`` of the run folder.

    For wandb and mlflow, ``WANDB_MODE`` and ``MLFLOW_TRACKING_URI`` take precedence. The name has passed
    ``check_logger``.

    >>> type(make_logger("csv", Path("runs/a"))).__name__
    'CSVLogger'
    """
    return LOGGERS[name].make(folder)


def close_logger(name: str, logger: Logger) -> None:
    """Close a logger of that name if Lightning does not: the next run would continue in the same log.

    >>> close_logger("csv", make_logger("csv", Path("runs/a")))
    """
    LOGGERS[name].close(logger)
