"""The paper's figures: the same panels, from runs that are trained if they are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from entropic_ae import runs
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.experiments.cells import Cell, read_cells, shared_protocol
from entropic_ae.experiments.drawing import draw_panels
from entropic_ae.experiments.gallery import draw_gallery
from entropic_ae.experiments.sweep import run_cells, silent
from entropic_ae.experiments.table1 import render
from entropic_ae.experiments.tuning import best
from entropic_ae.pictures import image_grid
from entropic_ae.randomness import generator
from entropic_ae.recipes import PRESETS, RECIPES, compared, configure
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.runs.labels import taken
from entropic_ae.storage.files import read_json, write_text

__all__ = [
    "FIGURES",
    "GALLERIES",
    "Figure",
    "Panel",
    "caption",
    "cells_of",
    "draw_all",
    "draw_figure",
    "draw_systems",
    "expected_seconds",
    "paper_cells",
]

_IMAGES = 64  # per panel
_TIMED = 3  # steps for the estimate of the training time


@dataclass(frozen=True)
class Panel:
    """One block of images of a figure.

    Attributes:
        title: the title in the paper.
        recipe: the system.
        own: its settings, in addition to those of the data set.
        show: ``samples`` from the prior, or ``reconstructions`` of test images.

    >>> Panel("8 dimensions", "bn-ae", {"latent_dim": 8}).show
    'samples'
    """

    title: str
    recipe: str
    own: Mapping[str, Scalar] = field(default_factory=dict)
    show: str = "samples"


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        data: the data set.
        caption: description of its content.
        panels: blocks of images, from left to right.
        claim: the order in the paper, which distances can test: the panels' titles, nearest to the data first.
        behind: another figure; in the paper its first panel is nearer to the data than that of this figure.
        narrow: whether the networks have half the width of those of the other figures.

    >>> FIGURES["5"].data
    'mnist'
    """

    data: str
    caption: str
    panels: tuple[Panel, ...]
    claim: tuple[str, ...] = ()
    behind: str = ""
    narrow: bool = False


def _weights(*betas: float) -> tuple[Panel, ...]:
    return tuple(Panel(f"β = {beta:g}", "eae", {"entropy": beta}) for beta in betas)


def _dimensions(recipe: str, *dims: int, **own: Scalar) -> tuple[Panel, ...]:
    return tuple(Panel(f"{dim} dimensions", recipe, {"latent_dim": dim, **own}) for dim in dims)


# Without the entropy but with the decoder's L2, according to the captions of figures 8 and 9: eae of weight 0.
FIGURES: dict[str, Figure] = {
    "1": Figure(
        "mnist",
        "Samples from N(0, I) at two entropy weights, and reconstructions at the second",
        (
            *_weights(0.0516, 1.032),
            Panel("reconstructions, β = 1.032", "eae", {"entropy": 1.032}, "reconstructions"),
        ),
    ),
    "2": Figure("celeba", "Samples of the entropic autoencoder from N(0, I)", (Panel("eae", "eae"),)),
    "3": Figure("cifar10", "Samples from N(0, I) at four entropy weights", _weights(0.505, 0.707, 0.0505, 0.0707)),
    "5": Figure(
        "mnist",
        "Samples from N(0, I) without an entropy term, by the dimension of the code",
        _dimensions("bn-ae", 8, 16, 32),
        claim=("8 dimensions", "16 dimensions", "32 dimensions"),
        narrow=True,
    ),
    "6": Figure("celeba", "Samples from N(0, I) without an entropy term, narrow", _dimensions("bn-ae", 48)),
    "7": Figure(
        "celeba", "Samples from N(0, I) without an entropy term, wide", _dimensions("bn-ae", 128), behind="6"
    ),
    "8": Figure(
        "cifar10",
        "Samples from N(0, I) without an entropy term, wide",
        _dimensions("eae", 128, entropy=0.0),
        behind="9",
    ),
    "9": Figure(
        "cifar10", "Samples from N(0, I) without an entropy term, narrow", _dimensions("eae", 64, entropy=0.0)
    ),
}


GALLERIES: dict[str, str] = {"4": "celeba", "10": "cifar10", "11": "mnist"}  # every system, on one data set


