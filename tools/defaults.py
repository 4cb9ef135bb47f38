"""What the defaults for a stranger's folder were chosen by: short trainings on a folder of images.

    ENTROPIC_AE_DATA=... python tools/defaults.py FOLDER --out results/measures/defaults.json

The folder holds 3,000 images of 64 x 64 pixels (those of the kept results are the first of CelebA). Each row is
one training at width 8, on the CPU. A row that the file holds already is kept. Distances are Frechet distances in
``random`` features of validation images; ``share`` is the share of the variance that reconstructions leave.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import entropic_ae as eae
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["ROWS", "main", "measured"]

_PRESETS = {16: "digits", 32: "cifar10", 64: "celeba"}
_SIZES = ((32, 600, 64, 0.505), (32, 600, 64, 1.0), (32, 600, 64, 2.0), (32, 600, 32, 0.505))
_OTHERS = ((16, 600, 64, 0.126), (16, 600, 64, 0.505), (16, 600, 32, 0.126), (64, 300, 64, 4.0))
# side, optimiser steps, length of a code, weight of the entropy; the first is what such a folder got before
ROWS: dict[str, dict[str, Any]] = {
    "32 pixels, before": {"side": 32, "steps": 600, "latent_dim": 128, "entropy": 0.505, "learning_rate": 5e-4},
    **{
        f"{side} pixels, D {dim}, entropy {weight}": {
            **{"side": side, "steps": steps, "latent_dim": dim, "entropy": weight},
            "learning_rate": 2e-3,
        }
        for side, steps, dim, weight in (*_SIZES, *_OTHERS)
    },
    "486 images, before": {"side": 16, "limit": 486, "size": "paper"},
    "486 images, now": {"side": 16, "limit": 486},
}


def measured(folder: Path, row: dict[str, Any], out: Path) -> dict[str, Any]:
    """Train as a row says, into a new folder, and return what was measured."""
    given = dict(row)
    side, steps, limit, size = (given.pop(name, None) for name in ("side", "steps", "limit", "size"))
    options: dict[str, Any] = {
        "limit": limit,
        "size": size,
        "image_size": side,
        "device": "cpu",
        "progress": False,
    }
    if steps is not None:
        per_epoch = len(eae.load_images(folder, image_size=side).train.images) // 100
        given["patience"] = max(1, round(400 / per_epoch))
        options |= {"epochs": max(1, round(steps / per_epoch)), "preset": _PRESETS[side]}
    started = time.process_time()
    run = eae.train("eae", folder, set={"width": 8, **given}, out=out, preview_every=0, **options)
    log, best = run.files.read_log(), (run.best_epoch or 1) - 1
    seconds = round(time.process_time() - started)
    training, validation = (split.images.float() / 255 for split in (run.data.train, run.data.validation))
    variance = (validation - training.mean(0)).square().flatten(1).sum(1).mean().item()
    metrics = run.evaluate(features="random", n=1000, split="validation", samples_only=True)
    found = {name: round(numbers["frechet"], 3) for name, numbers in metrics["distances"].items()}
    return {
        "settings": run.info.overrides,
        "seed": run.info.seed,
        "training_images": run.info.training_images,
        "cpu_seconds": seconds,
        "epochs": len(log["epoch"]),
        "best_epoch": best + 1,
        "share": round(log["validation_squared_error"][best] / variance, 3),
        "entropy": round(log["entropy"][best], 1),
        "entropy_of_draws": round(log["entropy_of_draws"][best], 1),
        "frechet": found,
        "git_commit": git_commit(),
    }


def main() -> None:
    """Measure the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    given = parser.parse_args()
    rows: dict[str, Any] = read_json(given.out)["rows"] if given.out.exists() else {}
    for name, row in ROWS.items():
        if name not in rows:
            with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows[name] = measured(given.folder, row, Path(place) / "run")
            write_json(given.out, {"rows": rows, "machine": machine(), "versions": versions()})


if __name__ == "__main__":
    main()
