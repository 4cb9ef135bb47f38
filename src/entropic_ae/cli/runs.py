"""Commands of runs: train, evaluate, report, export, explore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from entropic_ae.cli.config import Config, settings_of
from entropic_ae.cli.options import (
    Compile,
    Device,
    Devices,
    Epochs,
    ImageSize,
    Limit,
    Moved,
    Nodes,
    Precision,
    RunName,
    Seed,
    Width,
    check_data,
    load_run,
    read_list,
    read_range,
    read_settings,
)
from entropic_ae.cli.printing import Document, console, hint, notes, print_caution, print_metrics, speak_for
from entropic_ae.errors import InputError, Interrupted, warn
from entropic_ae.storage.run_folder import LOG, METRICS_FILE, RunFolder, check_run, samples_file
from entropic_ae.verdict import run_command

__all__ = ["evaluate", "explore", "export", "report", "train", "transport"]


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A name listed by [b]recipes[/b].")
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A data set listed by [b]recipes[/b], e.g. digits; a folder of images or of save_to_disk; a "
            ".parquet or .tar file; a file of arrays (.npz, .npy, IDX, .h5, .safetensors; FILE:NAME names one); "
            "hf:owner/name, or hf-stream:owner/name, which keeps no copy of the data set.",
        ),
    ] = None,
    config: Config = None,  # noqa: ARG001 - read by its callback
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE ...", help="Settings to change, e.g. entropy=0.5 latent_dim=8."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Take recipe, data and settings of a run folder or hf:owner/name unless given; its weights are "
            "not.",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start from the weights of a run folder or hf:owner/name; recipe, data and settings are its own "
            "unless given. Needs --out.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Sizes to start from, listed by [b]recipes[/b]; default: by the data."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="small, medium or paper: width, batch and schedule together; default: by device and data."
        ),
    ] = None,
    image_size: ImageSize = None,
    width: Width = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    limit: Limit = None,
    value_range: Annotated[
        str | None,
        typer.Option(metavar="BLACK,WHITE", help="Values of black and white in arrays not of uint8, e.g. 0,1."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; default: runs/RECIPE-DATA-SEED.")] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Processes on each machine, which share each minibatch.")] = 1,
    nodes: Nodes = 1,
    precision: Precision = "32",
    compile: Compile = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the run folder, if it is one and no other process trains in it."
        ),
    ] = False,
    logger: Annotated[
        str | None,
        typer.Option(help="One listed by [b]recipes[/b], in addition to log.csv; all but csv need an extra."),
    ] = None,
    picture_every: Annotated[int, typer.Option(help="Epochs between logged pictures.")] = 5,
    preview_every: Annotated[
        int | None, typer.Option(help="Epochs between previews; default: a tenth of all; 0 for none.")
    ] = None,
) -> Document:
    """Train a system into a run folder, with pictures of its samples and reconstructions."""
    first = speak_for(devices * nodes)
    settings = {**settings_of(context), **read_settings(set, width, epochs, image_size)}
    if data is not None:
        check_data(data)
    begun = resume and out is not None and RunFolder(out).checkpoint.is_file()  # which holds all weights
    for other in (None if begun else start_from, like):
        if other is not None:
            check_run(other)
    if out is not None and first:
        RunFolder(out).check_trainable(resume, overwrite)
    if start_from is not None or like is not None or None not in (recipe, data):
        notes.print(escape(_asked(recipe, data, start_from, like, settings, seed, resume)))
    from entropic_ae import runs  # imports PyTorch, which takes seconds

    try:
        run = runs.train(
            recipe,
            data,
            start_from=start_from,
            like=like,
            size=size,
            set=settings,
            preset=preset,
            seed=seed,
            limit=limit,
            value_range=None if value_range is None else read_range(value_range),
            out=out,
            device=device,
            devices=devices,
            nodes=nodes,
            precision=precision,
            compile=compile,
            resume=resume,
            overwrite=overwrite,
            progress=not notes.quiet,
            logger=logger,
            picture_every=picture_every,
            preview_every=preview_every,
        )
    except Interrupted as stop:
        notes.print(escape(str(stop)))
        raise
    density = run.system.recipe.density
    console.print(f"{run.folder}: trained; {LOG} has the losses, {samples_file('prior')} new images.")
    print_caution(run.caution)
    if density != "prior":
        hint(f"Its codes are not meant to follow the prior: entropic-ae sample {run.folder} draws from {density}.")
    hint(escape(f"Next: {run_command('evaluate', run.folder, run.info)}"))
    return {
        "run": run.folder,
        "best_epoch": run.best_epoch,
        "density": density,
        "caution": run.caution,
        "understood": run.overview and run.overview.as_json(),
    }


def _asked(
    recipe: str | None,
    data: str | None,
    start_from: str | None,
    like: str | None,
    settings: Mapping[str, Any],
    seed: int,
    resume: bool,
) -> str:
    """Return what ``train`` was asked for, in one line; it may yet be refused."""
    line = f"reading {data or 'the data'} to {'resume' if resume else 'train'} {recipe or 'the recipe'}"
    if start_from is not None:
        line += f" of {start_from}, from its weights"
    if like is not None:
        line += f" of {like}"
    changes = "".join(f", {name}={value}" for name, value in settings.items())
    return f"{line}, seed {seed}{changes}"


def evaluate(
    run: RunName,
    features: Annotated[
        str | None,
        typer.Option(
            help="Of those listed by [b]recipes[/b], classifier:DATA or a TorchScript file, separated by commas; "
            "default: the preset's, and pixels."
        ),
    ] = None,
    n: Annotated[
        int, typer.Option(help="Images from each density, at most the number of held-out images.")
    ] = 10_000,
    densities: Annotated[
        str | None, typer.Option(help="Densities, separated by commas; default: the recipe's.")
    ] = None,
    seed: Seed = 0,
    weights: Annotated[Path | None, typer.Option(help="The feature space's weights, a file or a folder.")] = None,
    train_on_samples: Annotated[
        bool,
        typer.Option(
            "--train-on-samples",
            help="Also train a classifier on samples of each label and test it on real images; takes minutes.",
        ),
    ] = False,
    data: Moved = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the networks first: for very many images on a GPU.")
    ] = False,
) -> Document:
    """Measure a run against the test images: metrics.json, a table, and a picture of each density."""
    check_run(run)
    from entropic_ae.densities import DENSITIES
    from entropic_ae.runs.measuring import judged
    from entropic_ae.training import Execution

    speak_for(devices * nodes)
    with Execution(device, devices, nodes).together(), notes.status("measuring") as status:
        loaded = load_run(run, device, data)
        if not notes.is_terminal:  # the status display needs a terminal
            notes.print(f"measuring {escape(run)}")
        result = loaded.evaluate(
            features=None if features is None else read_list(features),
            n=n,
            seed=seed,
            densities=None if densities is None else read_list(densities),
            weights=weights,
            train_on_samples=train_on_samples,
            compile=compile,
            tell=lambda what: status.update(f"measuring: {what}"),
        )
        if loaded.origin is None:
            loaded.draw(*(name for name in result["distances"] if name in DENSITIES))
        results = {result["features"]: result, **result.get("also", {})}
        said = judged(loaded, results)
    print_metrics(results, said)
    if loaded.origin is None:
        hint(f"{run}: {METRICS_FILE} and pictures written.")
        hint(escape(f"All of it on one page: {run_command('report', loaded.folder, loaded.info)}"))
    else:
        hint(f"{run} is read-only, so metrics are not saved; entropic-ae pull copies it to a run folder.")
    return {"run": run, "caution": loaded.caution, "verdict": said and asdict(said), **result}


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN ...", help="Run folders of [b]train[/b], or hf:owner/name on the Hub."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.html, replaced; default: report.html in the run folder, or in the current folder for "
            "several runs; there NAME-report.html for a run on the Hub or an example."
        ),
    ] = None,
) -> Document:
    """Write a report on one run, or on several side by side: one HTML file for a browser."""
    from entropic_ae.report import write_report

    path = write_report(runs, out)
    console.print(str(path))
    return {"runs": runs, "files": [path]}


def transport(
    run: RunName,
    kind: Annotated[
        str, typer.Option(help="One listed by [b]recipes[/b]; none removes the transport of the run.")
    ] = "mixture",
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE ...", help="Settings of the fit, e.g. components=50."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the fit; default: the run's own.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Only compare all kinds, by the likelihood of validation codes.")
    ] = False,
    data: Moved = None,
    device: Device = "auto",
) -> Document:
    """Fit an invertible map between a run's codes and its prior, so that prior samples follow the codes."""
    settings = read_settings(set, None, None)
    loaded = load_run(run, device, data)
    from entropic_ae.runs.drawing import draw_again
    from entropic_ae.runs.transporting import compare as compare_kinds
    from entropic_ae.runs.transporting import likelihoods

    if compare:
        if settings:
            raise InputError("--compare fits every kind at its default settings; leave --set out.")
        with notes.status("encoding the images, and fitting all transports"):
            by_kind = compare_kinds(loaded, loaded.info.seed if seed is None else seed)
        console.print("Mean log likelihood of validation codes, nats (higher is better):")
        for name, value in sorted(by_kind.items(), key=lambda pair: -pair[1]):
            console.print(f"  {name:<10}{value:>10.2f}", highlight=False)
        return {"run": loaded.folder, "log_likelihood": by_kind}
    if loaded.origin is not None:
        raise InputError(f"{run} is read-only: nothing is written into its folder; entropic-ae pull it first.")
    if kind == "none":
        loaded.remove_transport()
        draw_again(loaded)
        console.print(f"{loaded.folder}: its codes have no transport.")
        return {"run": loaded.folder, "transport": None}
    with notes.status("encoding the training images, and fitting the transport"):
        fitted = loaded.fit_transport(kind, seed=seed, **settings)
        draw_again(loaded)
        found, alone = likelihoods(loaded)
    console.print(f"{loaded.folder}: {fitted.summary}; {samples_file('prior')} has new images.")
    console.print(
        f"Mean log likelihood of validation codes: {found:.2f} nats, without the transport {alone:.2f}.",
        highlight=False,
    )
    if found < alone:
        warn("the transport describes validation codes worse than the prior does; fit another one, or none.")
    hint(f"Codes and the prior now mean mapped codes: entropic-ae evaluate {loaded.folder} measures them.")
    return {
        "run": loaded.folder,
        "transport": kind,
        "summary": fitted.summary,
        "log_likelihood": {"transport": found, "prior": alone},
    }


