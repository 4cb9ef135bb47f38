"""log.csv of a run folder: one row per epoch, one column per quantity."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.storage.files import LARGEST_TEXT, atomic

__all__ = ["best_epoch", "read_log", "write_log"]


def write_log(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the rows of all epochs atomically: at least one, each with the columns of the first.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> write_log(path, [{"epoch": 1, "train_loss": 0.5}])
    >>> path.read_text().splitlines()
    ['epoch,train_loss', '1,0.5']
    """
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_log(path: Path) -> dict[str, list[float]]:
    """Return the columns of a log by name, one value per epoch; empty if there is no regular file.

    Epochs count from 1; other values may be NaN or infinite.

    Raises: InputError if it is damaged: a cell is not a number, a row is incomplete, a column is duplicated,
        epochs are missing or do not count from 1, or it is larger than 16 MiB. OSError if it cannot be opened.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> read_log(path)
    {}
    >>> write_log(path, [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}])
    >>> read_log(path)
    {'epoch': [1.0, 2.0], 'train_loss': [0.5, 0.25]}
    """
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(LARGEST_TEXT + 1)
        if len(text) > LARGEST_TEXT:
            raise ValueError("more than 16 MiB of CSV")
        head, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        if not rows or "epoch" not in head:
            raise ValueError("it has no epochs")
        if any(len(row) != len(head) for row in rows):
            raise ValueError("its rows differ in length")
        if len(set(head)) != len(head):
            raise ValueError("a column is duplicated")
        columns = [[float(value) for value in column] for column in zip(*rows, strict=True)]
        log = dict(zip(head, columns, strict=True))
        if log["epoch"] != list(range(1, len(rows) + 1)):
            raise ValueError("its epochs do not count from 1")
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error}); train the run again.") from None
    return log


def best_epoch(log: dict[str, list[float]]) -> int | None:
    """Return the epoch of the lowest validation loss, whose weights are kept; None if it was not logged.

    >>> best_epoch({"epoch": [1.0, 2.0, 3.0], "validation_loss": [9.0, 7.5, 8.0]})
    2
    """
    losses = [loss if math.isfinite(loss) else math.inf for loss in log.get("validation_loss", [])]
    return int(log["epoch"][losses.index(min(losses))]) if losses else None
