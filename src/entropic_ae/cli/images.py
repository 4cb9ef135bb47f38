"""Commands that write images or read them one by one: sample, reconstruct, interpolate, edit, score."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    load_run,
)
from entropic_ae.cli.printing import Document, console, hint, speak_for
from entropic_ae.errors import InputError
from entropic_ae.storage.run_folder import (
    INTERPOLATIONS,
    RECONSTRUCTIONS,
    check_run,
    edits_file,
    labelled_file,
    samples_file,
    scores_file,
)

if TYPE_CHECKING:
    from torch import Tensor

    from entropic_ae.runs import Run

__all__ = ["edit", "interpolate", "reconstruct", "sample", "score"]

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
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"{IMAGES_OUT}; default: RUN/samples-DENSITY.png, or labels-DENSITY-LABELS.png, replaced."
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

    from entropic_ae.runs.fitting import default_density
    from entropic_ae.runs.labels import find_label
    from entropic_ae.training import Execution

    with Execution(device, devices, nodes).together():
        loaded = load_run(run, device, data)
        known = [find_label(loaded, one) for one in label or ()]
        labels: list[int | None] = [*known] if known else [None]
        density = density or default_density(loaded, labels[0])
        images = torch.cat([loaded.sample(n, density=density, label=one, seed=seed) for one in labels])
    files = []
    if first:
        place = _place(loaded, labelled_file(density, known) if known else samples_file(density))
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
    from entropic_ae.pictures import above

    if n < 1:
        raise InputError(f"--n must be at least 1, got {n}.")
    loaded = load_run(run, device)
    images, labels = _held_out(loaded, data, label)
    if len(images) > n:
        hint(f"The first {n:,} of {len(images):,} images; --n {len(images)} takes all.")
    images, labels = images[:n], None if labels is None else labels[:n]
    rebuilt = loaded.reconstruct(images, labels=labels)
    if out is None or out.suffix.lower() == ".png":
        grid, place = above(images, rebuilt, _COLUMNS), _picture(loaded, RECONSTRUCTIONS, data)
        files = _save(grid, out, place, columns=_COLUMNS)
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
    loaded = load_run(run, device)
    images, labels = _held_out(loaded, data, label)
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
    data: str | None,
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
    from entropic_ae.pictures import check_animation, save_animation

    check_animation(out, fps)
    if out.exists():
        raise InputError(f"{out} exists and is not overwritten; give another place.")
    if density is not None and data is not None:
        raise InputError("DATA and --density both say where the codes come from; give one of them.")
    if n < 2:
        raise InputError(f"an animation needs --n 2 at least, got {n}.")
    loaded = load_run(run, device)
    images, labels = (None, label) if density is not None else _held_out(loaded, data, label, n)
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
    import torch

    from entropic_ae.runs.labels import find_label

    if not toward or n < 1 or steps < 2:
        raise InputError("edit expects --toward LABEL, --n of at least 1 and --steps of at least 2; give them.")
    loaded = load_run(run, device)
    to, of = find_label(loaded, toward), None if away is None else find_label(loaded, away)
    images, labels = _held_out(loaded, data, label)
    if data is None and (known := loaded.data.test.labels) is not None:
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
    place = _picture(loaded, edits_file(str(to)), data)
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
    p-value: the share of validation images that are at least as surprising.
    """
    import csv
    import io

    from entropic_ae.runs.fitting import default_density
    from entropic_ae.runs.scoring import Anomalies, Scores, compared, validation_scores
    from entropic_ae.storage.files import write_text

    if out is not None and out.suffix != ".csv":
        raise InputError(f"--out expects a file .csv, got {out}.")
    if out is not None and out.exists():
        raise InputError(f"{out} exists; give another --out.")
    loaded = load_run(run, device)
    images, labels = _held_out(loaded, data, label)
    density = density or default_density(loaded)
    columns = {"image": list(range(len(images)))}
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
    rows.writerows([i, *(f"{value:.6g}" for value in row)] for i, *row in zip(*columns.values(), strict=True))
    path = out or _picture(loaded, scores_file(density), data)
    write_text(path, text.getvalue())
    highest = scores.error.argsort(descending=True)[:5].tolist()
    shown = ", ".join(f"{i} ({scores.error[i].item():.4g})" for i in highest)
    console.print(f"likelihood under the density {density}; highest errors, of images: {shown}")
    document = {"run": run, "density": density, "images": len(images), "highest_error": highest}
    if isinstance(scores, Anomalies):
        odd = scores.surprise.argsort(descending=True)[:5].tolist()
        shown = ", ".join(f"{i} (p {scores.p_value[i].item():.3g})" for i in odd)
        console.print(f"most surprising beside {len(loaded.data.validation.images):,} validation images: {shown}")
        document["most_surprising"] = odd
    console.print(str(path))
    return {**document, "files": [path]}


def _held_out(
    run: Run, data: str | None, label: str | None, most: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return the run's test images, or all images of other data, fitted to its shape, ``most`` of them.

    For a conditional run their labels are beside them, else None.
    """
    from entropic_ae.data import read_images
    from entropic_ae.runs.labels import given_labels, taken

    if data is None:
        if label is not None:
            raise InputError(
                "--label is for other images than the run's own, whose labels are known; leave it out."
            )
        test = run.data.test.at(slice(most))
        return test.images, taken(run, test)
    images = read_images(data, run.shape, value_range=run.info.value_range, white=run.info.white)[:most]
    return images, given_labels(run, label, len(images))


def _place(run: Run, name: str) -> Path:
    """Return the path of a file in a run folder; of a read-only run in the current folder, with its name."""
    if run.origin is None:
        return run.folder / name
    return Path(re.sub(r"[^\w.-]+", "-", run.origin.partition("/")[2] or run.origin) + f"-{name}")


def _picture(run: Run, name: str, data: str | None) -> Path:
    """Return the path of a picture; for other data than the run's, their name is part of it."""
    other = "" if data is None else "-" + (re.sub(r"\W+", "-", Path(data).stem).strip("-") or "data")
    return _place(run, f"{Path(name).stem}{other}{Path(name).suffix}")


def _save(images: Tensor, out: Path | None, default: Path, columns: int | None = None) -> list[Path]:
    from entropic_ae.pictures import save_images

    path = save_images(images, out or default, columns=columns, overwrite=out is None)
    console.print(str(path))
    return [path]
