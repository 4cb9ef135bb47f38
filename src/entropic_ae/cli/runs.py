"""Commands of runs: train, sample, reconstruct, interpolate, evaluate, report, export, explore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from entropic_ae.cli.options import (
    IMAGES_OUT,
    Compile,
    Device,
    Devices,
    Epochs,
    Limit,
    Moved,
    Nodes,
    OptionalData,
    Precision,
    RunName,
    Seed,
    Width,
    read_list,
    read_settings,
)
from entropic_ae.cli.printing import console, errors, print_caution, print_metrics
from entropic_ae.errors import InputError
from entropic_ae.storage.run_folder import (
    INTERPOLATIONS,
    LOG,
    METRICS_FILE,
    RECONSTRUCTIONS,
    check_run_folder,
    is_shared,
    samples_file,
)

if TYPE_CHECKING:
    from torch import Tensor

    from entropic_ae.runs import Run

__all__ = ["load_run"]


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name that [b]recipes[/b] lists.")],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A set that [b]recipes[/b] lists, e.g. digits; a folder of images; a .parquet, .npz or .npy "
            "file; hf:owner/name, or hf-stream:owner/name, which keeps no copy of the set.",
        ),
    ],
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE ...", help="Settings to change, e.g. entropy=0.5 latent_dim=8."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Sizes to start from, which [b]recipes[/b] lists; by the data unless given."),
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
        str | None,
        typer.Option(help="One that [b]recipes[/b] lists, besides log.csv; each but csv needs an extra."),
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
        set=read_settings(set, width, epochs),
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
    console.print(f"{run.folder}: trained; {LOG} has the losses, {samples_file('prior')} new images.")
    print_caution(run.caution)
    if (density := run.system.recipe.density) != "prior":
        console.print(
            f"Its codes are not meant to follow the prior: entropic-ae sample {run.folder} draws from {density}."
        )


def sample(
    run: RunName,
    density: Annotated[
        str | None,
        typer.Option(help="One that [b]recipes[/b] lists, fitted first if need be; the recipe's unless given."),
    ] = None,
    n: Annotated[int, typer.Option(help="How many images.")] = 64,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help=f"{IMAGES_OUT}; RUN/samples-DENSITY.png, replaced, unless given.")
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
        loaded = load_run(run, device, data)
        density = density or loaded.system.recipe.density
        images = loaded.sample(n, density=density, seed=seed)
    if first:
        _save(images, out, _place(loaded, samples_file(density)))


def reconstruct(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[int, typer.Option(help="How many images at most.")] = 32,
    out: Annotated[
        Path | None, typer.Option(help=f"{IMAGES_OUT}; RUN/reconstructions[-DATA].png, replaced, unless given.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Encode and decode images; a grid shows each image above its reconstruction, files only the latter."""
    from entropic_ae.pictures import above

    if n < 1:
        raise InputError(f"--n must be at least 1, got {n}.")
    loaded = load_run(run, device)
    images = _held_out(loaded, data)[:n]
    rebuilt = loaded.reconstruct(images)
    if out is None or out.suffix.lower() == ".png":
        _save(above(images, rebuilt, _COLUMNS), out, _picture(loaded, RECONSTRUCTIONS, data), columns=_COLUMNS)
    else:
        _save(rebuilt, out, out)


def interpolate(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[int, typer.Option(help="How many pairs of images at most.")] = 8,
    steps: Annotated[int, typer.Option(help="Images a row, both ends included.")] = 10,
    kind: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    out: Annotated[
        Path | None, typer.Option(help=f"{IMAGES_OUT}; RUN/interpolations[-DATA].png, replaced, unless given.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Decode codes on the way from one image to another, a row a pair."""
    loaded = load_run(run, device)
    images = _held_out(loaded, data)
    pairs = min(n, len(images) // 2)
    if pairs < 1:
        raise InputError(f"interpolate needs at least 2 images and --n 1, got {len(images)} images and --n {n}.")
    rows = loaded.interpolate(images[:pairs], images[pairs : 2 * pairs], steps=steps, kind=kind)
    _save(rows.flatten(0, 1), out, _picture(loaded, INTERPOLATIONS, data), columns=steps)


def evaluate(
    run: RunName,
    features: Annotated[
        str | None,
        typer.Option(
            help="One that [b]recipes[/b] lists, classifier:DATA or a TorchScript file; the preset's unless given."
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
        loaded = load_run(run, device, data)
        if not errors.is_terminal:  # which the status needs
            errors.print(f"measuring {escape(run)}")
        result = loaded.evaluate(
            features=features,
            n=n,
            seed=seed,
            densities=None if densities is None else read_list(densities),
            weights=weights,
            compile=compile,
            tell=lambda what: status.update(f"measuring: {what}"),
        )
        if loaded.origin is None:
            loaded.draw(*(name for name in result["distances"] if name in DENSITIES))
    if not first:
        return
    print_metrics(result)
    print_caution(loaded.caution)
    if loaded.origin is None:
        console.print(f"{run}: {METRICS_FILE} and pictures written.")
    else:
        console.print(
            f"{run}: nothing is written into the Hub's cache; entropic-ae pull makes a run folder of it."
        )


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

    names = None if densities is None else read_list(densities)
    files = load_run(run, device).export(to, out=out, densities=names)
    for file, difference in files.items():
        compared = "" if difference is None else f": largest difference from PyTorch {difference:.1e}"
        console.print(f"{file}{compared}")
    if to == "onnx" and None in files.values():
        console.print(escape(f"Not compared with PyTorch, as onnxruntime is not installed; {INSTALL}."))
    elif to == "onnx":
        console.print(f"Compared by onnxruntime in batches of {', '.join(map(str, BATCHES))}.")


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


_COLUMNS = 16  # images a row of the reconstruction grid


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


def load_run(run: str, device: str, data: str | None = None) -> Run:
    """Load a run after checking that its folder is one."""
    _check_run(run)
    from entropic_ae import runs

    return runs.load(run, device=device, data=data)


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
    return _place(run, f"{Path(name).stem}{other}{Path(name).suffix}")


def _save(images: Tensor, out: Path | None, default: Path, columns: int | None = None) -> None:
    from entropic_ae.pictures import save_images

    path = save_images(images, out or default, columns=columns, overwrite=out is None)
    console.print(str(path))
