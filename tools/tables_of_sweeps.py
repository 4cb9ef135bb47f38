"""Tables of ``docs/`` from the cells of sweeps, besides those that ``entropic_ae.experiments`` renders."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown

from entropic_ae.errors import InputError
from entropic_ae.experiments.budgets import ends_by_rule, length_text, lengths_text
from entropic_ae.experiments.cells import read_cells
from entropic_ae.experiments.table1 import mean_text, spread_text, statements
from entropic_ae.experiments.tuning import first_round, score
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.recipes.earlier import EARLIER
from entropic_ae.storage.run_folder import FLOOR
from entropic_ae.training import Settings

ROOT = Path(__file__).parent.parent
SETS = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
TITLES = {**SETS, "celeba": "Faces"}
FACTORS = (0.04, 0.2, 1, 5, 25, 125)
_PARTS = ("terms", "transport")  # of which a row of the leaders' table can have others than its system
_MAPPED_OR_NOT = ("bn-ae", "t-bn-ae", "eae", "t-eae")
CHOSEN = ("eae", "bn-ae", "wae", "vae", "rae")


def choice(path: Path) -> str:
    """Return two columns of some systems of CIFAR-10's and MNIST's tables: means over seeds."""
    head, columns = [""], []
    for data, title in SETS.items():
        measured = [cell for cell in read_cells(path / data) if "metrics" in cell]
        for density in ("prior", "mixture"):
            head.append(f"{title}, {density}")
            found: dict[str, list[float]] = {}
            for cell in measured:
                found.setdefault(cell["cell"]["recipe"], []).append(
                    cell["metrics"]["distances"][density]["frechet"]
                )
            columns.append({recipe: mean_text(values) for recipe, values in found.items()})
    return markdown(head, [[f"`{recipe}`", *(column[recipe] for column in columns)] for recipe in CHOSEN])


def factors(path: Path) -> str:
    """Return eae's best try by the factor on the entropy's default weight, of those after the first round."""
    rows: dict[float, dict[str, float]] = {}
    for data in SETS:
        usual = float(configure(RECIPES["eae"], PRESETS[data]).settings()["entropy"])
        for cell in first_round(path / data):
            if cell["cell"]["recipe"] == "eae":
                factor = float(cell["cell"]["own"].get("entropy", usual)) / usual  # of a weight that was rounded
                row = rows.setdefault(min(FACTORS, key=lambda one: abs(math.log(one / factor))), {})
                row[data] = min(score(cell), row.get(data, math.inf))
    lines = [
        [f"{factor:g}", *(f"{rows[factor][data]:.2f}" if data in rows[factor] else "-" for data in SETS)]
        for factor in sorted(rows)
    ]
    return markdown(["factor on the default weight", *SETS.values()], lines)


def parts(path: Path) -> str:
    """Return what marginals, correlation and joint structure cost in images, in that order: means over seeds."""
    order = ("prior", "marginals", "copula", "mixture")
    rows: dict[str, list[list[float]]] = {}
    for cell in read_cells(path):
        distances = [cell["metrics"]["distances"][density]["frechet"] for density in order]
        steps = [one - other for one, other in pairwise(distances)]
        rows.setdefault(cell["cell"]["recipe"], []).append([distances[0], *steps, distances[-1]])
    lines = [[f"`{recipe}`", *map(mean_text, zip(*found, strict=True))] for recipe, found in rows.items()]
    return markdown(["", "prior", "marginals", "correlation", "joint structure", "mixture"], lines)


def precisions(path: Path, whole: Path | None = None) -> str:
    """Return what systems come to in bf16 beside the same cells of the data set's table: means over seeds."""
    measures: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "reconstruction error": lambda metrics: metrics["reconstruction_error"],
        "entropy of the codes": lambda metrics: metrics["codes"]["entropy"],
        "prior": lambda metrics: metrics["distances"]["prior"]["frechet"],
        "mixture": lambda metrics: metrics["distances"]["mixture"]["frechet"],
    }
    half = read_cells(path)
    one = half[0]
    table = read_cells(whole or ROOT / "results" / "table1" / one["cell"]["data"])
    full = [cell for cell in table if any(_but_for_precision(cell, other) for other in half)]
    cells = {"32": full, "bf16": half}
    if len(full) != len(half):
        raise InputError(f"{path} has {len(half)} cells, of which the table has {len(full)}; measure them.")
    lines = []
    for recipe in dict.fromkeys(cell["cell"]["recipe"] for cell in half):
        for precision, measured in cells.items():
            mine = [cell["metrics"] for cell in measured if cell["cell"]["recipe"] == recipe]
            values = (mean_text([of(metrics) for metrics in mine]) for of in measures.values())
            lines.append([f"`{recipe}`", precision, *values])
    return (
        f"{markdown(['', 'precision', *measures], lines)}\n\n{one['data']}, {one['training_images']:,} training "
        f"images, {one['expanded']['settings']['epochs']} epochs. Frechet distances in "
        f"{one['metrics']['features']} features. Mean ± standard deviation over "
        f"{len({cell['cell']['seed'] for cell in half})} seeds. {one['machine']['processor']}, "
        f"{one['machine']['cores']} cores."
    )


