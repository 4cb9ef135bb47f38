"""Sweeps over systems and seeds: one JSON file per cell, shared between processes and machines, resumable."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entropic_ae import runs
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import DivergenceError, InputError, unknown_name
from entropic_ae.evaluation import check_number
from entropic_ae.experiments.budgets import find_budget
from entropic_ae.experiments.cells import Cell, read_cells, shared_protocol
from entropic_ae.features import check_features
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.recipes import PAPER
from entropic_ae.runs.drawing import files_of_weights
from entropic_ae.storage.files import locked, write_json
from entropic_ae.storage.log import best_epoch
from entropic_ae.training import check_training

__all__ = [
    "check_cell",
    "check_cells",
    "run_cells",
    "silent",
]

_WAIT = 2.0  # seconds between checks for cells that other processes measure


def silent(text: str) -> None:
    """Ignore a progress message; with this function, training shows no progress either."""


def run_cells(
    cells: Iterable[Cell],
    out: Path,
    run_folder: Path,
    *,
    later: float = 0,
    tell: Callable[[str], None] = silent,
) -> None:
    """Train and measure each cell that is not yet in ``out``; interrupted cells are resumed.

    A cell that continues an earlier one, such as that of a later round of a search, takes over its run, whose
    folder is renamed.

    Several processes, also on several machines, may run the same cells with the same (shared) folders. A process
    claims a cell by a lock, which the operating system releases when the process dies: no cell is measured twice,
    and a dead claim is taken over. This requires a file system with locks, such as local disks and NFS. Each
    process returns when all cells are measured. A cell whose training diverges is recorded as diverged, and the
    sweep continues.

    Arguments:
        cells: the cells to measure. A changed setting makes another cell, so old results are never taken for it.
        out: folder of the results, one JSON file per cell, written atomically.
        run_folder: folder of the run folders.
        later: cells of this length that will follow these, for the estimate of the time left.
        tell: called with progress messages.

    Raises: InputError before any training for an invalid name or value, or if ``out`` holds cells of another
        protocol.
    """
    cells = list(cells)
    if not cells:
        raise InputError("expected cells to measure, got none.")
    check_cells(cells, out)
    todo = {cell.name: cell for cell in cells}
    total, measured = len(todo), sum((out / f"{name}.json").exists() for name in todo)
    first = cells[0].system.settings()
    sizes = ", ".join(f"{name} {first[name]}" for name in ("width", "epochs") if name in first)
    tell(f"{_count(total)} ({sizes}), {measured} measured already")
    clock = _Clock(out, list(todo), later)
    waiting = False
    while todo:
        before = len(todo)
        for name, cell in list(todo.items()):
            path = out / f"{name}.json"
            with locked(_lock(out, name), wait=0) as mine:
                if mine and not path.exists():
                    done = total - len(clock.missing())
                    tell(f"{cell.label}, seed {cell.seed}; {done} of {_count(total)} measured{clock}")
                    with locked(_lock(run_folder, cell.run_name)):  # another sweep may need the same run
                        moved = _continue(cell, run_folder)
                        _measure(cell, path, run_folder / cell.run_name, moved=moved, progress=tell is not silent)
                if mine:
                    del todo[name]
        if len(todo) == before:
            if not waiting:
                tell(f"waiting for other processes, which measure {_count(len(todo))}")
            waiting = True
            time.sleep(_WAIT)
    tell(f"{_count(total)} measured")


def _continue(cell: Cell, run_folder: Path) -> bool:
    """Rename the run folder of the earlier cell to this cell's, unless that exists; return whether it was done."""
    earlier, folder = cell.earlier, run_folder / cell.run_name
    if earlier is None or folder.is_dir():
        return False
    with locked(_lock(run_folder, earlier.run_name)):
        if not (run_folder / earlier.run_name).is_dir():
            return False
        (run_folder / earlier.run_name).rename(folder)
    for path in files_of_weights(folder):  # what was measured of them is in the earlier cell
        path.unlink()
    return True


