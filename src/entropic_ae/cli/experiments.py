"""Commands of experiments: table1, tune, objectives, figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from entropic_ae.cli.options import (
    Compile,
    Device,
    Epochs,
    Limit,
    Precision,
    Recipes,
    RunsFolder,
    Settings,
    Width,
    read_list,
    read_numbers,
    read_settings,
    read_systems,
)
from entropic_ae.cli.printing import Document, console, notes
from entropic_ae.storage.files import read_json

if TYPE_CHECKING:
    from entropic_ae.experiments.cells import Cell

__all__ = ["figure", "objectives", "table1", "tune"]

Budget = Annotated[
    str | None,
    typer.Option(
        help="small, converged (until the validation loss stops falling) or paper: images, epochs, width and n, "
        "each of which its own option overrides."
    ),
]
Images = Annotated[int | None, typer.Option(help="Images from each density; default: the budget's, or 10000.")]
Workers = Annotated[int, typer.Option(help="Parallel processes, by Ray (extra cluster).")]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="The address of a running Ray cluster; default: this machine."),
]


def table1(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for [b]train[/b].")],
    recipes: Recipes = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    budget: Budget = None,
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Images = None,
    densities: Annotated[
        str | None, typer.Option(help="Densities, separated by commas; default: each recipe's.")
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(help="Results of [b]tune[/b]: each system takes the settings of its best try."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of results; default: results/table1/DATA, with -BUDGET unless it is small."),
    ] = None,
    runs: RunsFolder = Path("runs/table1"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the systems side by side, from the runs of the first seed.")
    ] = None,
    samples_only: Annotated[
        bool, typer.Option("--samples-only", help="In the picture, show no real image and no reconstruction.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Only print existing results, as Markdown.")] = False,
    workers: Workers = 1,
    ray: Ray = None,
) -> Document:
    """Measure systems on one protocol, one result file per system and seed; re-running the command resumes.

    Several processes or machines may share the work: give them the same command and folders.
    """
    systems, numbers = read_systems(recipes), read_numbers("seeds", seeds, int)  # before Lightning is imported

    from entropic_ae.experiments import cells, jobs

    given = read_settings(set, width, epochs)
    base = _cell(data, given, limit, n, features, device, precision, compile=compile, budget=budget)
    results = out or Path("results/table1") / base.place()
    table = jobs.run_table(
        systems,
        numbers,
        replace(base, densities=None if densities is None else tuple(read_list(densities))),
        results,
        runs,
        tuned=tuned,
        picture=picture,
        real=not samples_only,
        render=render,
        workers=workers,
        address=ray,
        tell=_tell(),
    )
    console.out(table, highlight=False)
    return {"results": results, "picture": picture, "cells": cells.read_cells(results)}


def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for [b]train[/b].")],
    recipes: Annotated[str | None, typer.Option(help="Systems, separated by commas; default: all.")] = None,
    rates: Annotated[str, typer.Option(help="Learning rates of the grid.")] = "5e-4,1e-3,3e-3",
    factors: Annotated[
        str, typer.Option(help="Factors of the grid, on the regularisers' weights; every second point is tried.")
    ] = "0.04,0.2,1,5,25,125",
    shares: Annotated[
        str,
        typer.Option(help="Of the epochs, after which the best third of the candidates is kept; the last is 1."),
    ] = "0.67,1",
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    validation_images: Annotated[
        int,
        typer.Option(help="Validation images of each epoch of training; 0: all. Candidates are compared on all."),
    ] = 2000,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Annotated[int, typer.Option(help="Images from the density.")] = 10_000,
    out: Annotated[Path | None, typer.Option(help="Folder of results; default: results/tuning/DATA.")] = None,
    runs: RunsFolder = Path("runs/tuning"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    render: Annotated[bool, typer.Option("--render", help="Only print existing results, as Markdown.")] = False,
    workers: Workers = 1,
    ray: Ray = None,
) -> Document:
    """Search each system's settings on validation images; resumed and shared like [b]table1[/b].

    Successive halving over a grid of learning rates and weights, with equally many candidates and minibatches for
    every system. The criterion is the Frechet distance of samples from the system's density: the prior for eae and
    the variational systems, the second stage for two-stage systems, the mixture for the others.
    """
    names = read_systems(recipes)
    learning_rates, multiples = read_numbers("rates", rates, float), read_numbers("factors", factors, float)
    parts = read_numbers("shares", shares, float)

    from entropic_ae.experiments import tuning  # after the refusals, as it imports Lightning

    results = out or Path("results/tuning") / Path(data).stem
    if not render:
        shared = {"validation_images": str(validation_images), **read_settings(set, width, epochs)}
        tuning.tune(
            names,
            _cell(data, shared, limit, n, features, device, precision, compile=compile),
            results,
            runs,
            rates=learning_rates,
            factors=multiples,
            shares=parts,
            workers=workers,
            address=ray,
            tell=_tell(),
        )
    console.out(tuning.render_tries(results), highlight=False)
    if not render:
        notes.print(escape(f"table1 {data} --tuned {results} uses the settings in bold in the last table."))
    return {"results": results, "best": tuning.best_of_all(results), "tries": tuning.tries(results)}


def objectives(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for [b]train[/b].")],
    chosen: Annotated[
        str | None,
        typer.Option(
            "--objectives", help="Objectives, separated by commas; default: all that docs/objectives.md has."
        ),
    ] = None,
    bottlenecks: Annotated[str, typer.Option(help="Bottlenecks, separated by commas.")] = "batch-norm,whitening",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas; the search has the first.")] = "0",
    rates: Annotated[str, typer.Option(help="Learning rates of the search.")] = "3e-3",
    factors: Annotated[
        str, typer.Option(help="Factors on the weights of the common scale, of which the best is searched.")
    ] = "0.04,0.2,1,5,25,125",
    shares: Annotated[str, typer.Option(help="As for [b]tune[/b].")] = "0.67,1",
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    validation_images: Annotated[int, typer.Option(help="As for [b]tune[/b].")] = 2000,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Annotated[int, typer.Option(help="Images from each density.")] = 10_000,
    out: Annotated[Path | None, typer.Option(help="Folder of results; default: results/objectives/DATA.")] = None,
    runs: RunsFolder = Path("runs/objectives"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    render: Annotated[bool, typer.Option("--render", help="Only print existing results, as Markdown.")] = False,
    workers: Workers = 1,
    ray: Ray = None,
) -> Document:
    """Compare losses that make codes normal, each tuned alike; resumed and shared like [b]table1[/b].

    Each is searched on validation images as [b]tune[/b] does, trained with each seed, measured on test images, and
    timed. It is ahead of the entropy if its samples are nearer at equal reconstruction error.
    """
    numbers, learning_rates = read_numbers("seeds", seeds, int), read_numbers("rates", rates, float)
    multiples, parts = read_numbers("factors", factors, float), read_numbers("shares", shares, float)

    from entropic_ae.experiments import objectives as training  # after the refusals, as it imports Lightning
    from entropic_ae.experiments.objectives_table import render_objectives

    results = out or Path("results/objectives") / Path(data).stem
    if not render:
        shared = {"validation_images": str(validation_images), **read_settings(set, width, epochs)}
        base = _cell(data, shared, limit, n, features, device, precision, compile=compile)
        training.run_objectives(
            replace(base, seed=numbers[0]),
            numbers,
            results,
            runs,
            objectives=[*training.OBJECTIVES] if chosen is None else read_list(chosen),
            bottlenecks=read_list(bottlenecks),
            rates=learning_rates,
            factors=multiples,
            shares=parts,
            workers=workers,
            address=ray,
            tell=_tell(),
        )
    console.out(render_objectives(results), highlight=False)
    return {"results": results, "objectives": read_json(results / "objectives.json")}


def figure(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The paper's 1 to 11, or all; constraints, estimator; or a study of DATA: bottleneck, weight, "
            "budget.",
        ),
    ],
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="For a study, as for train.")] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds, separated by commas; only the studies use more than the first.")
    ] = "0",
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Images = None,
    budget: Annotated[
        str | None,
        typer.Option(help="As for [b]table1[/b], for studies; default: none, and converged for the study budget."),
    ] = None,
    recipes: Annotated[
        str | None, typer.Option(help="Systems of the study budget, as for [b]table1[/b]; default: its own.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Optimiser steps at which the study budget measures before training ends."),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(
            help="Results of [b]tune[/b], for the study budget; the folder with those of all data sets, for "
            "figures 4, 10 and 11."
        ),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="The folder with table1's results, for figures 4, 10 and 11.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of figures and results.")] = Path("results/figures"),
    runs: RunsFolder = Path("runs/figures"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    render: Annotated[bool, typer.Option("--render", help="Only draw what is measured of a study.")] = False,
) -> Document:
    """Draw a figure of the paper, or a study, from runs that are trained if missing; resumed like table1."""
    from entropic_ae.experiments import jobs
    from entropic_ae.experiments.budgets import CONVERGED

    sources = {option: context.get_parameter_source(option) for option in _OF_TRAINING}
    given = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    jobs.check_figure(name, data, given)
    numbers = read_numbers("seeds", seeds, int)
    systems = None if recipes is None else read_systems(recipes)
    lengths = None if steps is None else read_numbers("steps", steps, int)
    shared = read_settings(set, width, epochs)
    budget = budget or (CONVERGED if name == jobs.BUDGET else None)
    base = _cell(data or "", shared, limit, n, features, device, precision, compile=compile, budget=budget)
    base = replace(base, recipe="eae", seed=numbers[0])
    files = jobs.run_figure(
        name,
        base,
        numbers,
        out,
        runs,
        tuned=tuned,
        tables=tables,
        systems=systems,
        steps=lengths,
        render=render,
        tell=_tell(),
    )
    for file in files:
        console.print(str(file))
    return {"figure": name, "files": files}


_OF_TRAINING = (
    *("set", "width", "epochs", "limit", "features", "n", "budget", "recipes", "steps", "tuned", "tables", "runs"),
    *("device", "precision", "compile", "render"),
)


def _cell(
    data: str,
    shared: dict[str, Any],
    limit: int | None,
    n: int | None,
    features: str | None,
    device: str,
    precision: str,
    *,
    compile: bool,
    budget: str | None = None,
) -> Cell:
    """Return a cell with the common settings of a sweep: those that are given, then those of a budget."""
    from entropic_ae.experiments.budgets import NO_BUDGET, find_budget
    from entropic_ae.experiments.cells import Cell
    from entropic_ae.training import Execution

    execution = Execution(device, precision=precision, compile=compile)
    usual = (NO_BUDGET if budget is None else find_budget(budget)).of(data)
    return Cell(
        recipe="",
        data=data,
        seed=0,
        shared={**usual.settings, **shared},
        limit=usual.limit if limit is None else limit,
        n=usual.n if n is None else n,
        features=usual.features if features is None else features,
        execution=execution,
        budget=budget,
    )


def _tell() -> Callable[[str], None]:
    """Return the receiver of the progress messages of a sweep."""
    from entropic_ae.experiments.sweep import silent

    return silent if notes.quiet else notes.print
