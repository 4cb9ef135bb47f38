"""Hyperparameter search on validation images, with the same number of tries for every system."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.experiments.sweep import Cell, read_cells, run_cells, silent
from entropic_ae.recipes import RECIPES
from entropic_ae.recipes.recipe import Scalar

__all__ = ["best", "best_of_all", "different", "render_tries", "score", "tune"]

_FINAL, _BEYOND = "final", "beyond"  # folders of the finalists' results, and of steps beyond the tried range


def tune(
    recipes: Iterable[str],
    table: Cell,
    out: Path,
    run_folder: Path,
    *,
    rates: Sequence[float] = (1e-3, 3e-3),
    factors: Sequence[float] = (0.2, 5.0, 25.0),
    refine: bool = False,
    finalists: int = 0,
    final_epochs: int | None = None,
    beyond: bool = False,
    tell: Callable[[str], None] = silent,
) -> None:
    """Try learning rates for each system, then, at its best rate, factors on the weights of its regularisers.

    All of the recipe's weights for the data set are multiplied by the same factor; a weight of 0 stays 0. A system
    without weights tries the same number of learning rates around its best instead. Every try is measured on
    validation images, by the Frechet distance of samples from the recipe's density; test images are not read.
    Tries are cells of a sweep: they are resumed, and shared between processes.

    Arguments:
        recipes: names of systems.
        table: a cell with the data, limit, n, features, shared settings, execution and seed of all tries.
        out: folder of the results, one JSON file per try.
        run_folder: folder of the run folders.
        rates: learning rates of the first round.
        factors: factors on the weights in the second round.
        refine: add one try per system, its best settings at half their learning rate; for best rates at the low
            end of the range.
        finalists: number of each system's best tries that are trained again, for ``final_epochs``: the best
            settings after few epochs may not be the best after many. The choice is made among their results, in
            ``out / "final"``.
        final_epochs: epochs of the finalists, usually those of the table.
        beyond: if a system's best settings are at an end of the tried learning rates or weights, add one try a
            step beyond that end, with ``final_epochs``; the choice includes it.
        tell: called with progress messages.

    Raises: InputError for no rate, a rate or factor that is not above 0, finalists without epochs, and as
        ``run_cells``.

    Reference for the finalists (successive halving): "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", Jamieson and Talwalkar (2016), https://arxiv.org/abs/1502.07943.
    """
    densities = {recipe: RECIPES.find(recipe).density for recipe in recipes}
    if not rates or min([*rates, *factors]) <= 0:
        raise InputError(f"rates and factors must be above 0, got rates {[*rates]} and factors {[*factors]}.")
    if finalists < 0 or (finalists > 0) != (final_epochs is not None):
        raise InputError(
            f"finalists need final epochs, got {finalists} finalists and {final_epochs or 'no'} final epochs; "
            "give both (--finalists and --final-epochs) or neither."
        )
    if beyond and not finalists:
        raise InputError(
            "steps beyond the tried range start from the finalists; give finalists and final epochs "
            "(--finalists and --final-epochs)."
        )
    plain = [
        replace(table, recipe=recipe, own={}, split="validation", densities=(density,))
        for recipe, density in densities.items()
    ]
    tell("learning rates:")
    first = {cell.recipe: [replace(cell, own={"learning_rate": rate}) for rate in rates] for cell in plain}
    run_cells([one for cells in first.values() for one in cells], out, run_folder, tell=tell)
    tell("at the best rate, factors on the weights, or more rates where a system has none:")
    tried = dict(first)
    for cell in plain:
        rate = float(_best_of(first[cell.recipe], out)["learning_rate"])
        second = [replace(cell, own=own) for own in _second_round(cell, rate, factors)]
        tried[cell.recipe] = [*first[cell.recipe], *second]
    run_cells([one for cells in tried.values() for one in cells], out, run_folder, tell=tell)
    if refine:
        tell("the best settings at half their rate:")
        third = []
        for cell in plain:
            own = _best_of(tried[cell.recipe], out)
            before = {one.name for one in tried[cell.recipe]}
            halved = replace(cell, own={**own, "learning_rate": float(own["learning_rate"]) / 2})
            while halved.name in before:
                halved = replace(cell, own={**own, "learning_rate": float(halved.own["learning_rate"]) / 2})
            third.append(halved)
            tried[cell.recipe].append(halved)
        run_cells(third, out, run_folder, tell=tell)
    if finalists and final_epochs:
        tell(f"the best {finalists} of each system, with {final_epochs} epochs:")
        last = [
            replace(cell, own=own, shared={**cell.shared, "epochs": final_epochs})
            for cell in plain
            for own in _ranked(tried[cell.recipe], out)[:finalists]
        ]
        run_cells(last, out / _FINAL, run_folder, tell=tell)
        if beyond:
            steps = [
                replace(cell, own=own, shared={**cell.shared, "epochs": final_epochs})
                for cell in plain
                for own in _steps_beyond(
                    tried[cell.recipe], _best_of([one for one in last if one.recipe == cell.recipe], out / _FINAL)
                )
            ]
            tell("a step beyond:" if steps else "no best settings are at an end of the tried range")
            if steps:
                run_cells(steps, out / _BEYOND, run_folder, tell=tell)


def _steps_beyond(tried: Sequence[Cell], own: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """Return settings one step beyond the tried rates or weights, if ``own`` is at an end of their range.

    A rate is doubled or halved; weights continue by the factor between the last two.
    """
    settings = [cell.system.settings() for cell in tried]
    mine = replace(tried[0], own=own).system.settings()
    names = [term.setting for term in tried[0].system.recipe.terms[1:] if term.weight > 0]
    found = []
    for moved in (["learning_rate"], names):
        values = sorted({float(one[moved[0]]) for one in settings}) if moved else []
        if len(values) < 2 or float(mine[moved[0]]) not in (values[0], values[-1]):
            continue
        lowest = float(mine[moved[0]]) == values[0]
        factor = values[0] / values[1] if lowest else values[-1] / values[-2]
        if moved == ["learning_rate"]:
            factor = 0.5 if lowest else 2.0
        found.append({**own, **{name: _rounded(factor * float(mine[name])) for name in moved}})
    return found


def _best_of(cells: Sequence[Cell], out: Path) -> dict[str, Scalar]:
    """Return the settings of the best of the measured tries."""
    return _ranked(cells, out)[0]


def _ranked(cells: Sequence[Cell], out: Path) -> list[dict[str, Scalar]]:
    """Return the settings of the measured tries, the best first."""
    names = {cell.name for cell in cells}
    return [dict(found["cell"]["own"]) for found in sorted(read_cells(out), key=score) if found["name"] in names]


def _second_round(cell: Cell, rate: float, factors: Sequence[float]) -> list[dict[str, Scalar]]:
    settings = cell.system.settings()
    weights = {
        term.setting: float(settings[term.setting]) for term in cell.system.recipe.terms[1:] if term.weight > 0
    }
    if not weights:
        steps = [(i // 2 + 1) * (-1) ** (i + 1) for i in range(len(factors))]  # -1, 1, -2, ...
        return [{"learning_rate": _rounded(rate * 1.5**step)} for step in steps]
    return [
        {"learning_rate": rate, **{name: _rounded(factor * weight) for name, weight in weights.items()}}
        for factor in factors
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def score(cell: Mapping[str, Any]) -> float:
    """Return the score, lower is better: the distance of samples from the recipe's density; or infinity."""
    if "diverged" in cell:
        return math.inf
    return float(cell["metrics"]["distances"][RECIPES.find(cell["cell"]["recipe"]).density]["frechet"])