def _but_for_precision(cell: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two cells are the same; a setting that came after one of them had its earlier value there."""
    one, two = (found["expanded"]["settings"] for found in (cell, other))
    known = {**one, **two}
    measured = ("recipe", "data", "seed", "limit", "n", "features", "split")
    return all(cell["cell"].get(name) == other["cell"].get(name) for name in measured) and all(
        one.get(name, EARLIER.get(name)) == two.get(name, EARLIER.get(name)) for name in known
    )


def leaders(path: Path) -> str:
    """Return the systems of one table, each by the density that it is meant for: means over seeds, best first.

    Beside the distance are that of the reconstructions, which no density can be far below, and recall, coverage
    and near-copies of the samples. Where a rule ends the training, the last column has its optimiser steps.
    """
    cells = [cell for cell in read_cells(path) if "metrics" in cell]
    rows: dict[tuple[str, str], list[list[float]]] = {}
    trainings: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    errors: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        metrics, recipe, own = cell["metrics"], cell["cell"]["recipe"], cell["cell"]["own"]
        density = "prior" if "transport" in own else RECIPES[recipe].density
        drawn = metrics["distances"][density]
        values = (
            metrics["reconstruction_error"],
            metrics["distances"]["reconstructions"]["frechet"],
            drawn["frechet"],
            metrics["distances"]["mixture"]["frechet"],
            *(100 * drawn[name] for name in ("recall", "coverage", "near_copies")),
        )
        parts = (f", `{part}={own[part]}`" for part in _PARTS if part in own)
        name = f"`{recipe}`{''.join(parts)}"
        rows.setdefault((name, density), []).append([*map(float, values)])
        measured = (metrics["distances"][one] for one in ("reconstructions", density, "mixture"))
        errors[name, density] = [one["frechet_error"] for one in measured]
        trainings.setdefault((name, density), []).extend([cell["training"]] if "training" in cell else [])
    if len({cell["label"] for cell in cells}) > len(rows):
        raise ValueError(f"{path} has several settings of one system, which would share a row.")
    columns = ("samples from", "error", "reconstructions", "samples", "mixture")
    columns += ("recall, %", "coverage, %", "near-copies, %")
    best_first = sorted(rows.items(), key=lambda row: sum(one[2] for one in row[1]) / len(row[1]))
    lines = [[*names, *map(mean_text, zip(*found, strict=True))] for names, found in best_first]
    seeds = spread_text([len(found) for found in rows.values()])
    if max(map(len, rows.values())) == 1:
        seeds += ", distances ± their standard error over draws of the images"
        for line, (names, _) in zip(lines, best_first, strict=True):
            for i, error in enumerate(errors[names], start=3):
                line[i] += f" ± {error:.2f}"
    if any(map(ends_by_rule, cells)):
        columns += ("steps",)
        lines = [
            [*line, lengths_text(trainings[names], go_on=True)]
            for line, (names, _) in zip(lines, best_first, strict=True)
        ]
    first, real = cells[0], cells[0]["metrics"]["distances"][FLOOR]
    settings = first["expanded"]["settings"]
    return (
        f"{markdown(['', *columns], lines)}\n\n{TITLES[first['cell']['data']]}: Frechet distances to test images "
        f"in {first['metrics']['features']} features, lower is better; held-out images are at "
        f"{real['frechet']:.2f}, with a recall of {100 * real['recall']:.0f} %, a coverage of "
        f"{100 * real['coverage']:.0f} % and {100 * real['near_copies']:.1f} % near-copies. "
        f"*Error* is squared, summed over an image. {seeds}; "
        f"{first['training_images']:,} training images, {length_text(first)}, width {settings['width']}"
        f"{_optimiser(settings)}{_precision(first)}; settings searched with equal tries on validation images."
        + "".join(
            f" The row with `{part}` has the settings searched for the system without."
            for part in _PARTS
            if any(f"`{part}=" in name for name, _ in rows)
        )
    )


def labels_from_codes(path: Path) -> str:
    """Return how well labels are told from codes, without and with a transport: means over seeds."""
    columns, lines = [""], [[f"`{recipe}`"] for recipe in _MAPPED_OR_NOT]
    for data, title in SETS.items():
        cells = [cell for cell in read_cells(path / f"{data}-leaders") if not {*cell["cell"]["own"]} & {*_PARTS}]
        for measure, said in (("knn_accuracy", "neighbours"), ("probe_accuracy", "linear")):
            columns.append(f"{title}, {said}")
            for recipe, line in zip(_MAPPED_OR_NOT, lines, strict=True):
                mine = [cell["metrics"] for cell in cells if cell["cell"]["recipe"] == recipe]
                line.append(mean_text([100 * metrics[measure] for metrics in mine]))
    return (
        f"{markdown(columns, lines)}\n\nLabels of test images told from their codes, % right, by five nearest "
        "neighbours and by a linear probe. The systems and runs are those of the leaders' tables. Mean ± standard "
        "deviation over seeds."
    )


def _precision(cell: Mapping[str, Any]) -> str:
    precision = cell["cell"].get("precision", "32")
    return "" if precision == "32" else f", in {precision}"


def _optimiser(settings: Mapping[str, Any]) -> str:
    """Return what of Adam is not its default."""
    beta2 = settings.get("beta2", Settings.beta2)
    return "" if beta2 == Settings.beta2 else f", Adam's `beta2` {beta2:g}"


def comparison(path: Path) -> str:
    """Return the distances of every system on both data sets, and which of the paper's statements hold.

    The prior column of a two-stage system holds its second stage, as in the paper.
    """
    head, columns, verdicts, floors = [""], [], [], []
    for data, title in SETS.items():
        cells = [cell for cell in read_cells(path / data) if "metrics" in cell]
        for density in ("prior", "gaussian", "mixture"):
            head.append(f"{title}, {density}")
            found: dict[str, list[float]] = {}
            for cell in cells:
                distances = cell["metrics"]["distances"]
                measured = (
                    distances.get("second-stage", distances["prior"]) if density == "prior" else distances[density]
                )
                found.setdefault(cell["cell"]["recipe"], []).append(measured["frechet"])
            columns.append({recipe: mean_text(values) for recipe, values in found.items()})
        settings = cells[0]["expanded"]["settings"]
        floors.append(f"{cells[0]['metrics']['distances'][FLOOR]['frechet']:.2f} on {title}")
        said = [re.search(r"all other systems here, \*\*(.+?)\*\*", line) for line in statements(path / data)]
        verdicts.append(f"{title}: {', '.join(match[1] for match in said if match)}")
    lines = [
        [f"`{recipe}`", *(column.get(recipe, "-") for column in columns)]
        for recipe in RECIPES
        if recipe in columns[0]
    ]
    seeds = {cell["cell"]["seed"] for cell in cells}
    paper = configure(RECIPES["eae"], PRESETS[data]).settings()["width"]
    first = cells[0]
    return (
        f"{markdown(head, lines)}\n\nFrechet distances to test images in {first['metrics']['features']} features "
        f"(lower is better). Real held-out images score {' and '.join(floors)}. Mean ± standard deviation over "
        f"{len(seeds)} seeds. Training was short: {first['training_images']:,} training images, "
        f"{settings['epochs']} epochs, width {settings['width']} of the paper's {paper}. In the prior columns, "
        "`2svae` and `2seae` draw codes from their second stage, a VAE of the codes, as in the paper.\n\nThe "
        "paper states that `eae` is ahead of all other systems with prior, gaussian and mixture sampling. Here, "
        f"against all but its variants `eae-linear` and `2seae`, in this order: {'; '.join(verdicts)}."
    )
