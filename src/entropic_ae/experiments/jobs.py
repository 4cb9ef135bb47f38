"""The jobs of the commands table1 and figure: cells are trained, measured and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.experiments import (
    cluster,
    constraints,
    convergence,
    estimator,
    figures,
    gallery,
    studies,
    sweep,
    table1,
    tuning,
)
from entropic_ae.experiments.budgets import CONVERGED
from entropic_ae.experiments.cells import Cell, parse_system
from entropic_ae.experiments.sweep import silent

__all__ = ["BUDGET", "check_figure", "run_figure", "run_table"]

_OF_POINTS: dict[str, Callable[..., list[Path]]] = {
    "constraints": constraints.draw_constraints,
    "estimator": estimator.draw_estimator,
}
BUDGET = "budget"  # the study of the length of training, whose axis is no setting
_STUDIES = (*studies.STUDIES, BUDGET)
_PAPER = sorted([*figures.FIGURES, *figures.GALLERIES], key=int)
_APART = (  # options that some figures take
    (("recipes", "steps"), (BUDGET,)),
    (("budget", "render"), _STUDIES),
    (("tuned",), (BUDGET, *figures.GALLERIES, "all")),
    (("tables",), (*figures.GALLERIES, "all")),
)


def run_table(
    systems: Sequence[str],
    seeds: Sequence[int],
    base: Cell,
    results: Path,
    run_folder: Path,
    *,
    tuned: Path | None = None,
    picture: Path | None = None,
    real: bool = True,
    render: bool = False,
    workers: int = 1,
    address: str | None = None,
    tell: Callable[[str], None] = silent,
) -> str:
    """Train and measure systems with several seeds, draw them if requested, and return the table as Markdown.

    Arguments:
        systems: in the syntax of ``cells.parse_system``.
        seeds: of the runs.
        base: a cell with the common settings.
        results: folder of the results, one JSON file per cell.
        run_folder: folder of the run folders.
        tuned: results of ``tune``, from which each system takes its best settings.
        picture: a PNG or PDF file to show the systems side by side, with the first seed.
        real: show test images and reconstructions in the picture.
        render: only render existing results, without training.
        workers, address: of Ray, which is used for more than one worker or with an address.
        tell: called with progress messages.

    Raises: InputError as ``run_cells``, ``run_on_ray``, ``tuning.best`` and ``draw_gallery``.
    """
    if picture is not None:
        gallery.check_picture(picture)
    if not render or picture is not None:
        chosen = [parse_system(text) for text in systems]
        if tuned is not None:
            chosen = [(recipe, {**tuning.best(tuned, recipe, base.data), **own}) for recipe, own in chosen]
        cells = [replace(base, recipe=recipe, seed=seed, own=own) for seed in seeds for recipe, own in chosen]
        if not render and (workers > 1 or address is not None):
            cluster.run_on_ray(cells, results, run_folder, workers, address=address, tell=tell)
        elif not render:
            sweep.run_cells(cells, results, run_folder, tell=tell)
        if picture is not None:
            tell(str(gallery.draw_gallery(cells[: len(chosen)], run_folder, picture, real=real)))
    return table1.render(results)


def check_figure(name: str, data: str | None = None, given: Sequence[str] = ()) -> None:
    """Raise InputError for an unknown figure, or arguments that do not apply to it.

    Arguments:
        name: of a figure or study.
        data: required for a study.
        given: names of the training options that were given.

    >>> check_figure("5", "mnist")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: figure 5 has its own data, got 'mnist'; leave it out.
    """
    if name not in (*_PAPER, "all", *_OF_POINTS, *_STUDIES):
        raise InputError(
            f"unknown figure '{name}'; expected 1 to 11, all, {', '.join(_OF_POINTS)}, or of the studies "
            f"{' or '.join(_STUDIES)}."
        )
    if data is not None and name not in _STUDIES:
        raise InputError(f"figure {name} has its own data, got '{data}'; leave it out.")
    if data is None and name in _STUDIES:
        raise InputError(f"the study {name} needs data: entropic-ae figure {name} mnist.")
    if name in _OF_POINTS and given:
        raise InputError(f"figure {name} trains no network; leave --{' and --'.join(given)} out.")
    for options, names in _APART:
        if name not in names and (wrong := [option for option in options if option in given]):
            raise InputError(
                f"--{' and --'.join(wrong)}: only for figure {', '.join(names)}, not {name}; leave "
                f"{'it' if len(wrong) == 1 else 'them'} out."
            )


def run_figure(
    name: str,
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    run_folder: Path,
    *,
    tuned: Path | None = None,
    tables: Path | None = None,
    systems: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    render: bool = False,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Draw a figure or a study that ``check_figure`` has passed, or all figures of the paper; return the files.

    Arguments:
        name: of a figure or study, or all.
        base: a cell with the data of a study and the common settings.
        seeds: of a study; a figure uses the first.
        out: folder of files and results, with a subfolder for a study.
        run_folder: folder of the run folders.
        tuned, tables: as for ``figures.draw_systems``; ``tuned`` of the study budget as for ``run_budget``.
        systems, steps: of the study budget; default: its own.
        render: only draw what is measured of a study.
        tell: called with progress messages.
    """
    if name in _OF_POINTS:
        return _OF_POINTS[name](out, seed=seeds[0], tell=tell)
    if name == BUDGET:
        return convergence.run_budget(
            systems or convergence.SYSTEMS,
            base,
            seeds,
            out / f"{name}-{base.place(CONVERGED)}",
            run_folder,
            steps=steps or convergence.STEPS,
            tuned=tuned,
            render=render,
            tell=tell,
        )
    if name in studies.STUDIES:
        place = out / f"{name}-{base.place()}"
        return studies.run_study(name, base, seeds, place, run_folder, render=render, tell=tell)
    names = _PAPER if name == "all" else [name]
    return figures.draw_all(names, base, out, run_folder, tuned=tuned, tables=tables, tell=tell)
