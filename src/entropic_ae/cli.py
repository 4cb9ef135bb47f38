"""The command line: parse, call one function, print."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from entropic_ae.errors import InputError
from entropic_ae.registry import import_modules
from entropic_ae.schema import check_run_folder, is_shared
from entropic_ae.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from entropic_ae.runs import Run

__all__ = ["main"]

app = typer.Typer(
    name="entropic-ae",
    help="Train deterministic autoencoders that generate, draw new images from them, and measure them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder that [b]train[/b] made, or hf:owner/name on the Hub.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Devices = Annotated[int, typer.Option(help="Processes on each machine, which share the images.")]
Precision = Annotated[str, typer.Option(help="Of training: 32, bf16 or 64.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the networks: for long runs.")]
Nodes = Annotated[int, typer.Option(help="Machines; start the command on each, by torchrun or SLURM.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Moved = Annotated[str | None, typer.Option(help="Where the run's images are now, if they have been moved.")]
OptionalData = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="Images to take; the run's own test images unless given."),
]
Settings = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE ...", help="Settings of all systems.")]
Width = Annotated[int | None, typer.Option(help="Short for --set width=WIDTH.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training images; by the preset unless given.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Use only the first LIMIT images for training, and at most as many for validation."),
]
Recipes = Annotated[
    str | None,
    typer.Option(
        help="Systems, separated by commas; eae:entropy=0.3 gives one a setting of its own; all unless given."
    ),
]
RunsFolder = Annotated[Path, typer.Option(help="Where the run folders lie.")]
_IMAGES_OUT = "FILE.png (a grid), FILE.npz or a folder of PNG files; must not exist"


def _expand(arguments: list[str]) -> list[str]:
    """Let one --set take several NAME=VALUE: ``--set a=1 b=2`` becomes ``--set a=1 --set b=2``."""
    expanded: list[str] = []
    in_set = False
    for argument in arguments:
        is_pair = "=" in argument and not argument.startswith("-")
        if in_set and is_pair and expanded[-1] != "--set":
            expanded.append("--set")
        in_set = argument == "--set" or (in_set and is_pair)
        expanded.append(argument)
    return expanded


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    modules: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE", help="One that registers pieces of your own.")
    ] = None,
) -> None:
    if show_version:
        print(__version__)
        raise typer.Exit
    import_modules(modules or ())


@app.command()
def recipes(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Show this system's settings for each data set.")
    ] = None,
) -> None:
    """List the systems, or describe one: bottleneck, objective, densities, reference and every setting."""
    from entropic_ae.recipes import RECIPES, by_preset

    if recipe is None:
        table = Table("recipe", "what it is", box=None, padding=(0, 2, 0, 0))
        for one in RECIPES.values():
            table.add_row(one.name, one.summary)
        _print_table(table)
        console.print("\n[b]entropic-ae recipes NAME[/b] shows one with its settings, e.g. recipes eae.")
        return
    one = RECIPES.find(recipe)
    console.print(f"[b]{one.name}[/b]: {one.summary}")
    console.print(f"reference: {escape(one.reference)}")
    console.print(f"bottleneck: {one.bottleneck.func.__name__}")
    console.print(f"objective: {' + '.join(f'{term.setting} * {type(term).__name__}' for term in one.terms)}")
    console.print(f"measured with: {', '.join(one.densities)}; images are drawn from {one.density} unless told")
    console.print("\nSettings by data set (change any with [b]--set[/b] name=value):")
    columns = by_preset(one)
    longest = max(len(name) for column in columns.values() for name in column)  # never cut off
    by_data = [Column(name, overflow="fold") for name in columns]
    settings = Table(Column("setting", no_wrap=True, min_width=longest), *by_data, box=None, padding=(0, 2, 0, 0))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        settings.add_row(name, *(_short(column.get(name, "")) for column in columns.values()))
    _print_table(settings)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name that [b]recipes[/b] lists.")],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="digits, mnist, cifar10, celeba; a folder of images; a .parquet, .npz or .npy file; "
            "hf:owner/name, or hf-stream:owner/name, which keeps no copy of the set.",
        ),
    ],
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE ...", help="Settings to change, e.g. entropy=0.5 latent_dim=8."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Sizes to start from: digits, mnist, cifar10, celeba or mlp; by the data unless given."),
    ] = None,
    width: Width = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/RECIPE-DATA-SEED unless given.")] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Processes on each machine, which share each minibatch.")] = 1,
    nodes: Nodes = 1,
    precision: Precision = "32",
    compile: Compile = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in an interrupted run folder.")] = False,
    logger: Annotated[
        str | None, typer.Option(help="csv, tensorboard, wandb or mlflow, besides log.csv; each but csv an extra.")
    ] = None,
    picture_every: Annotated[int, typer.Option(help="Epochs between two pictures that the logger gets.")] = 5,
) -> None:
    """Train a system and leave its run folder, with pictures of what it does."""
    from entropic_ae.recipes import RECIPES

    first = _mute(devices * nodes)
    RECIPES.find(recipe)  # before Lightning is imported, which takes seconds

    from entropic_ae import runs

    run = runs.train(
        recipe,
        data,
        set=_shared(set, width, epochs),
        preset=preset,
        seed=seed,
        limit=limit,
        out=out,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
        compile=compile,
        resume=resume,
        logger=logger,
        picture_every=picture_every,
    )
    if not first:
        return
    console.print(f"{run.folder}: trained; log.csv has the losses, samples-prior.png new images.")
    _print_caution(run.caution)
    if (density := run.system.recipe.density) != "prior":
        console.print(
            f"Its codes are not meant to follow the prior: entropic-ae sample {run.folder} draws from {density}."
        )


@app.command()
def sample(
    run: RunName,
    density: Annotated[
        str | None,
        typer.Option(
            help="prior, marginals, gaussian, copula, mixture, or second-stage, which is trained first; the one "
            "that the recipe draws from unless given."
        ),
    ] = None,
    n: Annotated[int, typer.Option(help="How many images.")] = 64,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help=f"{_IMAGES_OUT}; RUN/samples-DENSITY.png, replaced, unless given.")
    ] = None,
    data: Moved = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
) -> None:
    """Draw new images."""
    first = _mute(devices * nodes)
    _check_run(run)
    with _together(device, devices, nodes):
        loaded = _load(run, device, data)
        density = density or loaded.system.recipe.density
        images = loaded.sample(n, density=density, seed=seed)
    if first:
        _save(images, out, _place(loaded, f"samples-{density}.png"))


@app.command()
def reconstruct(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[int, typer.Option(help="How many images at most.")] = 32,
    out: Annotated[
        Path | None, typer.Option(help=f"{_IMAGES_OUT}; RUN/reconstructions[-DATA].png, replaced, unless given.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Encode and decode images; a grid shows each image above its reconstruction, files only the latter."""
    from entropic_ae.pictures import above

    if n < 1:
        raise InputError(f"--n must be at least 1, got {n}.")
    loaded = _load(run, device)
    images = _held_out(loaded, data)[:n]
    rebuilt = loaded.reconstruct(images)
    if out is None or out.suffix.lower() == ".png":
        _save(above(images, rebuilt, _COLUMNS), out, _picture(loaded, "reconstructions", data), columns=_COLUMNS)
    else:
        _save(rebuilt, out, out)


