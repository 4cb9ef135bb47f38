"""Studies: how samples and codes change along one setting at a time, with and without the entropy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.experiments.budgets import ends_by_rule, length_text
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.drawing import save_canvas
from entropic_ae.experiments.sweep import run_cells, silent
from entropic_ae.experiments.table1 import mean_text, spread_of, spread_text
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.files import read_json, write_json, write_text

__all__ = [
    "MEASURES",
    "STUDIES",
    "Axis",
    "Line",
    "curves",
    "draw_study",
    "render_study",
    "run_study",
    "study_cells",
]


@dataclass(frozen=True)
class Line:
    """A line along an axis: a system with settings that stay fixed.

    Attributes:
        label: text for the reader.
        recipe: the system.
        own: its settings.
        factors: factors on the data set's values of further settings.

    >>> Line("a tenth of the entropy", "eae", factors={"entropy": 0.1}).settings(Cell("", "digits", 0))
    {'entropy': 0.03}
    """

    label: str
    recipe: str
    own: Mapping[str, Scalar] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)

    def settings(self, base: Cell) -> dict[str, Scalar]:
        """Return the settings of the line for the data of a cell."""
        usual = replace(base, recipe=self.recipe, own=self.own).system.settings() if self.factors else {}
        return {**self.own, **{name: float(usual[name]) * factor for name, factor in self.factors.items()}}


@dataclass(frozen=True)
class Axis:
    """One setting and its values, for several lines.

    Attributes:
        setting: name of the setting, as for ``--set``.
        label: text for the reader.
        values: in order.
        lines: the systems to compare.
        by_data: values for individual data sets, instead of ``values``.
        expected: the paper's expectation for the first line: 1 if the divergence of its codes from the prior, per
            dimension, should rise with the value, -1 if it should fall, 0 if there is none.

    >>> Axis("latent_dim", "dimensions", (2, 4), (Line("ae", "ae"),), {"digits": (8,)}).of("digits")
    (8,)
    """

    setting: str
    label: str
    values: tuple[Scalar, ...]
    lines: tuple[Line, ...]
    by_data: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    expected: int = 0

    def of(self, data: str) -> tuple[Scalar, ...]:
        """Return the values for a data set."""
        return self.by_data.get(data, self.values)


_WITH_AND_WITHOUT = (Line("no entropy", "eae", {"entropy": 0.0}), Line("entropy", "eae"))
_TENTH = Line("a tenth of it", "eae", factors={"entropy": 0.1})
_LARGE = {"batch_size": 200}  # above the code dimension of CIFAR-10, as whitening requires
_ESTIMATES = (Line("minibatch alone", "eae"), Line("memory of 2,000", "eae", {"entropy.memory": 2000}))

STUDIES: dict[str, tuple[Axis, ...]] = {
    # sections 4.2 and 5.2 of the paper: narrow and deep autoencoders are near N(0, I) without a regulariser
    "bottleneck": (
        Axis(
            "latent_dim",
            "dimensions of the code",
            (8, 16, 32),
            (*_WITH_AND_WITHOUT, _TENTH),
            {"cifar10": (32, 64, 128), "celeba": (48, 64, 128)},
            expected=1,
        ),
        # section 5.2 takes the number of channels for depth
        Axis("width", "width of the networks", (8, 16, 32), _WITH_AND_WITHOUT, expected=-1),
        Axis("depth", "convolutions at each size", (1, 2, 3), _WITH_AND_WITHOUT, expected=-1),
    ),
    # the weight of the entropy, and its estimator
    "weight": (
        Axis("entropy", "weight of the entropy", (0.05, 0.16, 0.5, 1.6, 5.0), _ESTIMATES),
        Axis("batch_size", "images of a minibatch", (50, 100, 200), _ESTIMATES),
        Axis("entropy.k", "nearest neighbour", (1, 3, 5), _ESTIMATES),
        Axis(
            "entropy.memory",
            "codes in memory (batches of 200)",
            (0, 500, 2000, 8000),
            (Line("batch norm", "eae", _LARGE), Line("whitening", "eae", {"bottleneck": "whitening", **_LARGE})),
        ),
    ),
}

Measure = Callable[[Mapping[str, Any]], float | None]


def _distance(density: str) -> Measure:
    return lambda metrics: metrics["distances"].get(density, {}).get("frechet")


MEASURES: dict[str, Measure] = {
    "prior": _distance("prior"),
    "gaussian": _distance("gaussian"),
    "mixture": _distance("mixture"),
    "entropy gap (nats)": lambda metrics: metrics["codes"]["corrected_gap"],
    "reconstruction error": lambda metrics: metrics["reconstruction_error"],
    "divergence (nats a dimension)": lambda metrics: (
        metrics["diagnostics"]["divergence"] / metrics["diagnostics"]["dimensions"]
        if "divergence" in metrics["diagnostics"]
        else None
    ),
}


def study_cells(name: str, base: Cell, seeds: Sequence[int]) -> list[tuple[Axis, Line, Scalar, Cell]]:
    """Return the cells of a study, each with its position: its axis, its line and its value.

    Where axes cross, two cells are the same system; they have the same name, and are measured once.

    Arguments:
        name: a key of ``STUDIES``.
        base: a cell with data, limit, n, features and shared settings, which an axis or a line may change.
        seeds: of the runs.

    Raises: InputError for an unknown study.
    """
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    return [
        (axis, line, value, replace(base, recipe=line.recipe, own={**own, axis.setting: value}, seed=seed))
        for axis in STUDIES[name]
        for line in axis.lines
        for own in [line.settings(base)]
        for value in axis.of(base.data)
        for seed in seeds
    ]


def run_study(
    name: str,
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    run_folder: Path,
    *,
    render: bool = False,
    tell: Callable[[str], None] = silent,
) -> list[Path]:
    """Train and measure the missing cells of a study, and draw it: ``study.json``, PNG, PDF and a Markdown table.

    Arguments:
        name, base, seeds: as for ``study_cells``; with ``render``, all seeds that are measured count.
        out: the study's folder; its cells are in the subfolder ``cells``.
        run_folder: folder of the run folders.
        render: only draw the cells that are measured.
        tell: called with progress messages.

    Returns: the files.

    Raises: InputError as ``run_cells``, and if there is nothing to draw.
    """
    if render:
        measured = {cell["name"]: cell["cell"]["seed"] for cell in read_cells(out / "cells") if "metrics" in cell}
        placed = study_cells(name, base, sorted({*measured.values()}))
        if not any(cell.name in measured for *_, cell in placed):
            raise InputError(
                f"{out} has no results of these settings; give the options that it was measured with, or leave "
                "--render out."
            )
    else:
        placed = study_cells(name, base, seeds)
        run_cells({cell.name: cell for *_, cell in placed}.values(), out / "cells", run_folder, tell=tell)
    points = [
        {"axis": axis.setting, "line": line.label, "value": value, "seed": cell.seed, "name": cell.name}
        for axis, line, value, cell in placed
    ]
    write_json(out / "study.json", {"study": name, "data": base.data, "points": points})
    files = [out / f"study{suffix}" for suffix in (".json", ".png", ".pdf", ".md")]
    draw_study(out, files[1:3])
    write_text(files[3], render_study(out) + "\n")
    return files


Curve = dict[Any, list[float]]  # a measure's values for each seed, by the axis's value


def curves(out: Path) -> dict[tuple[str, str, str], Curve]:
    """Return the results of a study by axis, line and measure: at each point, the values of all seeds.

    A cell that diverged or lacks a measure is left out.

    Raises: InputError if the folder has no study.
    """
    if not (out / "study.json").is_file():
        raise InputError(f"{out} has no study.json; run entropic-ae figure first.")
    measured = {cell["name"]: cell for cell in read_cells(out / "cells")}
    found: dict[tuple[str, str, str], Curve] = {}
    for point in read_json(out / "study.json")["points"]:
        metrics = measured.get(point["name"], {}).get("metrics")
        for measure, of in MEASURES.items():
            value = None if metrics is None else of(metrics)
            curve = found.setdefault((point["axis"], point["line"], measure), {})
            if value is not None:
                curve.setdefault(point["value"], []).append(value)
    return found


def render_study(out: Path) -> str:
    """Return a study as Markdown: a table per axis, means ± standard deviations over seeds, and the protocol."""
    found, study = curves(out), read_json(out / "study.json")
    lines = []
    for axis in STUDIES[study["study"]]:
        head = [axis.label, "", *MEASURES]
        lines += ["", "| " + " | ".join(head) + " |", "| ---: | --- " + "| ---: " * len(MEASURES) + "|"]
        for value in axis.of(study["data"]):
            for line in axis.lines:
                of = [found.get((axis.setting, line.label, measure), {}) for measure in MEASURES]
                cells = [str(value), line.label, *(mean_text(curve.get(value, [])) for curve in of)]
                lines.append("| " + " | ".join(cells) + " |")
    first = next(cell for cell in read_cells(out / "cells") if "metrics" in cell)
    seeds = [len(values) for curve in found.values() for values in curve.values() if values]
    metrics = first["metrics"]
    said = ("epochs", "stop_after", "stop_rate")
    shared = "".join(f", {name} {value}" for name, value in first["cell"]["shared"].items() if name not in said)
    same = "Epochs are the same everywhere, so that larger batches make fewer steps."
    note = "" if ends_by_rule(first) else f" {same}"
    lines += [
        "",
        f"{first['data']}, {first['training_images']:,} training images, {length_text(first)}{shared}. "
        f"Frechet distances in {metrics['features']} features to the {metrics['split']} images, from "
        f"{metrics['n']:,} images each. {spread_text(seeds)}.{note}",
    ]
    if diverged := sum("diverged" in cell for cell in read_cells(out / "cells")):
        lines.append(f"{diverged} runs diverged and are left out.")
    lines += ["", *(text for axis in STUDIES[study["study"]] if (text := _prediction(axis, found, study["data"])))]
    lines += _nearest(STUDIES[study["study"]], found)
    return "\n".join(lines).strip()


def _nearest(axes: Iterable[Axis], found: Mapping[tuple[str, str, str], Curve]) -> list[str]:
    """Report where samples of the prior are nearest to the data, and where nearest to those of the mixture."""
    ways = {}
    for axis in axes:
        for line in axis.lines:
            prior, mixture = (found.get((axis.setting, line.label, name), {}) for name in ("prior", "mixture"))
            for value, apart in _apart(axis, line, found).items():
                ways[f"{line.label}, {axis.label} {value}"] = (prior[value], mixture[value], apart)
    if not ways:
        return []

    def said(way: str) -> str:
        prior, mixture, apart = map(mean_text, ways[way])
        return f"**{way}** (prior {prior}, mixture {mixture}, {apart} between them)"

    best = min(ways, key=lambda way: statistics.mean(ways[way][0]))
    closest = min(ways, key=lambda way: statistics.mean(ways[way][2]))
    return [
        f"- Samples from the prior are nearest to the data with {said(best)}.",
        f"- They are nearest to those from the mixture with {said(closest)}.",
    ]


def _apart(axis: Axis, line: Line, found: Mapping[tuple[str, str, str], Curve]) -> Curve:
    """Return how much farther from the data samples of the prior are than those of the mixture."""
    prior, mixture = (found.get((axis.setting, line.label, name), {}) for name in ("prior", "mixture"))
    return {
        value: [one - other for one, other in zip(prior[value], mixture[value], strict=True)]
        for value in prior.keys() & mixture.keys()
    }


def _prediction(axis: Axis, found: Mapping[tuple[str, str, str], Curve], data: str) -> str:
    """Report whether the paper's expectation along an axis holds for the first line, between its end values.

    Two measures judge it: the divergence of the codes from the prior, and how much farther from the data samples
    of the prior are than those of the mixture.
    """
    if not axis.expected:
        return ""
    line, ends = axis.lines[0], [axis.of(data)[0], axis.of(data)[-1]]
    divergence = found.get((axis.setting, line.label, "divergence (nats a dimension)"), {})
    measures = {
        "nats a dimension": divergence,
        "between the distances of prior and mixture": _apart(axis, line, found),
    }
    judged = [text for unit, curve in measures.items() if (text := _judged(curve, ends, axis.expected, unit))]
    if not judged:
        return ""
    towards = "farther from" if axis.expected > 0 else "nearer to"
    return (
        f"- The paper expects codes without an entropy to be {towards} the prior the larger the {axis.label}: "
        f"{', and '.join(judged)}."
    )


def _judged(curve: Curve, ends: Sequence[Any], expected: int, unit: str) -> str:
    """Report whether a measure changes between two values of an axis as expected; an empty text without both."""
    if any(not curve.get(value) for value in ends):
        return ""
    first, last = (curve[value] for value in ends)
    change = expected * (statistics.mean(last) - statistics.mean(first))
    holds = (
        "within the spread" if abs(change) < spread_of(first, last) else "holds" if change > 0 else "does not hold"
    )
    single = " by one training of each" if len(first) == len(last) == 1 else ""
    return f"**{holds}**{single} ({mean_text(first)} {unit} at {ends[0]}, {mean_text(last)} at {ends[1]})"


def draw_study(out: Path, files: Iterable[Path]) -> None:
    """Draw a study into each file: a column per axis, a row per measure, mean and deviation over seeds."""
    from matplotlib.figure import Figure

    found, study = curves(out), read_json(out / "study.json")
    axes = STUDIES[study["study"]]
    canvas = Figure(figsize=(4 * len(axes), 2.4 * len(MEASURES)), layout="constrained")
    grid = canvas.subplots(len(MEASURES), len(axes), sharey="row", squeeze=False)
    for row, measure in zip(grid, MEASURES, strict=True):
        for plot, axis in zip(row, axes, strict=True):
            places = range(len(axis.of(study["data"])))  # evenly spaced, like the values
            for line in axis.lines:
                curve = found.get((axis.setting, line.label, measure), {})
                points = [(x, curve[v]) for x, v in zip(places, axis.of(study["data"]), strict=True) if v in curve]
                plot.errorbar(
                    [x for x, _ in points],
                    [statistics.mean(values) for _, values in points],
                    [statistics.stdev(values) if len(values) > 1 else 0 for _, values in points],
                    marker="o",
                    capsize=3,
                    label=line.label,
                )
            plot.set_xticks(places, [str(value) for value in axis.of(study["data"])])
            plot.grid(alpha=0.3)
            if plot in grid[-1]:
                plot.set_xlabel(axis.label)
            if plot in grid[0]:
                plot.legend(fontsize="small")
        row[0].set_ylabel(measure if " " in measure else f"Frechet distance, {measure}")
    for file in files:
        save_canvas(canvas, file)
