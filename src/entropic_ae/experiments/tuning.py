"""Settings chosen on validation images, with the same number of tries for every system."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from entropic_ae.errors import InputError
from entropic_ae.experiments.sweep import Cell, read_cells
from entropic_ae.recipes import RECIPES, System
from entropic_ae.recipes.recipe import Scalar

__all__ = ["best", "render_tries", "score", "tries", "tuning_cells"]

_SPAN = 10.0  # weights are tried from a tenth to ten times their own
_RATES = (5e-4, 5e-3)


def tries(system: System, count: int) -> list[dict[str, Scalar]]:
    """Return settings to try for a system: its own first, then points that fill the space of what it can choose.

    That space is the learning rate from 5e-4 to 5e-3, and for every term but the error its weight from a tenth to
    ten times the system's own, all on a logarithmic scale; a weight of 0 stays. The points are Sobol's, scrambled
    by a fixed seed: the same for every system with as many dimensions.

    Arguments:
        system: a recipe on its preset.
        count: how many, at least 1.

    >>> from entropic_ae.recipes import PRESETS, configure
    >>> len(tries(configure(RECIPES["eae"], PRESETS["mnist"]), 4))
    4
    """
    if count < 1:
        raise InputError(f"the number of tries must be at least 1, got {count}.")
    settings = system.settings()
    weights = [term.setting for term in system.recipe.terms[1:] if term.weight > 0]
    ranges = [_RATES, *((float(settings[w]) / _SPAN, float(settings[w]) * _SPAN) for w in weights)]
    names = ["learning_rate", *weights]
    points = torch.quasirandom.SobolEngine(len(names), scramble=True, seed=0).draw(count - 1, dtype=torch.float64)
    chosen: list[dict[str, Scalar]] = [{name: settings[name] for name in names}]
    for point in points.tolist():
        values = [low * math.exp(p * math.log(high / low)) for p, (low, high) in zip(point, ranges, strict=True)]
        chosen.append({name: float(f"{value:.3g}") for name, value in zip(names, values, strict=True)})
    return chosen


def score(cell: Mapping[str, Any]) -> float:
    """Return what is lowered: the distance of samples from the density that the recipe draws from."""
    return float(cell["metrics"]["distances"][RECIPES[cell["cell"]["recipe"]].density]["frechet"])


def best(out: Path, recipe: str) -> dict[str, Scalar]:
    """Return the settings of a system's best try.

    Systems that differ in the density alone train the same model: the one that has no tries takes the other's.

    Raises: InputError if the folder has no try of the system.
    """
    cells = [cell for cell in read_cells(out) if cell["cell"]["recipe"] in _alike(recipe)]
    if not cells:
        raise InputError(f"{out} has no tries of '{recipe}'; run entropic-ae tune first.")
    return dict(min(cells, key=score)["cell"]["own"])


def render_tries(out: Path) -> str:
    """Return all tries as a Markdown table, the best of each system marked.

    Raises: InputError if the folder has none.
    """
    cells = read_cells(out)
    if not cells:
        raise InputError(f"{out} has no tries; run entropic-ae tune first.")
    lines = ["| system | settings | density | Frechet distance |", "| --- | --- | --- | ---: |"]
    for recipe in RECIPES:
        mine = [cell for cell in cells if cell["cell"]["recipe"] == recipe]
        for cell in mine:
            mark = "**" if cell is min(mine, key=score) else ""
            shown = " ".join(f"{name}={value:.3g}" for name, value in cell["cell"]["own"].items())
            lines.append(f"| {recipe} | {shown} | {RECIPES[recipe].density} | {mark}{score(cell):.2f}{mark} |")
    return "\n".join(lines)


def tuning_cells(
    recipes: Iterable[str],
    count: int,
    data: str,
    shared: Mapping[str, Scalar],
    *,
    limit: int | None = None,
    n: int = 10_000,
    features: str | None = None,
) -> list[Cell]:
    """Return the tries of each system as cells, measured on validation images with the recipe's one density."""
    cells = []
    for recipe in recipes:
        plain = Cell(recipe, data, 0, {}, shared, limit, n, features)
        density = (RECIPES[recipe].density,)
        cells += [
            Cell(recipe, data, 0, own, shared, limit, n, features, "validation", density)
            for own in tries(plain.system, count)
        ]
    return cells


def _alike(recipe: str) -> list[str]:
    """Return the recipes that train the same model."""
    one = RECIPES[recipe]
    return [
        name
        for name, other in RECIPES.items()
        if (other.terms, other.network) == (one.terms, one.network)
        and (other.bottleneck.func, other.bottleneck.keywords) == (one.bottleneck.func, one.bottleneck.keywords)
    ]