def best(out: Path, recipe: str, data: str | None = None) -> dict[str, Scalar]:
    """Return the settings of a system's best try, or of its best finalist or step beyond, if there are any.

    Systems that differ only in the density train the same model: a system without tries takes those of the other.

    Arguments:
        out: folder of the results of ``tune``.
        recipe: the system's name.
        data: the data to use the settings on; a warning is issued if they were tried on other data.

    Raises: InputError if the folder has no try of the system, or fewer finalists of it than of another system.
    """
    if not out.is_dir():
        raise InputError(f"{out} is not a folder; give the --out of entropic-ae tune.")
    tries, finalists = _by_recipe(read_cells(out)), _by_recipe(read_cells(out / _FINAL))
    name = next((one for one in (recipe, *_alike(recipe)) if one in tries), None)
    if name is None:
        raise InputError(
            f"{out} has no tries of '{recipe}'; run entropic-ae tune with it first, or leave it out by --recipes."
        )
    there, complete = len(finalists.get(name, [])), max(map(len, finalists.values()), default=0)
    if there < complete:
        raise InputError(f"{out} has {there} of {complete} finalists of '{name}'; finish entropic-ae tune first.")
    beyond = _by_recipe(read_cells(out / _BEYOND)).get(name, [])
    chosen = min([*finalists.get(name, tries[name]), *beyond], key=score)["cell"]
    if data is not None and chosen["data"] != data:
        warnings.warn(
            f"the settings in {out} were tried on {chosen['data']}, and are used for {data}.", stacklevel=2
        )
    return dict(chosen["own"])


