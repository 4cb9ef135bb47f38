"""Commands that write images or read them one by one: sample, reconstruct, interpolate, edit, score."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from entropic_ae.cli.options import (
    IMAGES_OUT,
    Device,
    Devices,
    Moved,
    Nodes,
    OfLabel,
    OptionalData,
    RunName,
    Seed,
    check_data,
    load_run,
)
from entropic_ae.cli.printing import Document, console, hint, notes, speak_for
from entropic_ae.errors import InputError
from entropic_ae.storage.run_folder import (
    INTERPOLATIONS,
    RECONSTRUCTIONS,
    check_run,
    edits_file,
    labelled_file,
    outside_file,
    samples_file,
    scores_file,
)

if TYPE_CHECKING:
    from torch import Tensor

    from entropic_ae.runs import Run

__all__ = ["edit", "interpolate", "reconstruct", "sample", "score"]

_SHOWN = 5  # images that score names
_COLUMNS = 16  # images per row of the reconstruction grid


def sample(
    run: RunName,
    density: Annotated[
        str | None,
        typer.Option(help="One listed by [b]recipes[/b], fitted first if need be; default: the recipe's."),
    ] = None,
    n: Annotated[int, typer.Option(help="Number of images.")] = 64,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Images of a class, by name or number: a conditional run decodes them with it; for others the "
            "density is fitted to its codes. Given several times, --n images of each.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Encode and decode the images so many times more.")] = 0,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"{IMAGES_OUT}; default: RUN/samples-DENSITY.png, or labels-DENSITY-CLASSES.png, replaced."
        ),
    ] = None,
    data: Moved = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
) -> Document:
    """Draw new images, of chosen labels if the data have labels."""
    first = speak_for(devices * nodes)
    check_run(run)
    import torch

    from entropic_ae.densities import DENSITIES
    from entropic_ae.runs.fitting import default_density
    from entropic_ae.runs.labels import find_label, in_file_name
    from entropic_ae.training import Execution

    with Execution(device, devices, nodes).together(), notes.status("drawing") as status:
        loaded = load_run(run, device, data)
        known = [find_label(loaded, one) for one in label or ()]
        labels: list[int | None] = [*known] if known else [None]
        density = density or default_density(loaded, labels[0])
        if DENSITIES.find(density).needs_codes:  # minutes for tens of thousands of images, the first time
            status.update(f"drawing from the density '{density}', which is fitted to the codes if need be")
        images = torch.cat(
            [loaded.sample(n, density=density, label=one, seed=seed, rounds=rounds) for one in labels]
        )
    files = []
    if first:
        classes = [in_file_name(loaded, one) for one in known]
        drawn = f"{density}-rounds-{rounds}" if rounds else density
        place = _place(loaded, labelled_file(drawn, classes) if known else samples_file(drawn))
        files = _save(images, out, place, columns=min(n, _COLUMNS) if len(labels) > 1 else None)
    return {
        "run": run,
        "density": density,
        "labels": known or None,
        "images": len(images),
        "seed": seed,
        "files": files,
    }


def reconstruct(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[int, typer.Option(help="Maximum number of images.")] = 32,
    out: Annotated[
        Path | None, typer.Option(help=f"{IMAGES_OUT}; default: RUN/reconstructions[-DATA].png, replaced.")
    ] = None,
    label: OfLabel = None,
    device: Device = "auto",
) -> Document:
    """Encode and decode images. A grid shows each image above its reconstruction, files only reconstructions."""
    if n < 1:
        raise InputError(f"--n must be at least 1, got {n}.")
    _check(run, data)
    from entropic_ae.pictures import above

    loaded = load_run(run, device)
    images, labels, _ = _images(loaded, data, label)
    if len(images) > n:
        hint(f"The first {n:,} of {len(images):,} images; --n {len(images)} takes all.")
    images, labels = images[:n], None if labels is None else labels[:n]
    rebuilt = loaded.reconstruct(images, labels=labels)
    if out is None or out.suffix.lower() == ".png":
        columns = min(len(images), _COLUMNS)
        grid, place = above(images, rebuilt, columns), _picture(loaded, RECONSTRUCTIONS, data)
        files = _save(grid, out, place, columns=columns)
    else:
        files = _save(rebuilt, out, out)
    return {"run": run, "images": len(images), "files": files}


def interpolate(
    run: RunName,
    data: OptionalData = None,
    n: Annotated[
        int, typer.Option(help="Maximum number of pairs of images; of an animation, number of images.")
    ] = 8,
    steps: Annotated[
        int, typer.Option(help="Images per row, including both ends; of an animation, from each to the next.")
    ] = 10,
    kind: Annotated[
        str | None,
        typer.Option(help="spherical or linear; default: spherical, and linear in an animation of another prior."),
    ] = None,
    density: Annotated[
        str | None, typer.Option(help="Of an animation: walk through codes drawn from it, in place of images.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Of an animation: frames a second.")] = 12,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"{IMAGES_OUT}; FILE.gif or FILE.mp4 (extra [b]video[/b]), an animation; default: "
            "RUN/interpolations[-DATA].png, replaced."
        ),
    ] = None,
    label: OfLabel = None,
    device: Device = "auto",
) -> Document:
    """Interpolate between the codes of two images, one row per pair; or animate a closed walk through several."""
    if out is not None and out.suffix.lower() in (".gif", ".mp4"):
        return _animate(run, data, n, steps, kind, density, fps, seed, out, label, device)
    if density is not None:
        raise InputError("--density is of an animation, which walks through its codes; give --out FILE.gif.")
    _check(run, data)
    loaded = load_run(run, device)
    images, labels, _ = _images(loaded, data, label)
    pairs = min(n, len(images) // 2)
    if pairs < 1:
        raise InputError(f"interpolate needs at least 2 images and --n 1, got {len(images)} images and --n {n}.")
    first, last = slice(pairs), slice(pairs, 2 * pairs)
    ends = {} if labels is None else {"labels": labels[first], "end_labels": labels[last]}
    rows = loaded.interpolate(images[first], images[last], steps=steps, kind=kind or "spherical", **ends)
    files = _save(rows.flatten(0, 1), out, _picture(loaded, INTERPOLATIONS, data), columns=steps)
    return {"run": run, "pairs": pairs, "steps": steps, "files": files}


def _animate(
    run: str,
    data: list[str] | None,
    n: int,
    steps: int,
    kind: str | None,
    density: str | None,
    fps: float,
    seed: int,
    out: Path,
    label: str | None,
    device: str,
) -> Document:
    """Write a closed walk through the codes of images, or through draws from a density."""
    _check(run, data)
    from entropic_ae.pictures import check_animation, save_animation

    check_animation(out, fps)
    if out.exists():
        raise InputError(f"{out} exists and is not overwritten; give another place.")
    if density is not None and data:
        raise InputError("DATA and --density both say where the codes come from; give one of them.")
    if n < 2:
        raise InputError(f"an animation needs --n 2 at least, got {n}.")
    loaded = load_run(run, device)
    images, labels = (None, label) if density is not None else _images(loaded, data, label, n)[:2]
    walk = loaded.walk(n, frames=steps, images=images, density=density, kind=kind, labels=labels, seed=seed)
    save_animation(walk, out, fps=fps)
    console.print(str(out))
    return {"run": run, "frames": len(walk), "fps": fps, "files": [out]}


def edit(
    run: RunName,
    data: OptionalData = None,
    toward: Annotated[str, typer.Option(metavar="LABEL", help="The class that images are moved toward.")] = "",
    away: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="The class that they are moved from; default: all others."),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Of the last column: 1 moves the mean code of one class onto that of the other.")
    ] = 1.0,
    steps: Annotated[int, typer.Option(help="Columns from the reconstruction to the last one.")] = 5,
    n: Annotated[int, typer.Option(help="Maximum number of images.")] = 8,
    out: Annotated[
        Path | None, typer.Option(help=f"{IMAGES_OUT}; default: RUN/edits-LABEL[-DATA].png, replaced.")
    ] = None,
    label: OfLabel = None,
    device: Device = "auto",
) -> Document:
    """Move images toward a class, a row an image: the image, its reconstruction, and equal steps from there.

    A conditional run decodes the code of an image with the label instead, which has no steps.
    """
    if not toward or n < 1 or steps < 2:
        raise InputError("edit expects --toward LABEL, --n of at least 1 and --steps of at least 2; give them.")
    _check(run, data)
    import torch

    from entropic_ae.runs.labels import find_label, in_file_name

    loaded = load_run(run, device)
    to, of = find_label(loaded, toward), None if away is None else find_label(loaded, away)
    images, labels, _ = _images(loaded, data, label)
    if not data and (known := loaded.data.test.labels) is not None:
        chosen = known != to if of is None else known == of
        images, labels = images[chosen], None if labels is None else labels[chosen]
    images, labels = images[:n], None if labels is None else labels[:n]
    if not len(images):
        raise InputError(f"there is no test image to move toward {toward}; give other images (DATA).")
    if loaded.model.labels is None:
        levels = [strength * i / (steps - 1) for i in range(steps)]
        columns = [loaded.edit(images, to, away=of, strength=level) for level in levels]
    else:
        columns = [loaded.reconstruct(images, labels=labels), loaded.edit(images, to, labels=labels)]
    rows = torch.stack([images, *columns], 1).flatten(0, 1)
    place = _picture(loaded, edits_file(in_file_name(loaded, to)), data)
    files = _save(rows, out, place, columns=1 + len(columns))
    return {"run": run, "toward": to, "away": of, "images": len(images), "files": files}


def score(
    run: RunName,
    data: OptionalData = None,
    density: Annotated[
        str | None, typer.Option(help="Of the codes' likelihood: prior, mixture or flow; default: the recipe's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A CSV file; default: RUN/scores-DENSITY[-DATA].csv, replaced.")
    ] = None,
    label: OfLabel = None,
    device: Device = "auto",
) -> Document:
    """Score how unusual images are: reconstruction error, log likelihood of the code, and both beside others.

    With the run's validation images at hand, each row also has the surprise, in which both scores count, and its
    p-value: the share of validation images that are at least as surprising. Images that are files have their name.
    """
    if out is not None and out.suffix != ".csv":
        raise InputError(f"--out expects a file .csv, got {out}.")
    if out is not None and out.exists():
        raise InputError(f"{out} exists; give another --out.")
    _check(run, data)
    import csv
    import io

    from entropic_ae.runs.fitting import default_density
    from entropic_ae.runs.scoring import Anomalies, Scores, compared, validation_scores
    from entropic_ae.storage.files import write_text

    loaded = load_run(run, device)
    images, labels, names = _images(loaded, data, label)
    density = density or default_density(loaded)
    numbers = [*range(len(images))]
    columns: dict[str, Any] = {"image": numbers} | ({"file": names} if names else {})
    with notes.status(f"scoring; the density '{density}' is fitted to the codes if need be"):
        scored = loaded.score(images, density=density, labels=labels)
        scores: Scores | Anomalies = scored
        try:
            scores = compared(scored, validation_scores(loaded, density, {}))
        except InputError as error:  # the run's own images are missing or few
            hint(escape(f"without surprise and p_value: {error}"))
    columns |= {name: part.tolist() for name, part in scores._asdict().items()}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        rows.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
    path = out or _picture(loaded, scores_file(density), data)
    write_text(path, text.getvalue())
    called = names or tuple(map(str, numbers))
    highest = scores.error.argsort(descending=True)[:_SHOWN].tolist()
    shown = ", ".join(f"{called[i]} ({scores.error[i].item():.4g})" for i in highest)
    console.print(escape(f"likelihood under the density {density}; highest errors, of images: {shown}"))
    odd: list[int] = []
    if isinstance(scores, Anomalies):
        odd = scores.surprise.argsort(descending=True)[:_SHOWN].tolist()
        shown = ", ".join(f"{called[i]} (p {scores.p_value[i].item():.3g})" for i in odd)
        ordinary = len(loaded.data.validation.images)
        console.print(escape(f"most surprising beside {ordinary:,} validation images: {shown}"))
    console.print(str(path))
    return {
        "run": run,
        "density": density,
        "images": len(images),
        "highest_error": highest,
        **({"most_surprising": odd} if odd else {}),
        **({"names": {str(i): names[i] for i in sorted({*highest, *odd})}} if names else {}),
        "files": [path],
    }


def _check(run: str, data: list[str] | None) -> None:
    """Raise InputError for a run or images that do not exist, before PyTorch is imported."""
    check_run(run)
    check_data(*data or (), what="the file of an image, a folder or a file of images")


def _images(
    run: Run, data: list[str] | None, label: str | None, most: int | None = None
) -> tuple[Tensor, Tensor | None, tuple[str, ...] | None]:
    """Return the run's test images, or all images of other data, fitted to its shape, ``most`` of them.

    For a conditional run their labels are beside them, else None; and the names of their files, if they are files.
    """
    from entropic_ae.data import named_images_for
    from entropic_ae.runs.images import Cuts, fit_of
    from entropic_ae.runs.labels import given_labels, taken

    if not data:
        if label is not None:
            raise InputError(
                "--label is for other images than the run's own, whose labels are known; leave it out."
            )
        test = run.data.test.at(slice(most))
        return test.images, taken(run, test), run.data.files.get("test")
    cuts = Cuts(run.info)
    images, names = named_images_for(fit_of(run.info), data, run.info.value_range, note=cuts)
    cuts.warn()
    return images[:most], given_labels(run, label, len(images[:most])), names


def _place(run: Run, name: str) -> Path:
    """Return the path of a file in a run folder; of a read-only run in the current folder, with its name."""
    if run.origin is None:
        return run.folder / name
    return Path(outside_file(run.origin, name))


def _picture(run: Run, name: str, data: list[str] | None) -> Path:
    """Return the path of a picture; for other data than the run's, their name is part of it."""
    other = ""
    if data:
        other = "-" + (re.sub(r"\W+", "-", Path(data[0]).stem).strip("-") or "data")
        other += f"-and-{len(data) - 1}-more" * (len(data) > 1)
    return _place(run, f"{Path(name).stem}{other}{Path(name).suffix}")


def _save(images: Tensor, out: Path | None, default: Path, columns: int | None = None) -> list[Path]:
    from entropic_ae.pictures import save_images

    path = save_images(images, out or default, columns=columns, overwrite=out is None)
    console.print(str(path))
    return [path]
