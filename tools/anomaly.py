"""Which scores find a digit that was held out of training: this library's, and those of scikit-learn and PyOD.

    python -m venv .venv/pyod && .venv/pyod/bin/pip install torch==2.13.0 pyod tqdm
    python tools/anomaly.py --pyod .venv/pyod/bin/python --out results/measures/anomaly.json

For each digit of MNIST the systems are trained on images of the nine others. Every score then ranks the test
images of all ten, and its AUROC says how often the held-out digit is the more unusual one of two. PyOD's
autoencoder trains for as many CPU seconds as the slower system. A cell is written when it is done, and
another start goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import torch
from benchmarks.tables import markdown
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

import entropic_ae as eae
from entropic_ae.data import ImageData, Split
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.runs.scoring import Scores, compared
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "render_anomaly", "render_anomaly_notes", "without"]

DIGITS = range(10)
SETTINGS = {
    "training_images": 5_000,
    "validation_images": 1_000,
    "test_images": 5_000,
    "image_size": 16,
    "width": 16,
    "epochs": 4,
    "seed": 0,
    "threads": 1,
}
DENSITIES = {"eae": ("prior", "mixture"), "bn-ae": ("mixture",)}  # of each system
TREES, COMPONENTS = 300, (16, 50)  # of the isolation forest; of PCA for its own error, and before the forest
LEVEL = 0.05  # of p-values, up to which an image is called unusual
CALLED = ("called, mixture", "called wrongly, mixture")
PARTS = {
    "eae ": "`eae`",
    "bn-ae ": "`bn-ae`",
    "scikit-learn ": "the forests and PCA together",
    "PyOD ": "PyOD's autoencoder",
}
BORDER = 1  # pixels that padding adds to a side, after resizing

Cell = dict[str, Any]


def without(digit: int, data: ImageData) -> ImageData:
    """Return data of the numbers in SETTINGS, whose training and validation splits lack a digit."""

    def of(split: Split, most: int) -> Split:
        assert split.labels is not None
        return split.at((split.labels != digit).nonzero()[:most, 0])

    train = of(data.train, SETTINGS["training_images"])
    validation = of(data.validation, SETTINGS["validation_images"])
    test = data.test.at(slice(SETTINGS["test_images"]))
    return ImageData(f"mnist-without-{digit}", train, validation, test, data.classes)


def system(recipe: str, data: ImageData, odd: np.ndarray) -> Cell:
    """Train a system, and return the AUROC of each of its scores."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run = eae.train(
            recipe,
            data,
            preset="mnist",
            set={"width": SETTINGS["width"]},
            epochs=SETTINGS["epochs"],
            seed=SETTINGS["seed"],
            out=Path(folder) / "run",
            device="cpu",
            progress=False,
        )
        spent = time.process_time() - started
        images = torch.cat([data.test.images, data.validation.images])
        error, _ = run.score(images, density=DENSITIES[recipe][0])
        codes = run.encode(images)
        prior = run.model.bottleneck.prior()
        found = {"error": _auroc(odd, error[: len(odd)])}
        for name in DENSITIES[recipe]:
            log_prob = prior.log_prob(codes.double()) if name == "prior" else run.density(name).log_prob(codes)
            assert log_prob is not None
            scores = Scores(error, log_prob)
            test, ordinary = (
                Scores(*(part[at] for part in scores)) for at in (slice(len(odd)), slice(len(odd), None))
            )
            judged = compared(test, ordinary)
            called = judged.p_value.numpy() <= LEVEL
            found |= {
                f"likelihood, {name}": _auroc(odd, -judged.log_prob),
                f"surprise, {name}": _auroc(odd, judged.surprise),
                f"called, {name}": float(called[odd].mean()),
                f"called wrongly, {name}": float(called[~odd].mean()),
            }
    return {"found": found, "cpu_seconds": spent}


def forest(train: np.ndarray, test: np.ndarray, odd: np.ndarray) -> Cell:
    """Return the AUROC of an isolation forest on pixels and on principal components, and of PCA's own error."""
    started = time.process_time()
    on_pixels = IsolationForest(n_estimators=TREES, random_state=0).fit(train)
    found = {"forest on pixels": _auroc(odd, -on_pixels.score_samples(test))}
    few, more = (PCA(components, random_state=0).fit(train) for components in COMPONENTS)
    on_parts = IsolationForest(n_estimators=TREES, random_state=0).fit(more.transform(train))
    found["forest on PCA"] = _auroc(odd, -on_parts.score_samples(more.transform(test)))
    rebuilt = few.inverse_transform(few.transform(test))
    found["error of PCA"] = _auroc(odd, ((rebuilt - test) ** 2).sum(1))
    return {"found": found, "cpu_seconds": time.process_time() - started}


