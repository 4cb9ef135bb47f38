"""What the commands table1 and figure do: cells made of options, trained, measured, drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.experiments import cluster, constraints, figures, gallery, studies, sweep, table1, tuning
from entropic_ae.experiments.sweep import Cell, silent

__all__ = ["check_figure", "run_figure", "run_table"]

_PAPER = sorted([*figures.FIGURES, *figures.GALLERIES], key=int)


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
    """Train and measure systems with several seeds, draw them if asked to, and return the table as Markdown.

    Arguments:
        systems: as ``sweep.parse_system`` reads them.
        seeds: of the runs.
        base: a cell with what all have in common.
        results: where a JSON file a cell is written.
        run_folder: where the run folders lie.
        tuned: results of ``tune``, from which each system takes its best settings.
        picture: a PNG or PDF file for the systems beside each other, with the first seed.
        real: show test images and reconstructions in the picture.
        render: train nothing.
        workers, address: of Ray, which is used for more than one worker or with an address.
        tell: called with progress messages.

    Raises: InputError as ``run_cells``, ``run_on_ray``, ``tuning.best`` and ``draw_gallery``.
    """
    if picture is not None:
        gallery.check_picture(picture)
    if not render or picture is not None:
        chosen = [sweep.parse_system(text) for text in systems]
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
    """Raise InputError for a figure that is unknown, or that what was given does not fit.

    Arguments:
        name: of a figure or study.
        data: for a study, which needs it.
        given: names of options of training that were given.

    >>> check_figure("5", "mnist")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: figure 5 is of data of its own, got 'mnist'; leave it out.
    """
    if name not in (*_PAPER, "all", "constraints", *studies.STUDIES):
        raise InputError(
            f"unknown figure '{name}'; expected 1 to 11, all, constraints, or of the studies "
            f"{' or '.join(studies.STUDIES)}."
        )
    if data is not None and name not in studies.STUDIES:
        raise InputError(f"figure {name} is of data of its own, got '{data}'; leave it out.")
    if data is None and name in studies.STUDIES:
        raise InputError(f"the study {name} needs data: entropic-ae figure {name} mnist.")
    if name == "constraints" and given:
        raise InputError(f"figure constraints trains no network; leave --{' and --'.join(given)} out.")


def run_figure(
    name: str,
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    run_folder: Path,
    *,
    tuned: Path | None = None,
    tables: Path | None = None,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Make a figure or a study that ``check_figure`` has passed, or all figures of the paper; return the files.

    Arguments:
        name: of a figure or study, or all.
        base: a cell with the data of a study and what all have in common.
        seeds: of a study; a figure takes the first.
        out: where files and results are written; a study has a folder of its own there.
        run_folder: where the run folders lie.
        tuned, tables: as for ``figures.draw_systems``.
        tell: called with progress messages.
    """
    if name == "constraints":
        return constraints.draw_constraints(out, seed=seeds[0], tell=tell)
    if name in studies.STUDIES:
        return studies.run_study(name, base, seeds, out / f"{name}-{Path(base.data).stem}", run_folder, tell=tell)
    names = _PAPER if name == "all" else [name]
    return figures.draw_all(names, base, out, run_folder, tuned=tuned, tables=tables, tell=tell)
