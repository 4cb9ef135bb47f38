"""A new user's walk with 600 photographs: a folder of crops, then train, evaluate, verdict and report.

The photographs are those in scikit-image's wheel, cut into crops of 48 x 48 pixels without overlap. Nothing of
scikit-image is imported, so the wheel alone will do:

    pip install --no-deps --target .venv/photographs scikit-image
    PYTHONPATH=src:.venv/photographs python tools/photographs.py --out results/measures/photographs.json

It keeps what the commands printed and, over this and other splits of the crops, how often evaluate shows distances
of held-out photographs. A number shown that calls blurred ones or their mean no farther ends it with status 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from PIL import Image

import entropic_ae as eae
from entropic_ae.data import ImageData, Split
from entropic_ae.evaluation import evaluate_in
from entropic_ae.features import load_features
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.report import distance_rows
from entropic_ae.storage.files import read_json, write_json
from entropic_ae.storage.run_folder import BLURRED, FLOOR, MEAN_IMAGE, METRICS_FILE

__all__ = ["crops", "main", "render_photographs", "walk", "wrong"]

# the last is of the sky, and fills up what the others leave
PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
)
NUMBER, SIDE = 600, 48
SPLITS = 10  # of the crops, besides that of the walk
COMMANDS = (
    ("train", "eae", "photographs", "--set", "width=16", "--epochs", "20", "--out", "run", "--device", "cpu"),
    ("evaluate", "run", "--device", "cpu"),
    ("report", "run"),
)
SHOWN = ("Frechet distance", "times the floor", "kernel distance")


def crops(folder: Path) -> Iterator[Image.Image]:
    """Yield crops of the photographs in a folder, RGB, side by side."""
    for name in PHOTOGRAPHS:
        with Image.open(folder / name) as photograph:
            whole = photograph.convert("RGB")
        for top in range(0, whole.height - SIDE + 1, SIDE):
            for left in range(0, whole.width - SIDE + 1, SIDE):
                yield whole.crop((left, top, left + SIDE, top + SIDE))


def wrong(metrics: Mapping[str, Any]) -> list[str]:
    """Return the numbers shown that call spoilt images no farther than held-out ones.

    Arguments:
        metrics: the result of ``evaluate`` in one feature space.
    """
    shown = {name: numbers for name, *numbers, _ in distance_rows(metrics)}
    return [
        f"{metrics['features']}, {measure}: {name} {far}, {FLOOR} {near}"
        for name in (BLURRED, MEAN_IMAGE)
        for measure, near, far in zip(SHOWN, shown[FLOOR], shown[name], strict=True)
        if "-" not in (near, far) and _number(far) <= _number(near)
    ]


def _number(text: str) -> float:
    return float(text.split(maxsplit=1)[0].replace(",", ""))


def walk(photographs: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what each command printed, in a folder where the crops are first written."""
    (folder / "photographs").mkdir()
    for number, crop in enumerate(islice(crops(photographs), NUMBER)):
        crop.save(folder / "photographs" / f"{number}.png")
    for command in COMMANDS:
        started = time.perf_counter()
        program = (sys.executable, "-m", "entropic_ae")
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
        options: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": paths}}
        done = subprocess.run([*program, *command], capture_output=True, text=True, check=False, **options)
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}")
        seconds = round(time.perf_counter() - started)
        printed = done.stdout.replace(f"{folder}{os.sep}", "").splitlines()
        yield {"command": " ".join(command), "seconds": seconds, "printed": printed}


def splits(run: eae.Run) -> Iterator[Mapping[str, Any]]:
    """Yield the metrics of other splits of the same images, in each space of the run's own."""
    parts = (run.data.train, run.data.validation, run.data.test)
    images = torch.cat([part.images for part in parts])
    for seed in range(SPLITS):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        drawn = [Split(one, None) for one in images[order].split([len(part.images) for part in parts])]
        data = ImageData("photographs", *drawn)
        spaces = [load_features(name, data) for name in read_json(run.folder / METRICS_FILE)]
        yield from evaluate_in(run.model, data, {}, spaces).values()


def main() -> None:
    """Walk, and look at each number shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    out = parser.parse_args().out
    found = find_spec("skimage")
    if found is None or found.origin is None:
        sys.exit("scikit-image is not there; its photographs are needed, see --help.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = list(walk(Path(found.origin).parent / "data", folder))
        run = eae.load(folder / "run", device="cpu")
        metrics = [*read_json(run.folder / METRICS_FILE).values(), *splits(run)]
        verdict = run.verdict
        faults = [fault for one in metrics for fault in wrong(one)]
        shown: dict[str, dict[str, dict[str, int]]] = {measure: {} for measure in SHOWN[::2]}
        for one in metrics:
            floor = next(row for row in distance_rows(one) if row[0] == FLOOR)
            for measure, value in zip(SHOWN[::2], floor[1::2], strict=False):
                counts = shown[measure].setdefault(one["features"], {"shown": 0, "withheld": 0})
                counts["withheld" if value == "-" else "shown"] += 1
        libraries = {**versions(), "scikit-image": version("scikit-image")}
        write_json(
            out,
            {
                "images": NUMBER,
                "steps": steps,
                "verdict": [line.replace(f"{folder}{os.sep}", "") for line in verdict.lines()] if verdict else [],
                "splits": 1 + SPLITS,
                "shown": shown,
                "wrong": faults,
                "versions": libraries,
                "machine": machine(),
                "git_commit": git_commit(),
            },
        )
    if faults:
        sys.exit("\n".join(faults))


def render_photographs(path: Path) -> str:
    """Return in a sentence a measure how often it was shown, and whether it was right."""
    found = read_json(path)
    said = [
        f"the {measure} in `{space}` was shown in {counts['shown']} of {found['splits']} splits"
        for measure, spaces in found["shown"].items()
        for space, counts in spaces.items()
    ]
    wrong = f"{len(found['wrong'])} of the numbers shown" if found["wrong"] else "no number shown"
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}; {wrong} called blurred photographs or their mean nearer."


if __name__ == "__main__":
    main()