@app.command()
def interpolate(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[int, typer.Option(help="How many pairs of images at most.")] = 8,
    steps: Annotated[int, typer.Option(help="Images a row, both ends included.")] = 10,
    kind: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    out: Annotated[
        Path | None, typer.Option(help=f"{_IMAGES_OUT}; RUN/interpolations[-DATA].png, replaced, unless given.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Decode codes on the way from one image to another, a row a pair."""
    loaded = _load(run, device)
    images = _held_out(loaded, data)
    pairs = min(n, len(images) // 2)
    if pairs < 1:
        raise InputError(f"interpolate needs at least 2 images and --n 1, got {len(images)} images and --n {n}.")
    rows = loaded.interpolate(images[:pairs], images[pairs : 2 * pairs], steps=steps, kind=kind)
    _save(rows.flatten(0, 1), out, _picture(loaded, "interpolations", data), columns=steps)


@app.command()
def evaluate(
    run: RunName,
    features: Annotated[
        str | None,
        typer.Option(
            help="inception, classifier, classifier:DATA, pixels or a TorchScript file; the preset's unless given."
        ),
    ] = None,
    n: Annotated[int, typer.Option(help="Images from each density; all held-out images are measured.")] = 10_000,
    densities: Annotated[
        str | None, typer.Option(help="Densities, separated by commas; those of the recipe unless given.")
    ] = None,
    seed: Seed = 0,
    weights: Annotated[Path | None, typer.Option(help="A file with Inception's weights.")] = None,
    data: Moved = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the networks first: for very many images on a GPU.")
    ] = False,
) -> None:
    """Measure a run against the test images: metrics.json, a table, and a picture of each density."""
    _check_run(run)
    from entropic_ae.densities import DENSITIES

    first = _mute(devices * nodes)
    with _together(device, devices, nodes), errors.status("measuring") as status:
        loaded = _load(run, device, data)
        if not errors.is_terminal:  # which the status needs
            errors.print(f"measuring {escape(run)}")
        result = loaded.evaluate(
            features=features,
            n=n,
            seed=seed,
            densities=None if densities is None else _listed(densities),
            weights=weights,
            compile=compile,
            tell=lambda what: status.update(f"measuring: {what}"),
        )
        if loaded.origin is None:
            loaded.draw(*(name for name in result["distances"] if name in DENSITIES))
    if not first:
        return
    _print_metrics(result)
    _print_caution(loaded.caution)
    if loaded.origin is None:
        console.print(f"{run}: metrics.json and pictures written.")
    else:
        console.print(
            f"{run}: nothing is written into the Hub's cache; entropic-ae pull makes a run folder of it."
        )


@app.command()
def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN ...", help="Run folders that [b]train[/b] made, or hf:owner/name on the Hub."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.html, replaced; report.html in the run folder, of several runs, or one of the Hub, in this "
            "one, unless given."
        ),
    ] = None,
) -> None:
    """Make a page on a run, or on several side by side: one HTML file, to be opened in a browser."""
    from entropic_ae.report import write_report

    console.print(str(write_report(runs, out)))


