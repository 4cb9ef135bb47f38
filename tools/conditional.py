"""Conditional systems beside the same systems with a density for each class.

``python tools/conditional.py --out results/measures/labels.json`` trains four systems on scikit-learn's digits;
``--data mnist --limit 10000 --epochs 6`` on 10,000 images of MNIST (``ENTROPIC_AE_DATA``). ``--grids FOLDER``
writes samples of every class.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch

from entropic_ae import runs
from entropic_ae.data import Split
from entropic_ae.features import classifier_accuracy
from entropic_ae.pictures import save_images
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_conditional"]

SEED, WIDTH = 0, 16
EACH = 100  # samples of a class
SHOWN = 12  # of them in a grid
SYSTEMS = {"eae": "mixture", "c-eae": "prior", "vae": "mixture", "c-vae": "prior"}  # density of each class


def measure(recipe: str, density: str, given: dict[str, Any], n: int, out: Path, grids: Path) -> dict[str, Any]:
    """Train a system, and return what it makes of labels."""
    run = runs.train(recipe, set={"width": WIDTH}, seed=SEED, out=out, device="cpu", **given)
    result = run.evaluate(features="classifier", n=n, seed=SEED, train_on_samples=True)
    samples = [run.sample(EACH, density=density, label=name, seed=SEED) for name in run.classes]
    save_images(torch.cat([one[:SHOWN] for one in samples]), grids / f"{recipe}.png", columns=SHOWN)
    drawn = Split(torch.cat(samples), torch.arange(len(samples)).repeat_interleave(EACH))
    return {
        "recipe": recipe,
        "density": density,
        "reconstruction_error": result["reconstruction_error"],
        "samples_of_their_class": classifier_accuracy(run.data.train, drawn),
        "trained_on_samples": result["classification_accuracy"]["samples"],
        "trained_on_real": result["classification_accuracy"]["real"],
        "frechet": result["distances"][density]["frechet"],
        "frechet_error": result["distances"][density]["frechet_error"],
        "knn_accuracy": result["knn_accuracy"],
        "label_information": result["diagnostics"].get("labels"),
    }


def render_conditional(path: Path) -> str:
    """Return the study as Markdown."""
    from benchmarks.tables import markdown

    names = {
        "reconstruction_error": ("reconstruction error", 1, 2),
        "samples_of_their_class": ("samples of their class, %", 100, 1),
        "trained_on_samples": ("trained on samples, %", 100, 1),
        "frechet": ("Frechet distance of samples", 1, 2),
        "knn_accuracy": ("labels from codes, %", 100, 1),
    }
    lines = [
        [
            f"`{one['recipe']}`",
            f"{'mixture of each class' if one['density'] == 'mixture' else one['density']}",
            *(f"{scale * one[name]:.{places}f}" for name, (_, scale, places) in names.items()),
        ]
        for one in read_json(path)["systems"]
    ]
    return str(markdown(["system", "codes of a class", *(title for title, *_ in names.values())], lines))


def main() -> None:
    """Train and measure the four systems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--grids", type=Path, help="a folder for samples of each class; default: none is kept")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--limit", type=int, help="training images; default: all")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--n", type=int, default=5000, help="samples that are measured")
    options = parser.parse_args()
    given = {"data": options.data, "limit": options.limit, "epochs": options.epochs}
    with tempfile.TemporaryDirectory() as folder:
        grids = options.grids or Path(folder) / "grids"
        grids.mkdir(parents=True, exist_ok=True)
        systems = [
            measure(recipe, density, given, options.n, Path(folder) / recipe, grids)
            for recipe, density in SYSTEMS.items()
        ]
    settings = {**given, "images": options.n, "seed": SEED, "width": WIDTH}
    where = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
    write_json(options.out, {"settings": settings, "systems": systems, **where})


if __name__ == "__main__":
    main()
