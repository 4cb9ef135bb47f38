"""Objectives on codes in training: each tuned alike, measured on one protocol, and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from entropic_ae.autoencoder import Trace
from entropic_ae.bottlenecks import BOTTLENECKS, Bottleneck, Code
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.experiments import cluster, estimator, tuning
from entropic_ae.experiments.cells import Cell
from entropic_ae.experiments.sweep import check_cell, run_cells, silent
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.randomness import generator, seeded
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.files import locked, read_json, write_json
from entropic_ae.terms import CodeLoss, NegativeEntropy, Term
from entropic_ae.training import to_unit

__all__ = [
    "BOTTLENECK_NAMES",
    "CONTROL",
    "ENTROPY",
    "OBJECTIVES",
    "RATES",
    "Contender",
    "contenders",
    "gradient_scale",
    "run_objectives",
]

CONTROL, ENTROPY = "none", "entropy"
OBJECTIVES: dict[str, tuple[Term, ...]] = {**estimator.OBJECTIVES, CONTROL: ()}
BOTTLENECK_NAMES = ("batch-norm", "whitening")  # whose prior is N(0, I), and which bound the entropy
RATES = (3e-3,)
DENSITIES = ("prior", "copula", "mixture")  # as draws of the prior through no transport, and through these
_RECIPE, _USUAL = "bn-ae", "batch-norm"
_REPEATS = 50  # minibatches of normal draws, over which a gradient is averaged
_STEPS, _WARMED = 30, 5  # timed, of which the median counts, and before


@dataclass(frozen=True)
class Contender:
    """An objective behind a bottleneck.

    Attributes:
        objective: a key of ``OBJECTIVES``.
        bottleneck: a name in ``BOTTLENECK_NAMES``.
        cell: with the settings of its common scale.
        refused: why it cannot be trained; None if it can.
    """

    objective: str
    bottleneck: str
    cell: Cell
    refused: str | None = None

    @property
    def name(self) -> str:
        """Both names, as in messages and results."""
        return f"{self.objective}, {self.bottleneck}"


def gradient_scale(
    terms: Sequence[Term], bottleneck: Bottleneck, n: int, *, repeats: int = _REPEATS, seed: int = 0
) -> float:
    r"""Return the root mean square gradient of a weighted sum of terms, with respect to the encoder's output.

    The encoder's outputs are N draws from N(0, I), so that the codes of a bottleneck that standardises them are
    what each objective wants. What an objective does to them is what it costs the reconstruction at the end.
    Weights are inversely proportional to it: at equal scales all objectives push equally there.

    Arguments:
        terms: on codes alone.
        bottleneck: in training mode.
        n: codes of a minibatch.
        repeats: minibatches, of which the median counts: gradients of nearest neighbours have a heavy tail.
        seed: of the draws.

    >>> from entropic_ae.bottlenecks import Identity
    >>> from entropic_ae.terms import CodeNorm  # whose gradient is 2 z / N
    >>> round(gradient_scale([CodeNorm(5.0)], Identity(8), 100, repeats=200), 2)
    0.1
    """
    losses, squares = [CodeLoss(term) for term in terms], []
    with seeded(seed):
        for _ in range(repeats):
            h = torch.randn(n, bottleneck.in_features, requires_grad=True)
            z = bottleneck(h).z
            torch.stack([loss(z) for loss in losses]).sum().backward()
            assert h.grad is not None
            squares.append(h.grad.square().mean().item())
    return statistics.median(squares) ** 0.5


def contenders(base: Cell, objectives: Sequence[str], bottlenecks: Sequence[str]) -> list[Contender]:
    """Return each objective behind each bottleneck, with weights of a common scale for the data of a cell.

    At that scale the gradient of an objective on normal codes has the same root mean square as that of the paper's
    entropy behind batch norm, at the weight that ``eae`` has for the data; see ``gradient_scale``. Objectives of
    several terms keep their proportions.

    Arguments:
        base: a cell with data, limit and shared settings.
        objectives: keys of ``OBJECTIVES``.
        bottlenecks: names in ``BOTTLENECK_NAMES``.

    Raises: InputError for an unknown name.
    """
    for name in objectives:
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, OBJECTIVES)
    for name in bottlenecks:
        if name not in BOTTLENECK_NAMES:
            raise unknown_name("bottleneck", name, BOTTLENECK_NAMES)
    usual = replace(base, recipe="eae", own={}).system.settings()
    n, dim = int(usual["batch_size"]), int(usual["latent_dim"])
    wanted = float(usual["entropy"]) * gradient_scale([NegativeEntropy()], BOTTLENECKS[_USUAL](dim), n)
    found = []
    for bottleneck in bottlenecks:
        own: dict[str, Scalar] = {} if bottleneck == _USUAL else {"bottleneck": bottleneck}
        for name in objectives:
            terms = OBJECTIVES[name]
            plain = replace(base, recipe=_RECIPE, own=own)
            try:
                check_cell(plain)  # the bottleneck alone, for the size of the batch
                if terms:
                    check_cell(replace(plain, own={**own, **_settings(terms, 1.0)}))
                    scale = gradient_scale(terms, BOTTLENECKS[bottleneck](dim), n)
                    plain = replace(plain, own={**own, **_settings(terms, wanted / scale)})
            except InputError as error:
                found.append(Contender(name, bottleneck, plain, str(error)))
            else:
                found.append(Contender(name, bottleneck, plain))
    return found


def _settings(terms: Sequence[Term], scale: float) -> dict[str, Scalar]:
    """Return the settings that put terms beside the squared error, with their weights times a factor."""
    own: dict[str, Scalar] = {"terms": "+".join(["squared_error", *(term.name for term in terms)])}
    for term in terms:
        own[term.setting] = float(f"{scale * term.weight:.3g}")
        for field in fields(term):
            value = getattr(term, field.name)
            if field.name != "weight" and value != field.default:
                own[f"{term.setting}.{field.name}"] = value
    return own


def _weighted(one: Contender, rate: float, factor: float) -> dict[str, Scalar]:
    """Return the settings of a contender at a factor on the weights of the common scale; 0 leaves no term."""
    weights = {term.setting: one.cell.own[term.setting] for term in OBJECTIVES[one.objective]}
    return {
        **one.cell.own,
        "learning_rate": rate,
        **{k: float(f"{factor * float(v):.3g}") for k, v in weights.items()},
    }


def run_objectives(
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    run_folder: Path,
    *,
    objectives: Sequence[str] = tuple(OBJECTIVES),
    bottlenecks: Sequence[str] = BOTTLENECK_NAMES,
    rates: Sequence[float] = RATES,
    factors: Sequence[float] = tuning.FACTORS,
    shares: Sequence[float] = tuning.SHARES,
    workers: int = 1,
    address: str | None = None,
    tell: Callable[[str], None] = silent,
) -> None:
    """Tune, train and measure objectives on codes, each behind each bottleneck; resumed if stopped.

    Each objective's weight is searched on validation images as ``tune`` does, with equally many candidates; the
    control, which has no weight, has as many learning rates. The best is trained with each seed and measured on
    test images: reconstructions, samples of the prior without a transport and through two kinds of it, and the
    diagnosis. Draws through the plain transport of a kind (a mixture of one scale, without
    shrinkage) are draws of the density of that name. The entropy is also
    measured at each factor and without weight: its reconstruction error against its distance is the curve on which
    the others are compared. Last, steps are timed.

    Arguments:
        base: a cell with data, limit, n, features, shared settings, execution and the seed of the search.
        seeds: of what is measured.
        out: folder of the results: ``search``, ``cells`` and ``times``, with a JSON file each, and
            ``objectives.json``, which says what they are.
        run_folder: folder of the run folders.
        objectives, bottlenecks: as for ``contenders``.
        rates, factors, shares, workers, address: as for ``tune``. The curve has the first rate.
        tell: called with progress messages.

    Raises: InputError as ``contenders``, ``tune`` and ``run_cells``.
    """
    everyone = contenders(base, objectives, bottlenecks)
    able = [one for one in everyone if one.refused is None]
    if not able:
        raise InputError(f"no objective can be trained here: {everyone[0].refused}")
    plain = {one.name: replace(one.cell, split="validation", densities=("prior",)) for one in able}
    best = tuning.search(
        plain,
        out / "search",
        run_folder,
        rates=rates,
        factors=factors,
        shares=shares,
        workers=workers,
        address=address,
        tell=tell,
    )
    measured = {one.name: replace(one.cell, split="test", densities=DENSITIES) for one in able}

    def at(one: Contender, own: Mapping[str, Scalar]) -> dict[int, Cell]:
        return {seed: replace(measured[one.name], own=own, seed=seed) for seed in seeds}

    chosen = {one.name: at(one, found["cell"]["own"]) for one in able if (found := best[one.name]) is not None}
    curves = {
        one.bottleneck: {
            factor: at(one, _weighted(one, rates[0], factor)) for factor in (0.0, *sorted({*factors}))
        }
        for one in able
        if one.objective == ENTROPY
    }
    cells = [cell for mine in chosen.values() for cell in mine.values()]
    cells += [cell for curve in curves.values() for mine in curve.values() for cell in mine.values()]
    run = run_cells
    if workers > 1 or address is not None:
        run = partial(cluster.run_on_ray, workers=workers, address=address)
    run({cell.name: cell for cell in cells}.values(), out / "cells", run_folder, tell=tell)
    times = dict(_times(able, out / "times", tell))
    write_json(
        out / "objectives.json",
        {
            "data": base.data,
            "rates": [*rates],
            "factors": sorted({*factors}),
            "contenders": [
                {
                    "objective": one.objective,
                    "bottleneck": one.bottleneck,
                    "common": dict(one.cell.own),
                    "refused": one.refused,
                    "cells": _names(chosen.get(one.name, {})),
                    "times": times.get(one.name),
                }
                for one in everyone
            ],
            "curves": [
                {"bottleneck": bottleneck, "factor": factor, "cells": _names(mine)}
                for bottleneck, curve in curves.items()
                for factor, mine in curve.items()
            ],
        },
    )


def _names(cells: Mapping[int, Cell]) -> dict[str, str]:
    return {str(seed): cell.name for seed, cell in cells.items()}


def _times(able: Sequence[Contender], folder: Path, tell: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    """Yield the milliseconds of each contender; those in the folder are read, others measured and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in able:
        file = folder / f"{one.bottleneck}-{one.objective.replace(' ', '-')}.json"
        with locked(folder / ".claims" / f"{file.stem}.lock"):
            if not file.exists():
                tell(f"time of a step, {one.name}")
                stamp = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
                write_json(file, {"contender": one.name, **_timed(one), **stamp})
        yield one.name, read_json(file)


