"""Search of learning rates and weights on validation images, by successive halving, equal for every system."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError, warn
from entropic_ae.experiments import cluster
from entropic_ae.experiments.cells import Cell, Rung, read_cells
from entropic_ae.experiments.sweep import run_cells, silent
from entropic_ae.recipes import RECIPES
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.training.checks import minibatches_to_settle

__all__ = [
    "FACTORS",
    "RATES",
    "SHARES",
    "best",
    "best_of_all",
    "first_round",
    "render_tries",
    "score",
    "search",
    "tries",
    "tune",
]

RATES = (5e-4, 1e-3, 3e-3)
FACTORS = (0.04, 0.2, 1.0, 5.0, 25.0, 125.0)
# Fewer epochs mislead. On MNIST, eae with 25 times the weight and rate 0.003 is at 82, 29, 17 and 13 after 200,
# 300, 400 and 600 minibatches. At rate 0.001 it is at 26 after 200, and above 13 after 600.
SHARES = (0.67, 1.0)
_KEPT = 3  # of so many candidates, the best one goes on to the next round
_RUNG = "rung-{}"  # folder of the results of a round
# Before successive halving, few epochs judged all tries, and finalists had more: such results can still be read.
_FINAL, _BEYOND = "final", "beyond"
_OLD = "tries from before all were judged after equal minibatches"


def tune(
    recipes: Iterable[str],
    table: Cell,
    out: Path,
    run_folder: Path,
    *,
    rates: Sequence[float] = RATES,
    factors: Sequence[float] = FACTORS,
    shares: Sequence[float] = SHARES,
    workers: int = 1,
    address: str | None = None,
    tell: Callable[[str], None] = silent,
) -> None:
    """Search learning rates and weights together, by successive halving: the best third of each round trains on.

    The candidates are every second point of the grid of rates and factors, as the squares of one colour on a chess
    board. All of the recipe's weights for the data set are multiplied by the same factor; a weight of 0 stays 0.
    A system without weights has as many rates over the same range instead. Every system has equally many
    candidates, after equally many minibatches, in each round.

    Every candidate is measured on validation images, by the Frechet distance of samples from the density that the
    recipe names; test images are not read. No round is shorter than the running averages of the norms need to
    settle, unless they are estimated anew, and the last has all epochs of the table. A round continues the runs of
    the round before. Results are cells of a sweep: they are resumed, and shared between processes.

    Arguments:
        recipes: names of systems.
        table: a cell with the data, limit, n, features, shared settings, execution and seed of all tries.
        out: folder of the results, one JSON file per candidate and round.
        run_folder: folder of the run folders.
        rates: learning rates.
        factors: factors on the weights.
        shares: of the table's epochs, after which the candidates of each round are compared; the last is 1.
        workers, address: of Ray, which is used for more than one worker or with an address.
        tell: called with progress messages.

    Raises: InputError for no rate, a rate or factor that is not above 0, shares that do not rise to 1, systems of
        different epochs, results of another search in ``out``, and as ``run_cells`` and ``run_on_ray``.

    Reference: "Non-stochastic Best Arm Identification and Hyperparameter Optimization", Jamieson and Talwalkar
    (2016), https://arxiv.org/abs/1502.07943.
    """
    densities = {recipe: RECIPES.find(recipe).density for recipe in recipes}
    _check_grid(rates, factors)
    plain = {
        recipe: replace(table, recipe=recipe, own={}, split="validation", densities=(density,))
        for recipe, density in densities.items()
    }
    search(
        plain,
        out,
        run_folder,
        rates=rates,
        factors=factors,
        shares=shares,
        workers=workers,
        address=address,
        tell=tell,
    )


def search(
    plain: Mapping[str, Cell],
    out: Path,
    run_folder: Path,
    *,
    rates: Sequence[float],
    factors: Sequence[float],
    shares: Sequence[float] = SHARES,
    workers: int = 1,
    address: str | None = None,
    tell: Callable[[str], None] = silent,
) -> dict[str, dict[str, Any] | None]:
    """Search the settings of cells by name, as ``tune`` does those of recipes: the same for each.

    Arguments:
        plain: the systems by any names, on validation images; each cell's own settings hold for all of its
            candidates, and its weights are what the factors multiply.
        out, run_folder, rates, factors, shares, workers, address, tell: as for ``tune``.

    Returns: the result of each one's best candidate of the last round; None if all of them diverged.

    Raises: InputError as ``tune``.
    """
    _check_grid(rates, factors)
    if [*shares] != sorted({*shares}) or not shares or shares[0] <= 0 or shares[-1] != 1:
        raise InputError(f"shares of the epochs must rise from above 0 to 1, got {[*shares]}.")
    run = run_cells
    if workers > 1 or address is not None:
        run = partial(cluster.run_on_ray, workers=workers, address=address)
    rates, factors = sorted({*rates}), sorted({*factors})
    rungs = _rungs([*plain.values()], rates, factors, shares)
    _check_same_search(out, rungs[0])
    said = ", then ".join(f"{rung.candidates} after {rung.minibatches:,} minibatches" for rung in rungs)
    tell(f"{len(plain)} system{'s' * (len(plain) > 1)}, candidates of each: {said}")
    chosen = {
        name: [replace(cell, own=own) for own in _candidates(cell, rates, factors)] for name, cell in plain.items()
    }
    best: dict[str, dict[str, Any] | None] = {}
    for rung in rungs:
        tried = {
            name: [
                replace(
                    cell,
                    shared={**cell.shared, "epochs": rung.epochs},
                    rung=rung,
                    earlier_epochs=rung.earlier_epochs,
                )
                for cell in cells
            ]
            for name, cells in chosen.items()
        }
        cells = [cell for mine in tried.values() for cell in mine]
        folder = out / _RUNG.format(rung.number)
        later = sum(one.candidates * one.added_epochs for one in rungs[rung.number :])
        if cells:
            run(cells, folder, run_folder, later=len(plain) * later / rung.added_epochs, tell=tell)
        found = {cell["name"]: cell for cell in read_cells(folder)}
        for name, mine in tried.items():
            ranked = sorted(mine, key=lambda cell: score(found[cell.name]))
            whole = [cell for cell in ranked if "diverged" not in found[cell.name]]
            best[name] = found[whole[0].name] if whole else None
            chosen[name] = whole[: rungs[rung.number].candidates] if rung.number < rung.of else []
    return best


def _check_grid(rates: Sequence[float], factors: Sequence[float]) -> None:
    if not (rates and factors) or min([*rates, *factors]) <= 0:
        raise InputError(f"rates and factors must be above 0, got rates {[*rates]} and factors {[*factors]}.")


def _rungs(
    plain: Sequence[Cell], rates: Sequence[float], factors: Sequence[float], shares: Sequence[float]
) -> list[Rung]:
    """Return the rounds, none shorter than running averages need, each with a third of the candidates before."""
    settings = [cell.system.settings() for cell in plain]
    for name in ("epochs", "batch_size"):
        if len({one[name] for one in settings}) > 1:
            shown = ", ".join(f"{cell.recipe} {one[name]}" for cell, one in zip(plain, settings, strict=True))
            raise InputError(
                f"systems are compared after equally many minibatches, got {name} of {shown}; give one by --set."
            )
    epochs, per_epoch = int(settings[0]["epochs"]), plain[0].steps_per_epoch
    waiting = [cell for cell in plain if not cell.system.preset.training.estimating(per_epoch)]
    needed = max((minibatches_to_settle(cell.system.build(cell.images.shape)[0]) for cell in waiting), default=0)
    least = max(1, math.ceil(needed / per_epoch))
    ends = sorted({min(epochs, max(least, round(share * epochs))) for share in shares})
    count = len(_candidates(plain[0], rates, factors))
    return [
        Rung(
            number=number,
            of=len(ends),
            candidates=math.ceil(count / _KEPT ** (number - 1)),
            epochs=end,
            earlier_epochs=before,
            minibatches=per_epoch * end,
            rates=tuple(rates),
            factors=tuple(factors),
        )
        for number, (before, end) in enumerate(pairwise([0, *ends]), 1)
    ]


def _candidates(cell: Cell, rates: Sequence[float], factors: Sequence[float]) -> list[dict[str, Scalar]]:
    """Return the settings of a system's candidates: equally many for every system."""
    grid = [(i, j) for i in range(len(rates)) for j in range(len(factors))]
    if min(len(rates), len(factors)) > 1:
        grid = [(i, j) for i, j in grid if (i + j) % 2 == 0]
    settings = cell.system.settings()
    weights = {
        term.setting: float(settings[term.setting]) for term in cell.system.recipe.terms[1:] if term.weight > 0
    }
    if weights:
        return [
            {
                **cell.own,
                "learning_rate": rates[i],
                **{name: _rounded(factors[j] * weight) for name, weight in weights.items() if factors[j] != 1},
            }
            for i, j in grid
        ]
    low, high = (rates[0], rates[-1]) if len(rates) > 1 else (rates[0] / 2, rates[0] * 2)
    steps = max(1, len(grid) - 1)
    return [
        {**cell.own, "learning_rate": _rounded(low * (high / low) ** (step / steps))} for step in range(len(grid))
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _check_same_search(out: Path, rung: Rung) -> None:
    """Raise InputError if a folder holds results of another search."""
    found = tries(out)
    if any("tuning" not in cell for cell in found):
        raise InputError(f"{out} holds {_OLD}; give another --out.")
    for name in ("of", "rates", "factors"):
        now = getattr(rung, name)
        for before in (cell["tuning"][name] for cell in found):
            if before != (now if name == "of" else [*now]):
                shown = "rounds" if name == "of" else name
                raise InputError(
                    f"{out} holds a search with {shown} {before}, got {now}: its tries are not comparable with "
                    "these; give another --out."
                )


def score(cell: Mapping[str, Any]) -> float:
    """Return the score, lower is better: the distance of samples from the recipe's density; or infinity."""
    if "diverged" in cell:
        return math.inf
    return float(cell["metrics"]["distances"][RECIPES.find(cell["cell"]["recipe"]).density]["frechet"])


def best(out: Path, recipe: str, data: str | None = None) -> dict[str, Scalar]:
    """Return the settings of a system's best try of the last round.

    Arguments:
        out: folder of the results of ``tune``.
        recipe: the system's name.
        data: the data to use the settings on; a warning is issued if they were tried on other data.

    Raises: InputError if the folder has no try of the system, its search is not complete, all of its last tries
        diverged, or the folder holds tries of two kinds of search.
    """
    if not out.is_dir():
        raise InputError(f"{out} is not a folder; give the --out of entropic-ae tune.")
    rounds = [[cell for cell in cells if cell["cell"]["recipe"] == recipe] for cells in _rounds(out)]
    if not any(rounds):
        raise InputError(
            f"{out} has no tries of '{recipe}'; run entropic-ae tune with it first, or leave it out by --recipes."
        )
    if not _is_complete(rounds):
        raise InputError(f"the search for '{recipe}' in {out} is not complete; finish entropic-ae tune first.")
    chosen = min(next(cells for cells in reversed(rounds) if cells), key=score)
    if "diverged" in chosen:
        raise InputError(f"all tries of '{recipe}' in {out} diverged; run entropic-ae tune with lower --rates.")
    if data is not None and chosen["cell"]["data"] != data:
        warn(f"the settings in {out} were tried on {chosen['cell']['data']}, and are used for {data}.")
    return dict(chosen["cell"]["own"])


def best_of_all(out: Path) -> dict[str, dict[str, Scalar]]:
    """Return the settings of the best try, as ``best`` does, for each system whose search is complete."""
    found = {}
    for recipe in dict.fromkeys(cell["cell"]["recipe"] for cell in tries(out)):
        with suppress(InputError):
            found[recipe] = best(out, recipe)
    return found


def tries(out: Path) -> list[dict[str, Any]]:
    """Return the results of all rounds, in their order; InputError if they are of two kinds of search."""
    return [cell for cells in _rounds(out) for cell in cells]


def first_round(out: Path) -> list[dict[str, Any]]:
    """Return the results of the first round, which has all settings that were tried."""
    return _rounds(out)[0]


def _rounds(out: Path) -> list[list[dict[str, Any]]]:
    """Return the results of each round; a search before successive halving had one, and one of finalists."""
    old = [read_cells(out), [*read_cells(out / _FINAL), *read_cells(out / _BEYOND)]]
    first = read_cells(out / _RUNG.format(1))
    if first and any(old):
        raise InputError(f"{out} holds {_OLD} besides others, which are not comparable; remove one kind.")
    if not first:
        return old
    later = range(2, first[0]["tuning"]["of"] + 1)
    return [first, *(read_cells(out / _RUNG.format(number)) for number in later)]


def _is_complete(rounds: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether no try of a system is missing; what diverges in a round is not in the next."""
    if any("tuning" not in cell for cells in rounds for cell in cells):
        return True  # of the kind before: nothing says how many there were to be
    left = math.inf
    for cells in rounds:
        if not cells:
            return left == 0
        if len(cells) < min(left, cells[0]["tuning"]["candidates"]):
            return False
        left = sum("diverged" not in cell for cell in cells)
    return True


def render_tries(out: Path) -> str:
    """Return the tries of each round as a Markdown table, the best of each system in bold.

    Raises: InputError if the folder has no tries, or tries of two kinds of search.
    """
    rounds = [cells for cells in _rounds(out) if cells]
    if not rounds:
        raise InputError(f"{out} has no tries; run entropic-ae tune first.")
    parts = [_tries(rounds[0])]
    for cells in rounds[1:]:
        if "tuning" in cells[0]:
            tuning = cells[0]["tuning"]
            decide = "; they decide" if tuning["number"] == tuning["of"] else ""
            what = f"The best {tuning['candidates']} of each system, trained on{decide}"
        else:
            more = ", and a step beyond where the best lay at an end of what was tried" * bool(
                read_cells(out / _BEYOND)
            )
            what = f"The best of these, trained for longer{more}; they decide"
        parts += [f"{what}:", _tries(cells)]
    return "\n\n".join(parts)


def _tries(cells: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| system | settings | density | Frechet distance |", "| --- | --- | --- | ---: |"]
    for recipe in dict.fromkeys([*RECIPES, *(cell["cell"]["recipe"] for cell in cells)]):
        mine = [cell for cell in cells if cell["cell"]["recipe"] == recipe]
        for cell in sorted(mine, key=lambda cell: list(cell["cell"]["own"].values())):
            mark = "**" if cell is min(mine, key=score) else ""
            shown = " ".join(
                f"{name}={value}" if isinstance(value, str) else f"{name}={value:.3g}"
                for name, value in cell["cell"]["own"].items()
            )
            lines.append(
                f"| {recipe} | {shown} | {RECIPES.find(recipe).density} | {mark}{score(cell):.2f}{mark} |"
            )
    one = next((cell for cell in cells if "metrics" in cell), None)
    if one is None:
        return "\n".join(lines)
    metrics = one["metrics"]
    shared = " ".join(f"{name}={value}" for name, value in one["cell"]["shared"].items())
    minibatches = f", {one['tuning']['minibatches']:,} minibatches" if "tuning" in one else ""
    lines += [
        "",
        f"{one['data']}, {one['training_images']:,} training images, {shared}{minibatches}, one seed; "
        f"{metrics['n']:,} samples against {metrics['real_images']:,} validation images, in "
        f"{metrics['features']} features.",
    ]
    return "\n".join(lines)
