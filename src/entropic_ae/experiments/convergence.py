"""The study ``budget``: distances and error of each system against optimiser steps, along one training."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.experiments.budgets import find_budget, length_text, lengths_text
from entropic_ae.experiments.cells import Cell, has_transport, parse_system, read_cells
from entropic_ae.experiments.drawing import save_canvas
from entropic_ae.experiments.sweep import check_cells, run_cells, silent
from entropic_ae.experiments.table1 import mean_text, spread_text
from entropic_ae.experiments.tuning import best
from entropic_ae.recipes import RECIPES
from entropic_ae.storage.files import write_text

__all__ = [
    "MEASURES",
    "STEPS",
    "SYSTEMS",
    "Point",
    "budget_cells",
    "draw_budget",
    "points",
    "render_budget",
    "run_budget",
]

SYSTEMS = ("eae", "bn-ae", "wae", "2svae", "rae-sn", "vae", "t-bn-ae", "t-eae")
STEPS = (600, 1_200, 2_500, 5_000)
_EPOCHS, _END = "epochs-{}", "end"  # folders of the cells of one length; in the last, training ends by itself

Measure = Callable[[Mapping[str, Any]], float | None]


def _frechet(cell: Mapping[str, Any], density: str) -> float | None:
    distance: float | None = cell["metrics"]["distances"].get(density, {}).get("frechet")
    return distance


# A fitted transport, or a second stage, is a second model between the prior and the codes.
MEASURES: dict[str, Measure] = {
    "prior": lambda cell: None if has_transport(cell) else _frechet(cell, "prior"),
    "transport or second stage": lambda cell: _frechet(cell, "prior" if has_transport(cell) else "second-stage"),
    "mixture": lambda cell: _frechet(cell, "mixture"),
    "reconstruction error": lambda cell: cell["metrics"]["reconstruction_error"],
}


def budget_cells(
    systems: Iterable[str],
    base: Cell,
    seeds: Sequence[int],
    *,
    steps: Sequence[int] = STEPS,
    tuned: Path | None = None,
) -> list[dict[str, Cell]]:
    """Return for each system and seed its cells, the shortest first, by the name of their folder.

    Each cell continues the run of the one before. The lengths are rounded to epochs, at least one; a length that
    is not below that of ``base``, or is the same as another, is left out. The last cell has that of ``base``.

    A continued run is the run that a fresh one of its length would be: the learning rate follows the validation
    loss alone, and the number of epochs to come enters nowhere but in ``trace.progress``, which only a custom term
    may use.

    Arguments:
        systems: in the syntax of ``cells.parse_system``.
        base: a cell with data, limit, n, features and shared settings.
        seeds: of the runs.
        steps: optimiser steps, about.
        tuned: results of ``tune``, from which each system takes its best settings.

    Raises: InputError for a number of steps below 1, an unknown system, a system with epochs of its own, or as
        ``tuning.best``.
    """
    if min(steps, default=1) < 1:
        raise InputError(f"steps must be at least 1, got {min(steps)}.")
    chains = []
    for recipe, own in map(parse_system, systems):
        RECIPES.find(recipe)
        if "epochs" in own:
            raise InputError(f"{recipe} cannot have epochs of its own, along which it is measured; give --epochs.")
        settings = own if tuned is None else {**best(tuned, recipe, base.data), **own}
        for seed in seeds:
            chains.append(_chain(replace(base, recipe=recipe, own=settings, seed=seed), steps))
    return chains


def _chain(last: Cell, steps: Sequence[int]) -> dict[str, Cell]:
    """Return the cells of one training, by the name of their folder."""
    chain, before = {}, 0
    for number in sorted({*steps}):
        epochs = max(1, round(number / last.steps_per_epoch))
        if before < epochs < int(last.system.settings()["epochs"]):
            shared = {**last.shared, "epochs": epochs}
            chain[_EPOCHS.format(epochs)] = replace(last, shared=shared, earlier_epochs=before)
            before = epochs
    return {**chain, _END: replace(last, earlier_epochs=before)}


def run_budget(
    systems: Iterable[str],
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    run_folder: Path,
    *,
    steps: Sequence[int] = STEPS,
    tuned: Path | None = None,
    render: bool = False,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Train and measure the missing cells of the study, and draw it: PNG, PDF and a Markdown table.

    All systems are measured at one length before any is trained further. With ``render``, a study that is not
    complete can be drawn at any time.

    Arguments:
        systems, base, seeds, steps, tuned: as for ``budget_cells``.
        out: the study's folder, with a subfolder of cells for each length.
        run_folder: folder of the run folders.
        render: only draw what is measured.
        tell: called with progress messages.

    Returns: the files.

    Raises: InputError as ``budget_cells``, ``run_cells``, and if there is nothing to draw.
    """
    files = [out / f"budget{suffix}" for suffix in (".png", ".pdf", ".md")]
    chains = [] if render else budget_cells(systems, base, seeds, steps=steps, tuned=tuned)
    planned: dict[str, list[Cell]] = {}
    for chain in chains:
        for folder, cell in chain.items():
            planned.setdefault(folder, []).append(cell)
    for folder, cells in planned.items():  # before any training
        check_cells(cells, out / folder)
    for level in zip_longest(*(chain.items() for chain in chains)):
        placed = [one for one in level if one is not None]
        for folder in dict.fromkeys(folder for folder, _ in placed):
            run_cells([cell for name, cell in placed if name == folder], out / folder, run_folder, tell=tell)
    draw_budget(out, files[:2])
    write_text(files[2], render_budget(out) + "\n")
    return files