def _timed(one: Contender) -> dict[str, Any]:
    """Return the median milliseconds of the objective on codes alone, and of a whole step of training."""
    cell = one.cell
    model, objective = cell.system.build(cell.images.shape)
    target, batch = cell.execution.target, cell.system.preset.training.batch_size
    model.to(target).train()
    x = to_unit(cell.images.train.images[:batch]).to(target)
    with seeded(0):
        codes = (
            torch.randn(len(x), model.bottleneck.latent_dim, generator=generator(0)).to(target).requires_grad_()
        )
        terms = [term for term in objective.terms if term.name != "squared_error"]

        def on_codes() -> None:
            torch.stack([term(model, Trace(x, Code(codes), x)) for term in terms]).sum().backward()

        optimizer = torch.optim.Adam(model.parameters(), 1e-6)

        def whole() -> None:
            optimizer.zero_grad()
            objective(model, model(x))[0].backward()
            optimizer.step()

        return {
            "batch": len(x),
            "dim": model.bottleneck.latent_dim,
            "device": str(target),
            "threads": torch.get_num_threads(),
            "term": _milliseconds(on_codes, target) if terms else 0.0,
            "step": _milliseconds(whole, target),
        }


def _milliseconds(function: Callable[[], None], target: torch.device) -> float:
    found = []
    for _ in range(_WARMED + _STEPS):
        started = time.perf_counter()
        function()
        if target.type == "cuda":
            torch.cuda.synchronize(target)
        found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found[_WARMED:])