def autoencoder(python: Path, train: np.ndarray, test: np.ndarray, odd: np.ndarray, seconds: float) -> Cell:
    """Return the AUROC of PyOD's autoencoder, trained for as many CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "in.npz", Path(folder) / "out.json"
        np.savez(given, train=train, test=test, seconds=seconds)
        peer = Path(__file__).with_name("anomaly_pyod.py")
        subprocess.run([str(python), str(peer), str(given), str(result)], check=True)
        told = json.loads(result.read_text(encoding="utf-8"))
    found = {"error": _auroc(odd, np.array(told.pop("scores")))}
    return {"found": found, **told}


def _auroc(odd: np.ndarray, scores: Any) -> float:
    return float(roc_auc_score(odd, np.asarray(scores)))


def measure(
    digit: int, data: ImageData, python: Path | None, done: Mapping[str, Cell]
) -> dict[str, Callable[[], Cell]]:
    """Return the measurements of a digit by name, each to be called when its turn comes."""
    own = without(digit, data)
    odd = (own.test.labels == digit).numpy()
    train, test = (
        split.images[:, 0, BORDER:-BORDER, BORDER:-BORDER].flatten(1).numpy() / np.float32(255)
        for split in (own.train, own.test)
    )
    cells: dict[str, Callable[[], Cell]] = {name: lambda name=name: system(name, own, odd) for name in DENSITIES}
    cells["scikit-learn"] = lambda: forest(train, test, odd)
    if python is not None:
        cells["PyOD"] = lambda: autoencoder(
            python, train, test, odd, max(done[f"{name} {digit}"]["cpu_seconds"] for name in DENSITIES)
        )
    return cells


def main() -> None:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--pyod", type=Path, help="the Python of an environment with PyOD; default: without it")
    given = parser.parse_args()
    torch.set_num_threads(SETTINGS["threads"])
    found = read_json(given.out) if given.out.exists() else {"settings": SETTINGS, "cells": {}}
    if found["settings"] != SETTINGS:
        sys.exit(f"{given.out} was measured with other settings; give another --out.")
    data = eae.load_images("mnist", image_size=SETTINGS["image_size"])
    for digit in DIGITS:
        for name, cell in measure(digit, data, given.pyod, found["cells"]).items():
            if f"{name} {digit}" in found["cells"]:
                continue
            found["cells"][f"{name} {digit}"] = cell()
            found |= {
                "versions": {**versions(), "scikit-learn": version("scikit-learn")},
                "machine": machine(),
                "git_commit": git_commit(),
            }
            write_json(given.out, found)
            print(f"{name} without {digit}: {found['cells'][f'{name} {digit}']}", file=sys.stderr)


def render_anomaly(path: Path) -> str:
    """Return a table with a row a score: AUROC by the held-out digit, and its mean."""
    rows: dict[str, dict[int, float]] = {}
    for key, cell in read_json(path)["cells"].items():
        name, digit = key.rsplit(maxsplit=1)
        for score, auroc in cell["found"].items():
            if not score.startswith("called"):
                rows.setdefault(f"{name}: {score}", {})[int(digit)] = auroc
    digits = sorted(set().union(*rows.values()))
    # a row of few digits, which an interrupted measurement leaves, has no mean and narrows no other's
    whole = {name: row for name, row in rows.items() if 2 * len(row) > len(digits)}
    shared = [digit for digit in digits if all(digit in row for row in whole.values())]
    highest = {digit: max(row.get(digit, 0.0) for row in rows.values()) for digit in digits}
    means = {name: mean(row[digit] for digit in shared) for name, row in whole.items()}
    lines = [
        [
            name,
            *(_shown(row[digit], highest[digit]) if digit in row else "-" for digit in digits),
            _shown(means[name], max(means.values())) if name in means else "-",
        ]
        for name, row in rows.items()
    ]
    over = "mean" if shared == digits else f"mean of {', '.join(map(str, shared))}"
    return markdown(["held out", *map(str, digits), over], lines)


def _shown(value: float, highest: float) -> str:
    text = f"{value:.2f}"
    return f"**{text}**" if text == f"{highest:.2f}" else text


def render_anomaly_notes(path: Path) -> str:
    """Return under which settings it was measured, and how often images were called unusual."""
    found = read_json(path)
    settings, cells = found["settings"], found["cells"]

    def over(start: str, what: Callable[[Cell], float]) -> float:
        return mean(what(cell) for key, cell in cells.items() if key.startswith(start))

    called, wrongly = (over("eae ", lambda cell, name=name: cell["found"][name]) for name in CALLED)
    machine, side = found["machine"], settings["image_size"]
    names = [name for name in PARTS if any(key.startswith(name) for key in cells)]
    spent = ", ".join(f"{over(name, _seconds):.0f} for {PARTS[name]}" for name in names)
    peers = {cell["version"] for key, cell in cells.items() if key.startswith("PyOD")}
    return (
        f"{settings['training_images']:,} training images of {side} x {side} pixels, "
        f"{settings['validation_images']:,} validation and {settings['test_images']:,} test images, width "
        f"{settings['width']}, {settings['epochs']} epochs, seed {settings['seed']}, one thread; "
        f"{machine['processor']}, {machine['cores']} cores; scikit-learn {found['versions']['scikit-learn']}"
        f"{''.join(f', PyOD {one}' for one in sorted(peers))}. CPU seconds of a training, on average: {spent}.\n\n"
        f"At a p-value of {LEVEL}, `eae` with the mixture calls {100 * called:.0f} % of the held-out digits "
        f"unusual, and {100 * wrongly:.1f} % of the others."
    )


def _seconds(cell: Cell) -> float:
    return float(cell["cpu_seconds"])


if __name__ == "__main__":
    main()