@dataclass(frozen=True)
class Point:
    """A system at one length of its training, over seeds.

    Attributes:
        label: of the system.
        length: the folder of the cells.
        cells: one for each seed.
    """

    label: str
    length: str
    cells: tuple[Mapping[str, Any], ...]

    @property
    def is_end(self) -> bool:
        """Whether the training ended there by itself."""
        return self.length == _END

    @property
    def steps(self) -> float:
        """The optimiser steps that were taken, a mean over seeds."""
        return statistics.mean(cell["training"]["steps"] for cell in self.cells)

    def values(self, measure: str) -> list[float]:
        """Return a measure of each seed that has it."""
        found = (MEASURES[measure](cell) for cell in self.cells)
        return [value for value in found if value is not None]


def points(out: Path) -> list[Point]:
    """Return the points of a study by system, in the order of ``SYSTEMS``, and by length; without what diverged.

    Raises: InputError if the folder has no such result.
    """
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for length, cell in _results(out):
        if "metrics" in cell:
            cells.setdefault((cell["label"], length), []).append(cell)
    if not cells:
        raise InputError(f"{out} has no results to draw; run entropic-ae figure budget first.")
    known = [*SYSTEMS, *RECIPES]
    place = {label: (known.index(label.split()[0]), label) for label, _ in cells if label.split()[0] in known}
    labels = sorted({label for label, _ in cells}, key=lambda label: place.get(label, (len(known), label)))
    return [
        Point(label, length, tuple(found))
        for label in labels
        for (one, length), found in cells.items()
        if one == label
    ]


