r"""What the defaults give on a stranger's folder, before and now, after equally many CPU minutes of training.

    git worktree add --detach ../before a32adaa
    ENTROPIC_AE_DATA=... PYTHONPATH=src:.venv/photographs python tools/own_folders.py --old ../before \
        --out results/measures/own_folders.json --pictures docs

The folders: 3,000 faces of CelebA as JPEG files of 64 x 64 pixels, 10,000 digits of MNIST as PNG files of 32 x 32
in a folder for each, and 600 crops of photographs (scikit-image's: ``tools/photographs.py``). Each build trains
once on each folder, by its own defaults, in a process of its own with one thread. Its weights are taken after
each number of CPU minutes, if an epoch has ended; those of a training that ended before are those of its end. Both
are measured by this build alone, on images that no training saw. What the file holds already is not trained again.
Pictures hold what models drew. ``--limit 200 --minutes 0.5 --sets digits`` is a trial of a few minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

sys.path.extend(str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parent))

import numpy as np
import torch
from photographs import crops
from PIL import Image
from timed_training import DRAWN, TIMES
from torch import Tensor

import entropic_ae as eae
from entropic_ae.data import ImageData, Split
from entropic_ae.features import load_features
from entropic_ae.metrics import FrechetReference, kernel_distance, total_variance
from entropic_ae.pictures import as_picture
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json
from entropic_ae.storage.log import read_log
from entropic_ae.storage.run_folder import LOG

__all__ = ["SETS", "main", "measured", "render_own_folders"]

BUILDS = ("before", "now")
MINUTES = ("10", "40")
SIGMAS = 1.96  # standard errors, half of a 95 % interval
TARGETS = {"error": 0.7, "frechet": 0.6}  # at most, as a share of before
COLUMNS, SHOWN = 6, 24  # samples of a picture, of each build
GAP = 24  # pixels between both halves of a picture


class Images(NamedTuple):
    """The images of a folder, with labels or without, and others that are held out."""

    folder: Split
    held_out: Split


def faces() -> Images:
    """Return 3,000 faces, and those of the other splits."""
    data = eae.load_images("celeba")
    held_out = torch.cat([data.test.images, data.validation.images])
    return Images(Split(data.train.images[:3000], None), Split(held_out[:2000], None))


def digits() -> Images:
    """Return 10,000 digits, and 2,000 of the test split."""
    data = eae.load_images("mnist")
    return Images(data.train.at(slice(10_000)), data.test.at(slice(2000)))


def photographs() -> Images:
    """Return 600 crops of photographs, drawn from all, and the others."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        sys.exit("scikit-image is not there; its photographs are needed, see tools/photographs.py.")
    every = list(crops(Path(found.origin).parent / "data"))
    images = torch.stack([torch.from_numpy(np.asarray(one).copy()).permute(2, 0, 1) for one in every])
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    return Images(Split(images[:600], None), Split(images[600:], None))


SETS: dict[str, tuple[Callable[[], Images], str]] = {
    "faces": (faces, "jpg"),
    "digits": (digits, "png"),
    "photographs": (photographs, "png"),
}


def write(split: Split, folder: Path, suffix: str) -> None:
    """Write images as files, in a folder for each label if there are labels."""
    for number, image in enumerate(split.images):
        place = folder if split.labels is None else folder / str(int(split.labels[number]))
        place.mkdir(parents=True, exist_ok=True)
        as_picture(image).save(place / f"{number:05}.{suffix}", quality=90)


def trained(images: Images, suffix: str, source: Path, minutes: tuple[str, ...], place: Path) -> dict[str, Any]:
    """Train by a build, and return what each copy drew, with its times; None for one without weights yet.

    Arguments:
        images: of the folder, and held out.
        suffix: of the files.
        source: the folder of the build's package.
        minutes: of CPU time.
        place: an empty folder.
    """
    write(images.folder, place / "images", suffix)
    np.save(place / "held_out.npy", images.held_out.images.numpy())
    environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": "1"}
    program = (sys.executable, str(Path(__file__).with_name("timed_training.py")))
    run = partial(subprocess.run, env=environment, cwd=place, check=True)
    run([*program, "train", str(place / "images"), str(place), *minutes])
    run([*program, "draw", str(place), str(place / "held_out.npy"), str(len(images.held_out.images))])
    found: dict[str, Any] = {}
    for minute, times in read_json(place / TIMES).items():
        drawn = place / minute / DRAWN
        epochs = len(read_log(place / minute / LOG).get("epoch", ()))
        arrays = {key: torch.from_numpy(one) for key, one in np.load(drawn).items()} if drawn.is_file() else None
        found[minute] = {"times": {**times, "epochs": epochs}, "drawn": arrays}
    return found