@app.command()
def export(
    run: RunName,
    to: Annotated[str, typer.Option(help="onnx (extra [b]onnx[/b]) or safetensors.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="A folder that is missing or empty; RUN/TO, replaced, unless given.")
    ] = None,
    densities: Annotated[
        str | None,
        typer.Option(help="Those to make a sampler of, separated by commas; those of the recipe unless given."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write encoder, decoder and samplers for use without this library, and compare them with PyTorch."""
    from entropic_ae.export import BATCHES, INSTALL

    names = None if densities is None else _listed(densities)
    files = _load(run, device).export(to, out=out, densities=names)
    for file, difference in files.items():
        compared = "" if difference is None else f": largest difference from PyTorch {difference:.1e}"
        console.print(f"{file}{compared}")
    if to == "onnx" and None in files.values():
        console.print(escape(f"Not compared with PyTorch, as onnxruntime is not installed; {INSTALL}."))
    elif to == "onnx":
        console.print(f"Compared by onnxruntime in batches of {', '.join(map(str, BATCHES))}.")


@app.command()
def explore(
    run: RunName,
    host: Annotated[str, typer.Option(help="An address or a name of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="From 1 to 65535.")] = 7860,
    device: Device = "auto",
) -> None:
    """Look at a run in the browser: samples, latent directions, reconstructions, interpolations.

    Nothing leaves this machine, and unless --host says so, no other can reach the page. Needs the extra
    [b]explore[/b].
    """
    from entropic_ae.explore import leave, serve

    serve(run, host=host, port=port, device=device, tell=lambda text: console.print(escape(text)))
    leave()


@app.command()
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that [b]train[/b] made.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face Hub; made if need be.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public, not private.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch, made if need be.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    license: Annotated[str | None, typer.Option(help="For the model card, e.g. mit; none unless given.")] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Push this too, of reconstructions.png, interpolations.png and report.html, which show real "
            "images. May be given again.",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Share a run on the Hugging Face Hub, with a model card: weights, densities, results, samples.

    Log in first, by [b]hf auth login[/b] or with a token in HF_TOKEN.
    """
    loaded = _load(str(run), device)
    console.print(
        loaded.push_to_hub(
            repo, private=not public, revision=revision, message=message, license=license, include=include or ()
        )
    )


@app.command()
def pull(
    run: Annotated[str, typer.Argument(metavar="hf:OWNER/NAME", help="A run on the Hub; @REVISION may follow.")],
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME unless given.")] = None,
) -> None:
    """Copy a run of the Hugging Face Hub to a run folder, where what is fitted and measured is kept."""
    from entropic_ae.sharing import fetch, repository

    name = repository(run)[0].partition("/")[2]
    console.print(str(fetch(run, out=out or Path("runs") / name)))


@app.command()
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
    names, numbers = _names(recipes), _numbers("seeds", seeds, int)  # refused before Lightning is imported

    from entropic_ae.experiments import cluster, gallery, sweep, tuning
    from entropic_ae.experiments import table1 as experiment

    if picture is not None:
        gallery.check_picture(picture)
    results = out or Path("results/table1") / Path(data).stem
    if not render or picture is not None:
        shared = _shared(set, width, epochs)
        systems = [sweep.parse_system(text) for text in names]
        if tuned is not None:
            systems = [(recipe, {**tuning.best(tuned, recipe, data), **own}) for recipe, own in systems]
        measured = None if densities is None else tuple(_listed(densities))
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


@app.command()
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
    names = [name for name in _names(recipes) if recipes is not None or name != "2seae"]
    learning_rates, multiples = _numbers("rates", rates, float), _numbers("factors", factors, float)

    from entropic_ae.experiments import sweep, tuning  # after the refusals, as it imports Lightning

    results = out or Path("results/tuning") / Path(data).stem
    if not render:
        shared = _shared(set, width, epochs)
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


@app.command()
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
    numbers = _numbers("seeds", seeds, int)
    shared = _shared(set, width, epochs)
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


_INTERRUPTED = 130  # the shell's exit code for SIGINT
_GOES_ON = {
    "train": " Training goes on by the same command with --resume.",
    **dict.fromkeys(("table1", "tune", "figure"), " The same command goes on."),
}
_FEW = 100  # test images, below which no distance means much
_COLUMNS = 16  # images a row of the reconstruction grid
_UNBOUNDED = 1000  # characters, more than any table has


def _mute(count: int) -> bool:
    """Let one of so many processes speak for all; return whether it is this one."""
    from entropic_ae.distributed import is_first

    first = is_first(count)
    errors.quiet = not first
    return first


@contextmanager
def _together(device: str, devices: int, nodes: int) -> Iterator[None]:
    from entropic_ae.distributed import together
    from entropic_ae.training import check_processes, quiet_lightning, select_device

    check_processes(device, devices, nodes)
    with quiet_lightning(), together(select_device(device), devices, nodes):
        yield


def _check_run(run: str) -> None:
    """Refuse what is no run folder before PyTorch is imported, which takes seconds."""
    if not is_shared(run):
        check_run_folder(Path(run))


def _load(run: str, device: str, data: str | None = None) -> Run:
    _check_run(run)
    from entropic_ae import runs

    return runs.load(run, device=device, data=data)


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _settings(pairs: list[str]) -> dict[str, Any]:
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--set expects NAME=VALUE, got '{pair}'; for example --set width=16.")
    settings = dict(pair.split("=", 1) for pair in pairs)
    if len(settings) < len(pairs):
        raise InputError(f"--set has a name twice in '{' '.join(pairs)}'; give each once.")
    return settings


def _names(recipes: str | None) -> list[str]:
    """Return the systems of --recipes, with their settings as given; InputError if one is unknown."""
    from entropic_ae.recipes import RECIPES

    if recipes is None:
        return list(RECIPES)
    names = _listed(recipes)
    for name in names:
        RECIPES.find(name.partition(":")[0])
    return names


def _print_table(table: Table) -> None:
    """Print a table, folded to the width of a terminal only: a file or a pipe has none."""
    wide = console if console.is_terminal else Console(highlight=False, width=_UNBOUNDED)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        wide.out(line.rstrip(), highlight=False)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _numbers(option: str, text: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        kinds = "whole numbers" if kind is int else "numbers"
        raise InputError(f"--{option} expects {kinds} separated by commas, got '{text}'.") from None


def _shared(set: list[str] | None, width: int | None, epochs: int | None) -> dict[str, Any]:
    """Return the settings with the short options among them; InputError if one is given twice."""
    pairs = [f"{name}={value}" for name, value in (("width", width), ("epochs", epochs)) if value is not None]
    return _settings([*(set or []), *pairs])


def _held_out(run: Run, data: str | None) -> Tensor:
    """Return the run's test images, or all the images of other data, made to fit its shape."""
    from entropic_ae.data import read_images

    return run.data.test.images if data is None else read_images(data, run.shape)


def _place(run: Run, name: str) -> Path:
    """Return a file's place in a run folder; of a run of the Hub, in the current folder, with its name."""
    if run.origin is None:
        return run.folder / name
    return Path(re.sub(r"[^\w.-]+", "-", run.origin.partition("/")[2]) + f"-{name}")


def _picture(run: Run, name: str, data: str | None) -> Path:
    """Return a picture's place: that of other data than the run's own has another name."""
    other = "" if data is None else "-" + (re.sub(r"\W+", "-", Path(data).stem).strip("-") or "data")
    return _place(run, f"{name}{other}.png")


def _save(images: Tensor, out: Path | None, default: Path, columns: int | None = None) -> None:
    from entropic_ae.pictures import save_images

    path = save_images(images, out or default, columns=columns, overwrite=out is None)
    console.print(str(path))


def _print_metrics(result: dict[str, Any]) -> None:
    from entropic_ae.report import distance_rows

    codes = result["codes"]
    table = Table("images", "number", "Frechet distance", "kernel distance", box=None, padding=(0, 2, 0, 0))
    for row in distance_rows(result):
        table.add_row(*row)
    console.print(f"Distances to {result['real_images']:,} test images in {result['features']} features:")
    _print_table(table)
    console.print(f"reconstruction error {result['reconstruction_error']:.3f} (squared, summed over an image)")
    entropy = f"entropy of {codes['n']:,} held-out codes {codes['entropy']:.2f} nats"
    if codes["maximum"] is not None:
        entropy += (
            f", maximum {codes['maximum']:.2f}, gap {codes['gap']:.2f} "
            f"({codes['corrected_gap']:.2f} from as many draws of the prior by the same estimate)"
        )
    console.print(entropy)
    if "verdict" in result["diagnostics"]:
        console.print(result["diagnostics"]["verdict"])
    else:
        console.print(f"too few codes to say how far they are from the prior: {codes['n']}")
    if result["real_images"] < _FEW:
        console.print(f"[bold yellow]few images:[/] distances to {result['real_images']} of them say little")
    collapse = result["collapse"]
    console.print(f"active codes {collapse['active_codes']} of {collapse['latent_dim']}")
    if collapse["collapsed"]:
        collapsed = ", ".join(collapse["collapsed"])
        console.print(
            f"[bold yellow]collapsed[/] (less than a tenth of the real variance; dead codes): {collapsed}"
        )


def _print_caution(caution: str | None) -> None:
    if caution is not None:
        console.print(f"[bold yellow]short training:[/] {caution}")


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2, Ctrl-C with 130."""
    warnings.showwarning = lambda message, category, *_: _show_warning(message, category)
    notes = logging.getLogger("entropic_ae")
    notes.setLevel(logging.INFO)
    notes.handlers = [_Notes()]
    try:
        app(_expand(sys.argv[1:]))
    except (InputError, OSError) as error:
        _stop(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".") or "of this machine"
        _stop(
            f"there is not enough memory ({reason}); lower batch_size, width or latent_dim, or take fewer images.",
            2,
        )
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # what typer makes of Ctrl-C, without a word
            again = next((how for name, how in _GOES_ON.items() if name in sys.argv), "")
            _stop(f"interrupted; files are whole.{again}", _INTERRUPTED)
        raise


def _is_of_memory(error: BaseException) -> bool:
    """Return whether memory has run out: Python's, PyTorch's on a GPU, or on a CPU, which has no class."""
    named = type(error).__name__ == "OutOfMemoryError"  # torch's, which may not have been imported
    return isinstance(error, MemoryError) or named or "DefaultCPUAllocator" in str(error)


class _Notes(logging.Handler):
    """Prints what the library logs: what takes long, and what it makes anew."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(escape(record.getMessage()))


def _show_warning(message: Warning | str, category: type[Warning]) -> None:
    """Print a warning, unless it is one library's to another."""
    if not issubclass(category, FutureWarning | DeprecationWarning):
        errors.print(f"[bold yellow]warning:[/] {escape(_one_line(str(message)))}")


def _stop(sentence: str, code: int) -> NoReturn:
    errors.print(f"[bold red]error:[/] {escape(_one_line(sentence))}")
    sys.exit(code)


def _one_line(sentence: str) -> str:
    """Return a sentence without what a terminal obeys; parts of it may come from a stranger's file."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", sentence)


if __name__ == "__main__":
    main()
