"""Sweeps over systems and seeds: a JSON file a cell, shared between processes and machines, resumable."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from entropic_ae import runs
from entropic_ae.data import ImageData, fingerprint, load_images
from entropic_ae.densities import DENSITIES
from entropic_ae.errors import DivergenceError, InputError, unknown_name
from entropic_ae.evaluation import check_number
from entropic_ae.features import check_features
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.recipes import System, split_image_size, system_for
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.files import locked, read_json, write_json
from entropic_ae.training import Execution, check_training

__all__ = ["Cell", "parse_system", "read_cells", "run_cells", "shared_protocol", "silent"]

# Settings that came after the first results, at the value that does what was done before: they leave names as they
# are, so that no old result is lost to an option that it does not use. (A bottleneck is named by its class.)
_NEWER = {"bottleneck": None, "entropy.memory": 0, "depth": 1}
_WAIT = 2.0  # seconds between looks at cells that other processes measure


@dataclass(frozen=True)
class Cell:
    """One system on one data set with one seed: everything that decides what is measured.

    Attributes:
        recipe, data, seed, limit: as for ``train``.
        own: settings of this system alone, which its label shows.
        shared: settings of the whole table; a system that has none of a name goes without it.
        n, features, split: as for ``evaluate``.
        densities: those measured; the recipe's unless given.
        execution: by one process. The precision decides what is measured; device and compilation do not.
    """

    recipe: str
    data: str
    seed: int
    own: Mapping[str, Scalar] = field(default_factory=dict)
    shared: Mapping[str, Scalar] = field(default_factory=dict)
    limit: int | None = None
    n: int = 10_000
    features: str | None = None
    split: str = "test"
    densities: tuple[str, ...] | None = None
    execution: Execution = field(default_factory=Execution)

    @property
    def label(self) -> str:
        """The system in a table, as in ``eae entropy=0.3``."""
        return " ".join([self.recipe, *(f"{name}={value}" for name, value in self.own.items())])

    @cached_property
    def settings(self) -> dict[str, Scalar]:
        """The settings that ``train`` changes."""
        known = {"image_size", *system_for(self.recipe, self.images).settings()}
        return {**{name: value for name, value in self.shared.items() if name in known}, **self.own}

    @cached_property
    def system(self) -> System:
        """The recipe with its settings; InputError if a name of its own or a value is wrong."""
        return system_for(self.recipe, self.images, split_image_size(self.settings)[1])

    @property
    def images(self) -> ImageData:
        """The data, whole: the limit is not applied."""
        return _images(self.data, self._image_size)

    @property
    def _image_size(self) -> int | None:
        return split_image_size({**self.shared, **self.own})[0]

    @cached_property
    def name(self) -> str:
        """A file name that changes with any attribute, any default of the recipe or its preset, and the images."""
        hidden = ("own", "shared", "precision", "compile")
        return self._named({name: value for name, value in self.record().items() if name not in hidden})

    @cached_property
    def run_name(self) -> str:
        """The run folder's name: that of all cells that train the same, whatever is measured of it."""
        return self._named({"recipe": self.recipe, "data": self.data, "seed": self.seed, "limit": self.limit})

    def record(self) -> dict[str, Any]:
        """Return what a result file says of the cell."""
        fields = asdict(self)
        execution = fields.pop("execution")
        return {**fields, "precision": execution["precision"], "compile": execution["compile"]}

    def _named(self, chosen: Mapping[str, Any]) -> str:
        """Return a name that changes with what is chosen, the precision, the system and the images."""
        if self.execution.precision != "32":  # which older names do not have
            chosen = {**chosen, "precision": self.execution.precision}
        images = _images_sha256(self.data, self._image_size)
        system = self.system.describe()
        system["settings"] = {
            name: value
            for name, value in system["settings"].items()
            if name not in _NEWER or _NEWER[name] not in (None, value)
        }
        content = json.dumps([chosen, system, images], sort_keys=True)
        return f"{self.recipe}-{self.seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


@lru_cache(maxsize=1)
def _images(data: str, image_size: int | None) -> ImageData:
    return load_images(data, image_size=image_size)


@lru_cache(maxsize=1)
def _images_sha256(data: str, image_size: int | None) -> str:
    images = _images(data, image_size)
    return "".join(fingerprint(split.images) for split in (images.train, images.validation, images.test))


