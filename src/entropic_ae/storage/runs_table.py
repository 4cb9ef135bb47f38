"""A table of run folders, from their files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.storage.log import best_epoch
from entropic_ae.storage.run_folder import GIVEN, INFO_FILE, RunFolder
from entropic_ae.storage.run_info import RunInfo

__all__ = ["COLUMNS", "RunRow", "nearest", "read_runs", "sort_runs"]

COLUMNS = ("run", "recipe", "data", "epochs", "state", "loss", "date")
_DEPTH = 3  # of folders that are searched
_OTHERS = frozenset({*GIVEN, "reconstructions", "interpolations"})  # rows that are no samples of a density


@dataclass(frozen=True)
class RunRow:
    """A run folder in a table.

    Attributes:
        run: its path.
        recipe, data: of run.json.
        epochs: epochs that are done.
        of: epochs of the settings.
        state: running while a process trains in the folder, finished, stopped early by its settings, or
            interrupted.
        loss: lowest validation loss; None before the first epoch.
        distances: by feature space, the Frechet distance of the samples of each density of the current weights.
        date: of the last change of run.json or the log, ISO 8601 in local time.
    """

    run: str
    recipe: str
    data: str
    epochs: int
    of: int
    state: str
    loss: float | None
    distances: dict[str, dict[str, float]]
    date: str


def read_runs(folder: Path) -> tuple[list[RunRow], list[str]]:
    """Return the runs in a folder and below it, and a sentence for each that is damaged.

    Raises: InputError if it is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds the run folders, such as runs.")
    rows, damaged = [], []
    for path in _run_folders(folder, _DEPTH):
        try:
            rows.append(_row(RunFolder(path)))
        except (InputError, OSError) as error:
            damaged.append(str(error))
    return rows, damaged


def _run_folders(folder: Path, depth: int) -> list[Path]:
    if (folder / INFO_FILE).is_file():
        return [folder]
    if not depth:
        return []
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [found for path in below for found in _run_folders(path, depth - 1)]


def _row(files: RunFolder) -> RunRow:
    info, log = files.read_info(), files.read_log()
    settings = info.expanded.settings
    losses, of = log.get("validation_loss", []), int(settings.get("epochs", 0))
    best = best_epoch(log)
    changed = max(path.stat().st_mtime for path in (files.path / INFO_FILE, files.log) if path.is_file())
    weights = files.weights_sha256() if files.weights.is_file() else None
    distances = {
        space: {name: row["frechet"] for name, row in result["distances"].items() if name not in _OTHERS}
        for space, result in (files.read_metrics(weights) if weights is not None else {}).items()
        if "withheld" not in result
    }
    return RunRow(
        run=str(files.path),
        recipe=info.recipe,
        data=info.data,
        epochs=len(losses),
        of=of,
        state=_state(files, info, len(losses), of),
        loss=None if best is None else losses[best - 1],
        distances=distances,
        date=datetime.fromtimestamp(changed).astimezone().isoformat(timespec="minutes"),
    )


def _state(files: RunFolder, info: RunInfo, done: int, of: int) -> str:
    if files.is_claimed():
        return "running"
    if info.stopped is not None:
        return "stopped"
    return "finished" if files.weights.is_file() and done >= of else "interrupted"


def sort_runs(rows: Sequence[RunRow], column: str) -> list[RunRow]:
    """Return the rows sorted by a column, or by a feature space: by the smallest distance of samples there.

    What a row lacks comes last. Raises: InputError for an unknown name.

    >>> sort_runs([], "loss")
    []
    """
    spaces = dict.fromkeys(space for row in rows for space in row.distances)
    if column not in (*COLUMNS, *spaces):
        raise unknown_name("column", column, [*COLUMNS, *spaces])

    def key(row: RunRow) -> tuple[bool, float | str]:
        value = getattr(row, column) if column in COLUMNS else nearest(row, column)
        return (value is None, "" if value is None else value)

    return sorted(rows, key=key)


def nearest(row: RunRow, space: str) -> float | None:
    """Return the smallest distance of the samples of any density in a feature space; None if none was measured."""
    return min(row.distances.get(space, {}).values(), default=None)
