"""What folders of few and of many faces give: the default training, its measures, and a picture of its samples.

    PYTHONPATH=src python tools/folders.py --out results/measures/folders.json --pictures docs

The faces are the first of CelebA (``ENTROPIC_AE_DATA``), as PNG files in a folder; nothing of the set itself is
written elsewhere, only what the models draw. Held-out faces are those of its other splits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch

import entropic_ae as eae
from entropic_ae.features import load_features
from entropic_ae.metrics import kernel_distance, total_variance
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_folders"]

# of 300 faces a folder gets minibatches of 60
FOLDERS: dict[int, dict[str, Any]] = {300: {}, 3000: {"batch_size": 50}}
SIDE, SAMPLES = 24, 1000
COLUMNS, ROWS = 12, 3


def measure(number: int, faces: eae.ImageData, folder: Path, picture: Path) -> dict[str, Any]:
    """Train on the first faces by the defaults of folders, draw samples, and return measures of held-out faces."""
    eae.save_images(faces.train.images[:number], folder / "faces")
    started = time.process_time()
    options = {"out": folder / "run", "device": "cpu", "progress": False}
    run = eae.train("eae", folder / "faces", set={"image_size": SIDE, **FOLDERS[number]}, **options)
    seconds = time.process_time() - started
    held_out = torch.cat([faces.test.images, faces.validation.images])
    left = (run.reconstruct(held_out).float() - held_out.float()).div(255).square().flatten(1).sum(1).mean().item()
    space = load_features("random", faces)
    samples = run.sample(SAMPLES, density="prior", seed=0)
    distance, error = kernel_distance(space(held_out), space(samples))
    eae.save_images(samples[: COLUMNS * ROWS], picture, columns=COLUMNS, overwrite=True)
    assert run.best_epoch is not None
    per_epoch = run.overview.steps // run.overview.epochs if run.overview else 0
    return {
        "images": number,
        "image_size": SIDE,
        "training_images": len(run.data.train.images),
        "held_out_images": len(held_out),
        "settings": run.system.settings(),
        "variance_left": left / total_variance(held_out),
        "kernel_distance": distance,
        "kernel_error": error,
        "best_step": run.best_epoch * per_epoch,
        "cpu_seconds": round(seconds, 1),
        "picture": picture.name,
    }


def render_folders(path: Path) -> str:
    """Return the measures as Markdown, a row a folder."""
    from benchmarks.tables import markdown

    lines = [
        [
            f"{row['images']:,}",
            f"{100 * row['variance_left']:.0f} %",
            f"{1000 * row['kernel_distance']:.1f} ± {1000 * row['kernel_error']:.1f}",
            f"{row['best_step']:,}",
            f"{row['cpu_seconds'] / 60:.0f} min",
        ]
        for row in read_json(path)["rows"]
    ]
    heads = ["faces", "variance left", "kernel distance x 1,000", "best step", "CPU time, one thread"]
    return str(markdown(heads, lines))


def main() -> None:
    """Train on each folder that is not yet in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.is_file() else []
    faces = eae.load_images("celeba", image_size=SIDE)
    for number in FOLDERS:
        if number in [row["images"] for row in rows]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(number, faces, Path(folder), options.pictures / f"faces-{number}.png"))
        where = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
        write_json(options.out, {"rows": rows, **where})


if __name__ == "__main__":
    main()