def _results(out: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the cells of all lengths, each with the name of its folder, the shortest first."""
    epochs = sorted(int(path.name.partition("-")[2]) for path in out.glob(_EPOCHS.format("[0-9]*")))
    return [(name, cell) for name in [*map(_EPOCHS.format, epochs), _END] for cell in read_cells(out / name)]


def _shown(found: Sequence[Point]) -> list[str]:
    """Return the measures that some point has."""
    return [measure for measure in MEASURES if any(point.values(measure) for point in found)]


def render_budget(out: Path) -> str:
    """Return the study as Markdown: a row per system and length, the protocol, and what is missing or diverged."""
    found = points(out)
    shown = _shown(found)
    lines = ["| system | optimiser steps, ended by | " + " | ".join(shown) + " |"]
    lines.append("| --- | --- " + "| ---: " * len(shown) + "|")
    for point in found:
        steps = lengths_text([cell["training"] for cell in point.cells], go_on=not point.is_end)
        row = [point.label, steps, *(mean_text(point.values(measure)) for measure in shown)]
        lines.append("| " + " | ".join(row) + " |")
    ends = [point for point in found if point.is_end]
    first = [*ends, *found][0].cells[0]
    settings, metrics = first["expanded"]["settings"], first["metrics"]
    width = f", width {settings['width']}" if "width" in settings else ""
    length = f", {length_text(first)}" if ends else ""
    lines += [
        "",
        f"{first['data']}, {first['training_images']:,} training images{width}{_changes(first)}. "
        f"One training for each system and seed{length}, measured along the way with its best weights so far. "
        f"Frechet distances in {metrics['features']} features to the {metrics['split']} images, from "
        f"{metrics['n']:,} images each. {spread_text(len(point.cells) for point in found)}.",
    ]
    return "\n".join([*lines, *_gaps(out)])


def _changes(cell: Mapping[str, Any]) -> str:
    """Return the precision, if it is not the usual, and the settings of all systems that the budget has not."""
    usual = find_budget(cell["budget"]).of(cell["data"]).settings if "budget" in cell else {}
    precision = cell["cell"].get("precision", "32")
    changed = {} if precision == "32" else {"precision": precision}
    shared = {
        name: value for name, value in cell["cell"]["shared"].items() if name not in {*usual, "epochs", "width"}
    }
    return "".join(f", {name} {value}" for name, value in {**changed, **shared}.items())


def _gaps(out: Path) -> list[str]:
    """Report the cells that diverged, and those that other systems and seeds have and one lacks."""
    results = _results(out)
    batches = {cell["label"]: cell["expanded"]["settings"]["batch_size"] for _, cell in results}
    lengths = dict.fromkeys((batches[cell["label"]], length) for length, cell in results)  # epochs differ by batch
    has = {(cell["label"], cell["cell"]["seed"], length) for length, cell in results}
    missing = [
        f"{label}, seed {seed} ({', '.join(lacking)})"
        for label in dict.fromkeys(label for label, *_ in sorted(has))
        for seed in sorted({seed for _, seed, _ in has})
        if (lacking := [n for batch, n in lengths if batch == batches[label] and (label, seed, n) not in has])
    ]
    diverged = [f"{cell['label']}, seed {cell['cell']['seed']} ({n})" for n, cell in results if "diverged" in cell]
    said = (("Missing", missing), ("Diverged", diverged))
    return [line for what, names in said if names for line in ("", f"{what}: {'; '.join(names)}.")]


def draw_budget(out: Path, files: Iterable[Path]) -> None:
    """Draw the study into each file: a panel per measure against steps, with a star at the end of a training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    found = points(out)
    shown, labels = _shown(found), list(dict.fromkeys(point.label for point in found))
    rows = (len(shown) + 1) // 2
    canvas = Figure(figsize=(11, 4 * rows), layout="constrained")
    panels = list(canvas.subplots(rows, 2, squeeze=False).flat)
    for plot, measure in zip(panels, shown, strict=False):
        for i, label in enumerate(labels):
            line = [point for point in found if point.label == label and point.values(measure)]
            values = [point.values(measure) for point in line]
            means = [statistics.mean(one) for one in values]
            spreads = [statistics.stdev(one) if len(one) > 1 else 0 for one in values]
            steps = [point.steps for point in line]
            plot.errorbar(steps, means, spreads, color=f"C{i}", marker="o", markersize=4, capsize=3, label=label)
            ends = [(x, y) for x, y, point in zip(steps, means, line, strict=True) if point.is_end]
            plot.plot([x for x, _ in ends], [y for _, y in ends], "*", color=f"C{i}", markersize=12)
        plot.set(xscale="log", yscale="log", xlabel="optimiser steps")
        plot.set_ylabel(measure if measure.endswith("error") else f"Frechet distance, {measure}")
        for axis in (plot.xaxis, plot.yaxis):  # numbers, not powers of ten
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_minor_formatter(NullFormatter())
        plot.tick_params(labelsize="small")
        plot.grid(alpha=0.3, which="both")
    lines = panels[len(shown) - 1].get_legend_handles_labels()
    canvas.legend(*lines, loc="outside upper center", ncols=2, fontsize="small")
    for plot in panels[len(shown) :]:
        plot.axis("off")
    for file in files:
        save_canvas(canvas, file)
