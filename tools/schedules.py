"""What a moving average of the weights and augmentation bring, on folders of images as users have them.

    PYTHONPATH=src:.venv/photographs python tools/schedules.py --out results/measures/schedules.json

trains one system with each setting on faces (``ENTROPIC_AE_DATA``), a folder of digits and 600 photographs (see
``tools/photographs.py``), and measures held-out images. In ``all defaults`` everything else is what a folder of
one's own gets, which takes minutes a training. It writes after each training, and continues a file that is there.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.extend(str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parent))

import torch
from photographs import NUMBER, crops
from PIL import Image
from sklearn.datasets import load_digits

import entropic_ae as eae
from entropic_ae.features import load_features
from entropic_ae.metrics import kernel_distance, total_variance
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_effects", "render_schedules"]

WIDTH, SAMPLES = 16, 1000
SHORT = {"width": WIDTH, "batch_size": 50, "patience_steps": 300, "learning_rate": 1e-3}
DEFAULTS = ", all defaults"  # ends the name of a set whose other settings are those of folders
SETS: dict[str, dict[str, Any]] = {
    "photographs": {**SHORT, "image_size": 24, "latent_dim": 32, "epochs": 40},
    "faces": {**SHORT, "image_size": 24, "latent_dim": 32, "epochs": 12, "limit": 1000},
    f"digits{DEFAULTS}": {},
}
CHANGES: dict[str, dict[str, Any]] = {
    "none": {"ema": 0.0},
    "ema=0.99": {"ema": 0.99},
    "beta2=0.95": {"beta2": 0.95},
    "ema=0.99 beta2=0.95": {"ema": 0.99, "beta2": 0.95},
    "augment=shift": {"augment": "shift"},
    "augment=mirror": {"augment": "mirror"},
    "augment=mirror+shift": {"augment": "mirror+shift"},
    "augment=mirror+shift+crop": {"augment": "mirror+shift+crop"},
}
LEFT_OUT = {f"digits{DEFAULTS}": {"augment=mirror+shift", "augment=mirror+shift+crop"}}  # where each alone harms


def measure(name: str, source: str, change: str, seed: int, out: Path) -> dict[str, Any]:
    """Train once, and return the measures of held-out images and of new ones."""
    settings = {**CHANGES["none"], **SETS[name], **CHANGES[change]}
    limit = settings.pop("limit", None)
    started = time.process_time()
    run = eae.train("eae", source, set=settings, seed=seed, limit=limit, out=out, device="cpu", progress=False)
    seconds = time.process_time() - started
    test = run.data.test.images
    left = (run.reconstruct(test).float() - test.float()).div(255).square().flatten(1).sum(1).mean().item()
    held_out = torch.cat([test, run.data.validation.images])
    space = load_features("random", run.data)
    distance, error = kernel_distance(space(held_out), space(run.sample(SAMPLES, density="prior", seed=0)))
    log, best = run.files.read_log(), run.best_epoch
    assert best is not None
    row = {column: values[best - 1] for column, values in log.items()}
    return {
        "set": name,
        "change": change,
        "seed": seed,
        "settings": settings,
        "epochs": run.system.preset.training.epochs,
        "training_images": len(run.data.train.images),
        "held_out_images": len(held_out),
        "variance_left": left / total_variance(test),
        "kernel_distance": distance,
        "kernel_error": error,
        "entropy_gap": row["entropy_of_draws"] - row["entropy"],
        "training_error": row["train_squared_error"],
        "validation_loss": row["validation_loss"],
        "best_epoch": best,
        "cpu_seconds": round(seconds, 1),
    }


def render_schedules(path: Path) -> str:
    """Return the measures as Markdown, by set and setting: the mean over seeds, in brackets each seed's."""
    from benchmarks.tables import markdown

    rows = read_json(path)["rows"]
    lines = []
    for name in SETS:
        for change in CHANGES:
            mine = [row for row in rows if (row["set"], row["change"]) == (name, change)]
            if not mine:
                continue
            shares = [100 * row["variance_left"] for row in mine]
            distances = [1000 * row["kernel_distance"] for row in mine]
            each = ", ".join(f"{one:.1f}" for one in shares)
            lines.append(
                [
                    name,
                    f"`{change}`" if change != "none" else "neither",
                    f"{mean(shares):.1f} %" + f" ({each})" * (len(shares) > 1),
                    f"{mean(distances):.2f} ± {1000 * _error(mine):.2f}",
                    f"{mean(row['entropy_gap'] for row in mine):.2f}",
                    f"{mean(row['best_epoch'] for row in mine):.0f} of {mine[0]['epochs']}",
                    f"{mean(row['cpu_seconds'] for row in mine):.0f} s",
                ]
            )
    heads = [
        "images",
        "setting",
        "variance left",
        "kernel distance x 1,000",
        "entropy gap",
        "best epoch",
        "CPU time",
    ]
    return str(markdown(heads, lines))


def render_effects(path: Path) -> str:
    """Return the variance left with each setting as a share of that without, and which always lower it."""
    rows = read_json(path)["rows"]
    left = {
        (name, change): mean(found)
        for name in SETS
        for change in CHANGES
        if (found := [row["variance_left"] for row in rows if (row["set"], row["change"]) == (name, change)])
    }
    lines, lower = [], []
    for change in CHANGES:
        shares = {name: left[name, change] / left[name, "none"] for name in SETS if (name, change) in left}
        if change != "none":
            each = ", ".join(f"{share:.2f} ({name.removesuffix(DEFAULTS)})" for name, share in shares.items())
            lines.append(f"- `{change}`: {each}")
            lower += [f"`{change}`"] * (len(shares) == len(SETS) and max(shares.values()) < 1)
    said = f"Lower on every set: {', '.join(lower) or 'none'}."
    return "\n".join(["The variance left, as a share of that without the setting:", "", *lines, "", said])


def _error(rows: list[dict[str, Any]]) -> float:
    """Return the standard error of the mean of the kernel distances, as far as it is of the held-out images."""
    return math.hypot(*(row["kernel_error"] for row in rows)) / len(rows)


def main() -> None:
    """Train what is not yet in the file, one seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--photographs", type=Path, required=True, help="the folder data of scikit-image")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (own := Path(folder) / "photographs").mkdir()
        for number, crop in enumerate(islice(crops(options.photographs), NUMBER)):
            crop.save(own / f"{number}.png")
        (digits := Path(folder) / "digits").mkdir()
        for number, pixels in enumerate(load_digits().images):
            Image.fromarray((pixels / 16 * 255).round().astype("uint8")).save(digits / f"{number:04}.png")
        sources = {"photographs": str(own), "faces": "celeba", "digits": str(digits)}
        rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.is_file() else []
        done = {(row["set"], row["change"], row["seed"]) for row in rows}
        for seed in range(options.seeds):
            for name in SETS:
                for change in CHANGES:
                    if (name, change, seed) in done or change in LEFT_OUT.get(name, ()):
                        continue
                    source = sources[name.removesuffix(DEFAULTS)]
                    out = Path(folder) / f"{name}-{change}-{seed}"
                    rows.append(measure(name, source, change, seed, out))
                    where = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
                    write_json(options.out, {"rows": rows, **where})


if __name__ == "__main__":
    main()
