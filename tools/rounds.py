"""Rounds of encoding and decoding at sampling: nearness and variety of samples by the number of rounds.

``python tools/rounds.py --out results/measures/rounds.json`` trains each case of ``CASES`` on 10,000 images of
MNIST (``ENTROPIC_AE_DATA``) by the small budget of the tables; ``--data digits --limit 400 --epochs 2 --n 150`` is
a trial. Cases that the file holds already are kept. ``--pictures FOLDER`` writes samples, a row for each number of
rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch

import entropic_ae as eae
from entropic_ae.features import load_features
from entropic_ae.metrics import fidelity_coverage, frechet_distance, reconstruction_error
from entropic_ae.pictures import save_images
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["QUIET", "SEED", "WIDTH", "begun", "main", "measure", "render_rounds"]

NOISE = {"bottleneck": "noisy-batch-norm", "noise_angle": 60.0}
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bn-ae": ("bn-ae", {}),
    "eae": ("eae", {}),
    "t-bn-ae": ("t-bn-ae", {}),
    "bn-ae, noise of 60 degrees": ("bn-ae", NOISE),
    "bn-ae, noise and consistency": (
        "bn-ae",
        {**NOISE, "terms": "squared_error+image_consistency+code_consistency"},
    ),
}
ROUNDS = (0, 1, 2, 4, 8)
SEED, WIDTH, SHOWN = 0, 16, 16
QUIET: Mapping[str, Any] = {"seed": SEED, "device": "cpu", "progress": False}
SPACES = ("classifier", "random")


def measure(case: str, given: Mapping[str, Any], n: int, pictures: Path | None) -> dict[str, Any]:
    """Train a case, and return the measures of its samples after each number of rounds."""
    recipe, settings = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        run = eae.train(
            recipe,
            set={"width": WIDTH, **settings},
            out=Path(folder) / "run",
            **QUIET,
            **given,
        )
        real = run.data.test.images[:n]
        spaces = {name: load_features(name, run.data) for name in SPACES}
        of_real = {name: space(real) for name, space in spaces.items()}
        rows, shown = [], []
        for rounds in ROUNDS:
            samples = run.sample(n, density="prior", seed=SEED, rounds=rounds)
            shown.append(samples[:SHOWN])
            found = {name: space(samples) for name, space in spaces.items()}
            near = fidelity_coverage(of_real["classifier"], found["classifier"])
            rows.append(
                {
                    "rounds": rounds,
                    **{name: frechet_distance(of_real[name], found[name]) for name in SPACES},
                    **{name: near[name] for name in ("precision", "recall", "coverage")},
                }
            )
        error = reconstruction_error(real, run.reconstruct(real))
    if pictures is not None:
        save_images(torch.cat(shown), pictures / f"{case.replace(' ', '-')}.png", columns=SHOWN, overwrite=True)
    return {"rows": rows, "real_images": len(real), "reconstruction_error": error}


def render_rounds(path: Path) -> str:
    """Return the measures as Markdown, a row for each case and number of rounds."""
    from benchmarks.tables import markdown

    lines = [
        [
            *((case, f"{found['reconstruction_error']:.2f}") if row["rounds"] == 0 else ("", "")),
            str(row["rounds"]),
            *(f"{row[name]:.2f}" for name in (*SPACES, "precision", "recall", "coverage")),
        ]
        for case, found in read_json(path)["cases"].items()
        for row in found["rows"]
    ]
    heads = [
        "system",
        "reconstruction error",
        "rounds",
        *(f"Frechet, {name}" for name in SPACES),
        "precision",
        "recall",
        "coverage",
    ]
    return str(markdown(heads, lines))


def begun(description: str | None) -> tuple[argparse.Namespace, dict[str, Any], dict[str, Any]]:
    """Return the options, those of training, and what the file holds already, whose settings must be the same."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--pictures", type=Path, help="a folder")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--n", type=int, default=5_000, help="samples; default: %(default)s")
    options = parser.parse_args()
    given = {"data": options.data, "limit": options.limit, "epochs": options.epochs}
    settings = {**given, "n": options.n, "width": WIDTH, "seed": SEED}
    found = read_json(options.out) if options.out.exists() else {"settings": settings, "cases": {}}
    if found["settings"] != settings:
        sys.exit(f"{options.out} was measured with other settings; give another --out.")
    return options, given, found


def main() -> None:
    """Measure the cases that are not yet in the file."""
    options, given, found = begun(__doc__)
    for case in CASES:
        if case not in found["cases"]:
            found["cases"][case] = measure(case, given, options.n, options.pictures)
            found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
            write_json(options.out, found)


if __name__ == "__main__":
    main()