def measured(images: Images, samples: Tensor, rebuilt: Tensor) -> dict[str, Any]:
    """Return the reconstruction error of held-out images, and distances of samples from them, with intervals.

    Beside the distances is ``floor``, that of as many images of the folder: real ones.
    """
    real = images.held_out.images
    errors = (rebuilt.double() - real.double()).div(255).square().flatten(1).sum(1)
    half = SIGMAS * errors.std().item() / len(errors) ** 0.5
    found: dict[str, Any] = {
        "error": [errors.mean().item(), half],
        "variance_left": errors.mean().item() / total_variance(real),
    }
    data = ImageData("folder", images.folder, images.held_out, images.held_out, classes=_classes(images))
    for name in ("random", "classifier") if data.classes else ("random",):
        space = load_features(name, data)
        wanted = space(real)
        reference, groups = (
            FrechetReference(wanted),
            {"prior": samples, "floor": images.folder.images[: len(real)]},
        )
        for group, others in groups.items():
            features = space(others)
            estimate, (kernel, error) = reference.estimate(features), kernel_distance(wanted, features)
            found.setdefault(name, {})[group] = {
                "frechet": [estimate.distance, SIGMAS * estimate.standard_error],
                "kernel": [kernel, SIGMAS * error],
            }
    return found


def _classes(images: Images) -> int | None:
    return None if images.folder.labels is None else int(images.folder.labels.max()) + 1


def side_by_side(halves: list[Path]) -> Image.Image:
    """Return the pictures of both builds beside each other."""
    grids = [Image.open(one) for one in halves]
    whole = Image.new(grids[0].mode, (sum(one.width for one in grids) + GAP, grids[0].height), "white")
    for number, grid in enumerate(grids):
        whole.paste(grid, (number * (grid.width + GAP), 0))
    return whole


def render_own_folders(path: Path) -> str:
    """Return the cells as Markdown: a row for each folder and number of minutes, both builds and their ratio."""
    from benchmarks.tables import markdown

    cells = read_json(path)["cells"]
    lines = []
    for name in SETS:
        for minute in dict.fromkeys(key.split()[2] for key in cells if key.split()[0] == name):
            pair = [cells.get(f"{name} {build} {minute}", {}).get("measures") for build in BUILDS]
            spaces = [_compared(pair, space, "prior", "frechet") for space in ("random", "classifier")]
            lines.append([name, f"{minute} min", _compared(pair, "error"), *spaces])
    three = "before; now; ratio"
    heads = [
        "folder",
        "CPU time",
        f"error: {three}",
        f"samples, `random`: {three}",
        f"samples, `classifier`: {three}",
    ]
    return str(markdown(heads, lines))


def _compared(pair: list[Mapping[str, Any] | None], *keys: str) -> str:
    """Return a measure before and now, with half of its interval, and their ratio; a dash for no epoch yet."""
    found: list[Any] = list(pair)
    for key in keys:
        found = [None if one is None else one.get(key) for one in found]
    if found == [None, None]:
        return "-"
    texts = ["-" if one is None else f"{one[0]:.3g} ± {one[1]:.2g}" for one in found]
    return "; ".join([*texts, *([] if None in found else [f"{found[1][0] / found[0][0]:.2f}"])])


def main() -> None:
    """Train and measure the cells that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the old build")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder")
    parser.add_argument("--minutes", nargs="+", default=MINUTES, help="CPU minutes at which weights are taken")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--limit", type=int, help="images of a folder, and held-out ones: for a trial")
    given = parser.parse_args()
    minutes = tuple(sorted(given.minutes, key=float))
    sources = dict(zip(BUILDS, (given.old / "src", Path(__file__).parents[1] / "src"), strict=True))
    commits = {build: _commit(source) for build, source in sources.items()}
    cells: dict[str, Any] = read_json(given.out)["cells"] if given.out.exists() else {}
    for name in given.sets:
        load, suffix = SETS[name]
        images = None
        for build, source in sources.items():
            if all(f"{name} {build} {minute}" in cells for minute in minutes):
                continue
            images = images or Images(*(part.at(slice(given.limit)) for part in load()))
            with tempfile.TemporaryDirectory() as place:
                found = trained(images, suffix, source, minutes, Path(place))
            for minute, one in found.items():
                drawn, measures = one["drawn"], None
                if drawn is not None:
                    measures = measured(images, drawn["samples"], drawn["rebuilt"])
                    half = given.pictures / f"own-{name}-{minute}-{build}.png"
                    eae.save_images(drawn["samples"][:SHOWN], half, columns=COLUMNS, overwrite=True)
                cells[f"{name} {build} {minute}"] = {
                    **one["times"],
                    "folder_images": len(images.folder.images),
                    "held_out_images": len(images.held_out.images),
                    "measures": measures,
                    "git_commit": commits[build],
                }
            write_json(
                given.out, {"cells": cells, "targets": TARGETS, "machine": machine(), "versions": versions()}
            )
        for minute in minutes:
            halves = [given.pictures / f"own-{name}-{minute}-{build}.png" for build in BUILDS]
            if all(half.is_file() for half in halves):
                side_by_side(halves).save(given.pictures / f"own-{name}-{minute}.png")
                for half in halves:
                    half.unlink()
    print(render_own_folders(given.out))


def _commit(source: Path) -> str | None:
    if source.resolve() == Path(eae.__file__).resolve().parents[1]:
        return git_commit()
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


if __name__ == "__main__":
    main()
