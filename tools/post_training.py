"""Training the decoder of a run further on what it makes of draws of the prior, by the Frechet distance.

``python tools/post_training.py --out results/measures/post_training.json`` trains each of ``BASES`` on 10,000
images of MNIST (``ENTROPIC_AE_DATA``) by the small budget of the tables, then its decoder alone for as long again:
by the squared error, the control, and with the term ``frechet`` in random features at two weights. Samples are
judged in the features of that network and in two spaces that it did not see. ``--data digits --limit 400
--epochs 2 --n 150`` is a trial. A base of which the file holds all cases is kept; one that was interrupted starts
again. ``--pictures FOLDER`` writes samples, a row for each case.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.tables import markdown
from rounds import QUIET, SEED, WIDTH, begun

import entropic_ae as eae
from entropic_ae.features import load_features
from entropic_ae.metrics import fidelity_coverage, frechet_distance, reconstruction_error
from entropic_ae.pictures import save_images
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_post_training"]

DECODER: Mapping[str, Any] = {"encoder_rate": 0}
TERM: Mapping[str, Any] = {"terms": "squared_error+frechet", **DECODER}
CASES: Mapping[str, Mapping[str, Any] | None] = {
    "as trained": None,
    "decoder by the squared error": {"terms": "squared_error", **DECODER},
    "with the Frechet distance, weight 0.2": {**TERM, "frechet": 0.2},
    "with the Frechet distance, weight 1": {**TERM, "frechet": 1.0},
}
BASES: Mapping[str, tuple[str, ...]] = {
    "bn-ae": tuple(CASES),
    "t-bn-ae": tuple(CASES)[:2],  # the term draws from N(0, I), while the codes have no transport yet
}
SHOWN = 16
SPACES = ("random", "classifier", "pixels")  # the first is trained on


def measure(run: eae.Run, n: int) -> tuple[dict[str, Any], torch.Tensor]:
    """Return the measures of samples of the prior, and some of them."""
    real, samples = run.data.test.images[:n], run.sample(n, density="prior", seed=SEED)
    spaces = {name: load_features(name, run.data) for name in SPACES}
    of_real, of_samples = ({name: space(images) for name, space in spaces.items()} for images in (real, samples))
    near = fidelity_coverage(of_real["classifier"], of_samples["classifier"])
    found = {
        "reconstruction_error": reconstruction_error(real, run.reconstruct(real)),
        **{name: frechet_distance(of_real[name], of_samples[name]) for name in SPACES},
        **{name: near[name] for name in ("precision", "recall", "coverage")},
    }
    return found, samples[:SHOWN]


def render_post_training(path: Path) -> str:
    """Return the measures as Markdown, a row for each case."""
    heads = ["system", "then", "reconstruction error", *(f"Frechet, {name}" for name in SPACES)]
    lines = [
        [
            f"`{base}`" if number == 0 else "",
            case,
            *(f"{row[name]:.2f}" for name in ("reconstruction_error", *SPACES, "precision", "recall", "coverage")),
        ]
        for base, cases in read_json(path)["cases"].items()
        for number, (case, row) in enumerate(cases.items())
    ]
    return str(markdown([*heads, "precision", "recall", "coverage"], lines))


def main() -> None:
    """Measure the cases that are not yet in the file."""
    options, given, found = begun(__doc__)
    for base, cases in BASES.items():
        done = found["cases"].setdefault(base, {})
        if done.keys() >= {*cases}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            first = eae.train(base, set={"width": WIDTH}, out=Path(folder) / "first", **given, **QUIET)
            shown = []
            for number, case in enumerate(cases):
                run = first
                if (further := CASES[case]) is not None:
                    start = {"start_from": first.folder, "set": further, "out": Path(folder) / str(number)}
                    run = eae.train(limit=options.limit, epochs=options.epochs, **start, **QUIET)
                done[case], samples = measure(run, options.n)
                shown.append(samples)
                found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
                write_json(options.out, found)
        if options.pictures is not None:
            save_images(torch.cat(shown), options.pictures / f"{base}.png", columns=SHOWN, overwrite=True)


if __name__ == "__main__":
    main()