def parse_system(text: str) -> tuple[str, dict[str, Scalar]]:
    """Read a recipe with settings of its own.

    >>> parse_system("eae:entropy=0.3:entropy.k=2")
    ('eae', {'entropy': '0.3', 'entropy.k': '2'})
    """
    recipe, *pairs = text.strip().split(":")
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"expected RECIPE:NAME=VALUE, got '{text}'; for example eae:entropy=0.3.")
    return recipe, {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def read_cells(out: Path) -> list[dict[str, Any]]:
    """Return what the result files of a folder hold, in the order of their names."""
    return [read_json(path) for path in sorted(out.glob("[!.]*.json"))]  # not those being written


def silent(text: str) -> None:
    """Take a progress message and show nothing; training then shows no progress either."""


def run_cells(cells: Iterable[Cell], out: Path, run_folder: Path, *, tell: Callable[[str], None] = silent) -> None:
    """Train and measure each cell that is not yet in ``out``; what was interrupted is resumed.

    Several processes, also on several machines, may be given the same cells and the same (shared) folders: a
    process claims a cell by a lock that the operating system gives back when the process dies, so that no cell is
    measured twice and a dead claim is taken over. (That takes a file system with locks, as local disks and NFS
    have.) Each returns when all cells are measured. A cell whose training diverges is recorded as such, and the
    sweep goes on.

    Arguments:
        cells: a changed setting makes another cell, so an old one is never taken for it.
        out: where a JSON file a cell is written, whole or not at all.
        run_folder: where the run folders lie.
        tell: called with progress messages.

    Raises: InputError before anything is trained for a name or value that is wrong, or if ``out`` holds cells of
        another protocol.
    """
    cells = list(cells)
    _check_cells(cells, out)
    todo = {cell.name: cell for cell in cells}
    total, measured = len(todo), sum((out / f"{name}.json").exists() for name in todo)
    first = cells[0].system.settings()
    sizes = ", ".join(f"{name} {first[name]}" for name in ("width", "epochs") if name in first)
    tell(f"{_count(total)} ({sizes}), {measured} measured already")
    clock = _Clock(out, list(todo))
    waiting = False
    while todo:
        before = len(todo)
        for name, cell in list(todo.items()):
            path = out / f"{name}.json"
            with locked(_lock(out, name), wait=0) as mine:
                if mine and not path.exists():
                    done = total - len(clock.missing())
                    tell(f"{cell.label}, seed {cell.seed}; {done} of {_count(total)} measured{clock}")
                    with locked(_lock(run_folder, cell.run_name)):  # another sweep may want the same run
                        _measure(cell, path, run_folder / cell.run_name, progress=tell is not silent)
                if mine:
                    del todo[name]
        if len(todo) == before:
            if not waiting:
                tell(f"waiting for other processes, which measure {_count(len(todo))}")
            waiting = True
            time.sleep(_WAIT)
    tell(f"{_count(total)} measured")


def _measure(cell: Cell, path: Path, folder: Path, *, progress: bool) -> None:
    started, resumed = time.perf_counter(), folder.is_dir()
    result: dict[str, Any] = {
        "name": cell.name,
        "run": cell.run_name,
        "cell": cell.record(),
        "label": cell.label,
        "expanded": cell.system.describe(),
    }
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
            resume=resumed,
            progress=progress,
        )
        trained = time.perf_counter()
        metrics = run.evaluate(
            features=cell.features,
            n=cell.n,
            split=cell.split,
            densities=cell.densities,
            compile=cell.execution.compile,
            samples_only=cell.split == "validation",  # where settings are chosen by them
        )
    except DivergenceError as error:
        result["diverged"] = str(error)
    else:
        result |= {
            "data": run.info.data,
            "training_images": run.info.training_images,
            "metrics": metrics,
            "training_seconds": None if resumed else round(trained - started, 1),
            "evaluation_seconds": round(time.perf_counter() - trained, 1),
        }
    write_json(path, {**result, "machine": machine(), "versions": versions(), "git_commit": git_commit()})


def _count(cells: int) -> str:
    return f"{cells} cell" if cells == 1 else f"{cells} cells"


def _lock(folder: Path, name: str) -> Path:
    """Return the lock of that name, which belongs to a folder."""
    return folder / ".claims" / f"{name}.lock"


class _Clock:
    """The time that is left, from the pace at which cells appear, whoever measures them."""

    def __init__(self, out: Path, names: list[str]) -> None:
        self.out = out
        self.names = names
        self.started, self.at_start = time.monotonic(), len(self.missing())

    def missing(self) -> list[str]:
        """Return the names of the cells that are not measured yet."""
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
        minutes = round(left * pace / 60)
        return f", about {minutes // 60} h {minutes % 60:02d} min left" if minutes else ", less than a minute left"


def _check_cells(cells: Sequence[Cell], out: Path) -> None:
    """Raise InputError before anything is trained: a name or value is wrong, or ``out`` holds another protocol."""
    for execution in {cell.execution for cell in cells}:
        _ = execution.target
    for name in dict.fromkeys(name for cell in cells for name in cell.shared):
        if not any(name in cell.settings for cell in cells):
            raise unknown_name("setting", name, {name for cell in cells for name in cell.system.settings()})
    for cell in {cell.label: cell for cell in cells}.values():
        model, objective = cell.system.build(cell.images.shape)
        train, validation = (split.images[: cell.limit] for split in (cell.images.train, cell.images.validation))
        check_training(model, objective, train, validation, cell.system.preset.training, cell.execution)
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
                    f"{out} holds results of another protocol ({'; '.join(differing)}), which cannot stand beside "
                    "these; give another --out."
                )


def shared_protocol(cell: Mapping[str, Any]) -> dict[str, str]:
    """Return what all the cells of a folder must have in common, as text."""
    names = ("data", "limit", "n", "features", "split")
    protocol = {**{name: cell[name] for name in names}, "precision": cell.get("precision", "32"), **cell["shared"]}
    return {name: str(value) for name, value in protocol.items()}