def paper_cells(name: str, base: Cell, tuned: Path | None = None) -> list[Cell]:
    """Return the cells of a figure of the paper.

    Arguments:
        name: a key of ``FIGURES`` or ``GALLERIES``.
        base: a cell with limit, n, features, shared settings and seed.
        tuned: a folder with a subfolder of tries per data set; the systems of a gallery use the best settings.

    Raises: InputError for another name.

    >>> [cell.recipe for cell in paper_cells("5", Cell("", "", 0))]
    ['bn-ae', 'bn-ae', 'bn-ae']
    """
    if name in FIGURES:
        return cells_of(FIGURES[name], base)
    if name not in GALLERIES:
        raise unknown_name("figure", name, sorted([*FIGURES, *GALLERIES], key=int))
    base = replace(base, data=GALLERIES[name])
    tries = None if tuned is None else tuned / base.data
    return [
        replace(base, recipe=recipe, own=best(tries, recipe) if tries is not None and tries.is_dir() else {})
        for recipe in compared()
    ]


def draw_all(
    names: Sequence[str],
    base: Cell,
    out: Path,
    run_folder: Path,
    *,
    tuned: Path | None = None,
    tables: Path | None = None,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Report the missing runs of figures and their expected training time, then draw the figures in turn.

    Arguments:
        names: of figures of the paper.
        base, out, run_folder, tuned, tables, tell: as for ``draw_figure`` and ``draw_systems``.

    Returns: the files.
    """
    target = base.execution.target.type
    tell("finding missing runs and estimating their training time")
    for name in names:
        cells = paper_cells(name, base, tuned)
        results = _results(name, out, tables)
        lacking = [cell for cell in cells if not (results / f"{cell.name}.json").exists()]
        minutes = sum(expected_seconds(cell, target) for cell in lacking) / 60
        what = (
            f"{len(lacking)} of {len(cells)} runs to train, about {minutes:.0f} min" if lacking else "all measured"
        )
        tell(f"figure {name} ({cells[0].data}): {what}")
    files = []
    for name in names:
        if name in FIGURES:
            files += draw_figure(name, base, out, run_folder, tell=tell)
        else:
            files += draw_systems(name, base, out, run_folder, tuned=tuned, tables=tables, tell=tell)
    return files


def draw_systems(
    name: str,
    base: Cell,
    out: Path,
    run_folder: Path,
    *,
    tuned: Path | None = None,
    tables: Path | None = None,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Draw all systems side by side, as in figures 4, 10 and 11: PNG, PDF and the table as a caption.

    Real faces must not be published, so figure 4 shows only samples.

    Arguments:
        name: a key of ``GALLERIES``.
        tables: a folder with results of ``table1``, a subfolder per data set, which are used and completed; by
            default the figure has separate results.
        base, out, run_folder, tuned, tell: as for ``draw_figure`` and ``paper_cells``.

    Returns: the files.

    Raises: InputError as ``run_cells``.
    """
    cells = paper_cells(name, base, tuned)
    results = _results(name, out, tables)
    run_cells(cells, results, run_folder, tell=tell)
    files = [out / f"figure-{name}{suffix}" for suffix in (".png", ".pdf", ".md")]
    real = GALLERIES[name] != "celeba"
    for file in files[:2]:
        draw_gallery(cells, run_folder, file, real=real)
    shown = "Reconstructions, samples and interpolations" if real else "Samples"
    title = f"**Figure {name}.** {shown} of each system, {GALLERIES[name]}."
    write_text(files[2], f"{title}\n\n{render(results, brief=True)}\n")
    return files


def _results(name: str, out: Path, tables: Path | None) -> Path:
    """Return the folder of the results of a figure's cells."""
    return out / f"figure-{name}" if tables is None or name in FIGURES else tables / GALLERIES[name]


def cells_of(figure: Figure, base: Cell) -> list[Cell]:
    """Return the cells of a figure, one per panel.

    Arguments:
        figure: one of ``FIGURES``.
        base: a cell with limit, n, features, shared settings and seed.
    """
    shared = dict(base.shared)
    if figure.narrow:
        width = shared.get("width", configure(RECIPES["eae"], PRESETS[figure.data]).settings()["width"])
        shared["width"] = max(1, int(width) // 2)
    base = replace(base, data=figure.data, shared=shared, densities=("prior",))
    return [replace(base, recipe=panel.recipe, own=dict(panel.own)) for panel in figure.panels]


def expected_seconds(cell: Cell, device: str = "cpu") -> float:
    """Return the expected training time of a cell in seconds, without evaluation, from a few steps on noise.

    >>> expected_seconds(Cell("ae", "digits", 0, shared={"width": 2, "epochs": 1})) > 0
    True
    """
    data = cell.images
    model, objective = cell.system.build(data.shape, classes=data.classes)
    training = cell.system.preset.training
    target = torch.device("cuda" if device == "cuda" else "cpu")
    model.to(target)
    images = torch.rand(training.batch_size, *data.shape, generator=generator(0)).to(target)
    labels = None if model.labels is None else torch.zeros(len(images), dtype=torch.long, device=target)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(_TIMED + 1):
        if step == 1:  # the first step is a warm-up
            started = time.perf_counter()
        loss, _ = objective(model, model(images, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())  # synchronises with the device
    a_step = (time.perf_counter() - started) / _TIMED
    count = min(len(data.train.images), cell.limit or len(data.train.images))
    checked = min(len(data.validation.images), cell.limit or len(data.validation.images))
    # a pass without gradients takes about a third of the time of one with gradients
    return training.epochs * a_step * (count + checked / 3) / training.batch_size


def draw_figure(
    name: str,
    base: Cell,
    out: Path,
    run_folder: Path,
    *,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Train and measure missing cells, and draw a figure as PNG and PDF, with a caption.

    Arguments:
        name: a key of ``FIGURES``.
        base: a cell with limit, n, features, shared settings and seed.
        out: the folder of all figures; results are in its subfolder ``figure-NAME``.
        run_folder: folder of the run folders.
        tell: called with progress messages.

    Returns: the files: PNG, PDF and Markdown.

    Raises: InputError as ``run_cells``, or if training of a cell diverged.
    """
    figure = FIGURES[name]
    cells = cells_of(figure, base)
    results = out / f"figure-{name}"
    run_cells(cells, results, run_folder, tell=tell)
    measured = [read_json(results / f"{cell.name}.json") for cell in cells]
    if any("diverged" in one for one in measured):
        raise InputError(f"figure {name}: {next(one['diverged'] for one in measured if 'diverged' in one)}")
    panels = []
    for panel, cell, one in zip(figure.panels, cells, measured, strict=True):
        run = runs.load(run_folder / cell.run_name, device=base.execution.device)
        if panel.show == "samples":
            images, kind = run.sample(_IMAGES, density="prior", seed=base.seed), "prior"
        else:
            some = run.data.test.at(slice(_IMAGES))
            images, kind = run.reconstruct(some.images, labels=taken(run, some)), "reconstructions"
        distance = one["metrics"]["distances"][kind]["frechet"]
        panels.append((f"{panel.title}\nFrechet distance {distance:.2f}", image_grid(images)))
    files = [out / f"figure-{name}{suffix}" for suffix in (".png", ".pdf", ".md")]
    draw_panels(panels, files[:2])
    rivals = read_cells(out / f"figure-{figure.behind}") if figure.behind else []
    write_text(files[2], caption(name, measured, rivals))
    return files


def caption(name: str, measured: Sequence[Mapping[str, Any]], rivals: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the caption of a figure as Markdown: panels, budget, distances, and whether the paper's claim holds.

    Arguments:
        name: a key of ``FIGURES``.
        measured: the results of its cells, in the order of the panels.
        rivals: the results of the figure ``behind``, if it is measured.
    """
    figure, first = FIGURES[name], measured[0]
    settings, metrics = first["expanded"]["settings"], first["metrics"]
    distances = {}
    for panel, one in zip(figure.panels, measured, strict=True):
        kind = "prior" if panel.show == "samples" else "reconstructions"
        distances[panel.title] = one["metrics"]["distances"][kind]["frechet"]
    said = "; ".join(f"{title}: {distance:.2f}" for title, distance in distances.items())
    text = (
        f"**Figure {name}.** {figure.caption}. {first['data']}, {first['training_images']:,} training images, "
        f"{settings['epochs']} epochs, width {settings['width']}. Frechet distance in {metrics['features']} "
        f"features to the test images: {said}.\n"
    )
    if figure.claim:
        order = sorted(figure.claim, key=distances.__getitem__)
        text += f"\nNearest to the data first: {', '.join(order)}: {_order(tuple(order) == figure.claim)}.\n"
    same = [
        one
        for one in rivals
        if "metrics" in one and shared_protocol(one["cell"]) == shared_protocol(first["cell"])
    ]
    if figure.behind and same:
        ours, theirs = (one["metrics"]["distances"]["prior"]["frechet"] for one in (first, same[0]))
        text += f"\nFigure {figure.behind} is at {theirs:.2f}, this one at {ours:.2f}: {_order(theirs < ours)}.\n"
    return text


def _order(holds: bool) -> str:
    return f"{'the' if holds else 'not the'} paper's order, by one training of each"