def _measure(cell: Cell, path: Path, folder: Path, *, moved: bool, progress: bool) -> None:
    started, interrupted = time.perf_counter(), folder.is_dir() and not moved
    result: dict[str, Any] = {
        "name": cell.name,
        "run": cell.run_name,
        "cell": cell.record(),
        "label": cell.label,
        "expanded": cell.system.describe(),
    }
    if cell.rung is not None:
        result["tuning"] = {**asdict(cell.rung), "density": cell.system.recipe.density}
    if cell.budget is not None:
        result["budget"] = cell.budget
    try:
        run = runs.train(
            cell.recipe,
            cell.data,
            set=cell.settings,
            seed=cell.seed,
            limit=cell.limit,
            out=folder,
            device=cell.execution.device,
            precision=cell.execution.precision,
            compile=cell.execution.compile,
            resume=interrupted or moved,
            progress=progress,
            size=PAPER,
            preview_every=0,
        )
        trained = time.perf_counter()
        metrics = run.evaluate(
            features=cell.features,
            n=cell.n,
            split=cell.split,
            densities=cell.densities,
            compile=cell.execution.compile,
            samples_only=cell.split == "validation",  # for choosing settings
        )
    except DivergenceError as error:
        result["diverged"] = str(error)
    else:
        result |= {
            "data": run.info.data,
            "training_images": run.info.training_images,
            "training": _training(run, cell.steps_per_epoch),
            "metrics": metrics,
            "training_seconds": None if interrupted else round(trained - started, 1),
            "evaluation_seconds": round(time.perf_counter() - trained, 1),
        }
    write_json(path, {**result, "machine": machine(), "versions": versions(), "git_commit": git_commit()})


def _training(run: runs.Run, per_epoch: int) -> dict[str, Any]:
    """Return a training's epochs and optimiser steps, those of its best weights, and the setting that ended it."""
    log, stopped = run.files.read_log(), run.info.stopped
    epochs, best = len(log["epoch"]), best_epoch(log) or 0
    return {
        "epochs": epochs,
        "steps": epochs * per_epoch,
        "best_epoch": best,
        "best_step": best * per_epoch,
        "ended_by": "epochs" if stopped is None else stopped["rule"],
    }


def _count(cells: int) -> str:
    return f"{cells} cell" if cells == 1 else f"{cells} cells"


def _lock(folder: Path, name: str) -> Path:
    """Return the path of the lock of that name in a folder."""
    return folder / ".claims" / f"{name}.lock"


class _Clock:
    """The estimated time left, from the rate at which any process completes cells."""

    def __init__(self, out: Path, names: list[str], later: float) -> None:
        self.out = out
        self.names = names
        self.later = later
        self.started, self.at_start = time.monotonic(), len(self.missing())

    def missing(self) -> list[str]:
        """Return the names of the cells that have no result yet."""
        return [name for name in self.names if not (self.out / f"{name}.json").exists()]

    def __str__(self) -> str:
        left = len(self.missing())
        if done := self.at_start - left:
            pace = (time.monotonic() - self.started) / done
        else:
            whole = [c for c in read_cells(self.out) if c.get("training_seconds")]
            spent = [c["training_seconds"] + c["evaluation_seconds"] for c in whole]
            if not spent:
                return ""
            pace = statistics.median(spent)
        minutes = round((left + self.later) * pace / 60)
        return f", about {minutes // 60} h {minutes % 60:02d} min left" if minutes else ", less than a minute left"


def check_cell(cell: Cell) -> None:
    """Raise InputError if the system of a cell cannot be trained on its data."""
    data, some = cell.images, slice(cell.limit)
    model, objective = cell.system.build(data.shape, classes=data.classes)
    train, validation = data.train.at(some), data.validation.at(some)
    labels = None
    if cell.system.recipe.conditional and train.labels is not None and validation.labels is not None:
        labels = (train.labels, validation.labels)
    parts = (model, objective, train.images, validation.images, cell.system.preset.training)
    check_training(*parts, cell.execution, labels)


def check_cells(cells: Sequence[Cell], out: Path) -> None:
    """Raise InputError for an invalid name or value, or if the folder of results holds another protocol."""
    for execution in {cell.execution for cell in cells}:
        _ = execution.target
    # a budget has settings of many systems, and these may have none of them
    usual = {name for cell in cells if cell.budget for name in find_budget(cell.budget).of(cell.data).settings}
    for name in dict.fromkeys(name for cell in cells for name in cell.shared if name not in usual):
        if not any(name in cell.settings for cell in cells):
            raise unknown_name("setting", name, {name for cell in cells for name in cell.system.settings()})
    for cell in {cell.label: cell for cell in cells}.values():
        check_cell(cell)
        check_features(cell.features or cell.system.preset.features, cell.images)
        check_number(cell.n)
    for density in {density for cell in cells for density in cell.densities or ()}:
        DENSITIES.find(density)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give another --out.")
    protocols = [shared_protocol(cell.record()) for cell in cells]
    for found in read_cells(out):
        before = shared_protocol(found["cell"])
        for now in protocols:
            differing = [
                f"{k} was {before.get(k)} and is {now.get(k)}"
                for k in {**before, **now}
                if before.get(k) != now.get(k)
            ]
            if differing:
                raise InputError(
                    f"{out} holds results of another protocol ({'; '.join(differing)}), which are not comparable "
                    "with these; give another --out."
                )