def export(
    run: RunName,
    to: Annotated[str, typer.Option(help="onnx (extra [b]onnx[/b]) or safetensors.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="A new or empty folder; default: RUN/TO, which is replaced.")
    ] = None,
    densities: Annotated[
        str | None,
        typer.Option(help="Densities to export a sampler for, separated by commas; default: the recipe's."),
    ] = None,
    device: Device = "auto",
) -> Document:
    """Write encoder, decoder and samplers for use without this library, and compare them with PyTorch."""
    check_run(run)
    from entropic_ae.export import BATCHES, INSTALL

    names = None if densities is None else read_list(densities)
    with notes.status(f"exporting to {to}, and comparing with PyTorch"):
        files = load_run(run, device).export(to, out=out, densities=names)
    for file, difference in files.items():
        compared = "" if difference is None else f": largest difference from PyTorch {difference:.1e}"
        console.print(f"{file}{compared}")
    if to == "onnx" and None in files.values():
        hint(escape(f"Not compared with PyTorch, as onnxruntime is not installed; {INSTALL}."))
    elif to == "onnx":
        hint(f"Compared by onnxruntime in batches of {', '.join(map(str, BATCHES))}.")
    differences = {str(file): difference for file, difference in files.items()}
    return {"run": run, "files": [*files], "differences": differences}


def explore(
    run: RunName,
    host: Annotated[str, typer.Option(help="An address or a name of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="From 1 to 65535.")] = 7860,
    device: Device = "auto",
) -> Document:
    """Explore a run in the browser: samples, latent directions, reconstructions, interpolations.

    The page sends nothing to other machines, and by default (see --host) no other machine can reach it. Needs the
    extra [b]explore[/b].
    """
    check_run(run)
    from entropic_ae.explore import leave, serve

    place = notes if console.quiet else console
    serve(run, host=host, port=port, device=device, tell=lambda text: place.print(escape(text)))
    leave()
    return {"run": run, "host": host, "port": port}