def best_of_all(out: Path) -> dict[str, dict[str, Scalar]]:
    """Return the settings of the best try, as ``best`` does, for each system with all its tries complete."""
    found = {}
    for recipe in _by_recipe(read_cells(out)):
        with suppress(InputError):
            found[recipe] = best(out, recipe)
    return found


def _by_recipe(cells: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        found.setdefault(cell["cell"]["recipe"], []).append(cell)
    return found


def render_tries(out: Path) -> str:
    """Return all tries as a Markdown table, the best of each system in bold, and the same for the finalists.

    Raises: InputError if the folder has no tries.
    """
    cells = read_cells(out)
    if not cells:
        raise InputError(f"{out} has no tries; run entropic-ae tune first.")
    text = _tries(cells)
    if last := read_cells(out / _FINAL):
        beyond = read_cells(out / _BEYOND)
        more = ", and a step beyond where the best lay at an end of what was tried" if beyond else ""
        text += f"\n\nThe best of these, trained for longer{more}; they decide:\n\n{_tries([*last, *beyond])}"
    return text


def _tries(cells: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| system | settings | density | Frechet distance |", "| --- | --- | --- | ---: |"]
    for recipe in dict.fromkeys([*RECIPES, *(cell["cell"]["recipe"] for cell in cells)]):
        mine = [cell for cell in cells if cell["cell"]["recipe"] == recipe]
        for cell in sorted(mine, key=lambda cell: list(cell["cell"]["own"].values())):
            mark = "**" if cell is min(mine, key=score) else ""
            shown = " ".join(f"{name}={value:.3g}" for name, value in cell["cell"]["own"].items())
            lines.append(f"| {recipe} | {shown} | {RECIPES[recipe].density} | {mark}{score(cell):.2f}{mark} |")
    one = next((cell for cell in cells if "metrics" in cell), None)
    if one is None:
        return "\n".join(lines)
    metrics = one["metrics"]
    shared = " ".join(f"{name}={value}" for name, value in one["cell"]["shared"].items())
    lines += [
        "",
        f"{one['data']}, {one['training_images']:,} training images, {shared}, one seed; {metrics['n']:,} samples "
        f"against {metrics['real_images']:,} validation images, in {metrics['features']} features.",
    ]
    return "\n".join(lines)


def different(recipes: Iterable[str]) -> list[str]:
    """Return the systems without those that train the same model as an earlier one and differ only in the density.

    >>> different(["eae", "2seae", "ae"])
    ['eae', 'ae']
    """
    chosen: list[str] = []
    for recipe in recipes:
        if not {*_alike(recipe)} & {*chosen}:
            chosen.append(recipe)
    return chosen


def _alike(recipe: str) -> list[str]:
    """Return the recipes that train the same model."""
    one = RECIPES[recipe]
    return [
        name
        for name, other in RECIPES.items()
        if (other.terms, other.network) == (one.terms, one.network)
        and (other.bottleneck.func, other.bottleneck.keywords) == (one.bottleneck.func, one.bottleneck.keywords)
    ]
