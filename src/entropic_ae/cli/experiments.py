"""Commands of experiments: table1, tune, figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

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
from entropic_ae.cli.printing import console, errors
from entropic_ae.errors import InputError

__all__ = []


def table1(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for [b]train[/b].")],
    recipes: Recipes = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Annotated[int, typer.Option(help="Images from each density.")] = 10_000,
    densities: Annotated[
        str | None, typer.Option(help="Densities, separated by commas; those of each recipe unless given.")
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(help="Results of [b]tune[/b]: each system takes the settings of its best try."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Results; results/table1/DATA unless given.")] = None,
    runs: RunsFolder = Path("runs/table1"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the systems beside each other, from the first seed's runs.")
    ] = None,
    samples_only: Annotated[
        bool, typer.Option("--samples-only", help="In the picture, show no real image and no reconstruction.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Only print what is measured, as Markdown.")] = False,
    workers: Annotated[int, typer.Option(help="Processes at once, by Ray: extra cluster.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A cluster of Ray that is running; this machine unless given."),
    ] = None,
) -> None:
    """Measure systems on one protocol, a result file a system and seed; again goes on where it stopped.

    Several processes or machines may share the work: give them the same command and folders.
    """
    names, numbers = (
        read_systems(recipes),
        read_numbers("seeds", seeds, int),
    )  # refused before Lightning is imported

    from entropic_ae.experiments import cluster, gallery, sweep, tuning
    from entropic_ae.experiments import table1 as experiment

    if picture is not None:
        gallery.check_picture(picture)
    results = out or Path("results/table1") / Path(data).stem
    if not render or picture is not None:
        shared = read_settings(set, width, epochs)
        systems = [sweep.parse_system(text) for text in names]
        if tuned is not None:
            systems = [(recipe, {**tuning.best(tuned, recipe, data), **own}) for recipe, own in systems]
        measured = None if densities is None else tuple(read_list(densities))
        base = sweep.Cell("", data, 0, {}, shared, limit, n, features, precision=precision, compile=compile)
        cells = [
            replace(base, recipe=recipe, seed=seed, own=own, densities=measured)
            for seed in numbers
            for recipe, own in systems
        ]
        if not render and (workers > 1 or ray is not None):
            cluster.run_on_ray(cells, results, runs, workers, address=ray, device=device, tell=errors.print)
        elif not render:
            sweep.run_cells(cells, results, runs, device=device, tell=errors.print)
        if picture is not None:
            first = cells[: len(systems)]
            errors.print(str(gallery.draw_gallery(first, runs, picture, real=not samples_only, device=device)))
    print(experiment.render(results))


def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for [b]train[/b].")],
    recipes: Annotated[
        str | None, typer.Option(help="Systems, separated by commas; all but 2seae, which is eae, unless given.")
    ] = None,
    rates: Annotated[str, typer.Option(help="Learning rates of the first round.")] = "1e-3,3e-3",
    factors: Annotated[
        str, typer.Option(help="Factors on the regularisers' weights, at the best rate: the second round.")
    ] = "0.2,5,25",
    refine: Annotated[
        bool,
        typer.Option("--refine", help="One more try for each: its best settings at half their learning rate."),
    ] = False,
    finalists: Annotated[
        int, typer.Option(help="How many of each system's best are tried again with FINAL-EPOCHS, and decide.")
    ] = 0,
    final_epochs: Annotated[
        int | None, typer.Option(help="Epochs of the finalists: those of the table that is to follow.")
    ] = None,
    beyond: Annotated[
        bool,
        typer.Option(
            "--beyond",
            help="One more try where a system's best lies at an end of the rates or weights that it tried.",
        ),
    ] = False,
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Annotated[int, typer.Option(help="Images from the density.")] = 10_000,
    out: Annotated[Path | None, typer.Option(help="Results; results/tuning/DATA unless given.")] = None,
    runs: RunsFolder = Path("runs/tuning"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
    render: Annotated[bool, typer.Option("--render", help="Only print what is measured, as Markdown.")] = False,
) -> None:
    """Try settings of each system, as many for each, on validation images; resumed and shared as [b]table1[/b].

    What is lowered is the Frechet distance of samples from the density that a system draws from: the prior for
    eae and the variational systems, the second stage for those of two, the mixture for the others.
    """
    names = [name for name in read_systems(recipes) if recipes is not None or name != "2seae"]
    learning_rates, multiples = read_numbers("rates", rates, float), read_numbers("factors", factors, float)

    from entropic_ae.experiments import sweep, tuning  # after the refusals, as it imports Lightning

    results = out or Path("results/tuning") / Path(data).stem
    if not render:
        shared = read_settings(set, width, epochs)
        table = sweep.Cell(names[0], data, 0, {}, shared, limit, n, features, precision=precision, compile=compile)
        tuning.tune(
            names,
            table,
            results,
            runs,
            rates=learning_rates,
            factors=multiples,
            refine=refine,
            finalists=finalists,
            beyond=beyond,
            final_epochs=final_epochs,
            device=device,
            tell=errors.print,
        )
    print(tuning.render_tries(results))
    if not render:
        errors.print(escape(f"table1 {data} --tuned {results} takes the settings in bold, of the last table."))


def figure(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="1 to 11, the paper's, or all; constraints; or a study, bottleneck or weight, of DATA.",
        ),
    ],
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="For a study, as for train.")] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds, separated by commas; all but the studies take the first.")
    ] = "0",
    set: Settings = None,
    width: Width = None,
    epochs: Epochs = None,
    limit: Limit = None,
    features: Annotated[str | None, typer.Option(help="As for [b]evaluate[/b].")] = None,
    n: Annotated[int, typer.Option(help="Images from each density.")] = 10_000,
    tuned: Annotated[
        Path | None, typer.Option(help="The folder with tune's results, for figures 4, 10 and 11.")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="The folder with table1's results, for figures 4, 10 and 11.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where figures and results go.")] = Path("results/figures"),
    runs: RunsFolder = Path("runs/figures"),
    device: Device = "auto",
    precision: Precision = "32",
    compile: Compile = False,
) -> None:
    """Make a figure of the paper, or a study, from runs that are trained where missing; resumed as table1."""
    from entropic_ae.experiments import constraints, figures, studies
    from entropic_ae.experiments.sweep import Cell

    papers = sorted([*figures.FIGURES, *figures.GALLERIES], key=int)
    if name not in (*papers, "all", "constraints", *studies.STUDIES):
        raise InputError(
            f"unknown figure '{name}'; expected 1 to 11, all, constraints, or of the studies "
            f"{' or '.join(studies.STUDIES)}."
        )
    if data is not None and name not in studies.STUDIES:
        raise InputError(f"figure {name} is of data of its own, got '{data}'; leave it out.")
    training = (
        *("set", "width", "epochs", "limit", "features", "n", "tuned", "tables", "runs"),
        *("device", "precision", "compile"),
    )
    sources = {option: context.get_parameter_source(option) for option in training}
    given = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if name == "constraints" and given:
        raise InputError(f"figure constraints trains no network; leave --{' and --'.join(given)} out.")
    numbers = read_numbers("seeds", seeds, int)
    shared = read_settings(set, width, epochs)
    base = Cell(
        "eae", data or "", numbers[0], {}, shared, limit, n, features, precision=precision, compile=compile
    )
    if name == "constraints":
        files = constraints.draw_constraints(out, seed=numbers[0], tell=errors.print)
    elif name in studies.STUDIES:
        if data is None:
            raise InputError(f"the study {name} needs data: entropic-ae figure {name} mnist.")
        files = studies.run_study(
            name, base, numbers, out / f"{name}-{Path(data).stem}", runs, device=device, tell=errors.print
        )
    else:
        names = papers if name == "all" else [name]
        files = figures.draw_all(
            names, base, out, runs, tuned=tuned, tables=tables, device=device, tell=errors.print
        )
    for file in files:
        console.print(str(file))
