"""Running averages of the bottleneck as training leaves them, and estimated anew from minibatches.

``python tools/running_averages.py --data cifar10 --out results/measures/running_averages.json`` trains each of
``SYSTEMS`` on 10,000 images (``ENTROPIC_AE_DATA``) by the small budget of the tables, with codes of ``LATENT_DIM``
dimensions, with each of ``BATCHES`` as ``statistics_batches``. Before the learning rate falls, the weights of an
epoch are the same each time; which epoch is the best may differ.
``--data digits --limit 400 --epochs 2 --n 150`` is a trial. Cases that the file holds already are kept.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.tables import markdown
from rounds import QUIET, SEED, WIDTH, begun

import entropic_ae as eae
from entropic_ae.features import load_features
from entropic_ae.metrics import frechet_distance, reconstruction_error
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_running_averages"]

LATENT_DIM = 64
SYSTEMS: Mapping[str, tuple[str, str]] = {
    "bn-ae, whitening": ("bn-ae", "whitening"),
    "bn-ae": ("bn-ae", "batch-norm"),
    "eae, whitening": ("eae", "whitening"),
    "eae": ("eae", "batch-norm"),
}
BATCHES = (0, 20, 100)


def measure(run: eae.Run, n: int) -> dict[str, float]:
    """Return the measures of a run's test images and of samples of the prior."""
    real = run.data.test.images
    again, space = run.reconstruct(real), load_features("classifier", run.data)
    of_real = space(real)
    moments = torch.linalg.eigvalsh(run.encode(real).double().T.cov())
    return {
        "reconstruction_error": reconstruction_error(real, again),
        "reconstructions": frechet_distance(of_real, space(again)),
        "prior": frechet_distance(of_real, space(run.sample(n, density="prior", seed=SEED))),
        "least_variance": moments[0].item(),
        "most_variance": moments[-1].item(),
    }


def render_running_averages(path: Path) -> str:
    """Return the measures as Markdown, a row for each system and number of minibatches."""
    heads = [
        "system",
        "`statistics_batches`",
        "reconstruction error",
        "Frechet, reconstructions",
        "Frechet, prior",
    ]
    lines = [
        [
            f"`{name}`" if number == 0 else "",
            batches,
            *(f"{row[value]:.2f}" for value in ("reconstruction_error", "reconstructions", "prior")),
            f"{row['least_variance']:.2f} to {row['most_variance']:.2f}",
        ]
        for name, cases in read_json(path)["cases"].items()
        for number, (batches, row) in enumerate(cases.items())
    ]
    return str(markdown([*heads, "variances of test codes along their principal axes"], lines))


def main() -> None:
    """Measure the cases that are not yet in the file."""
    options, given, found = begun(__doc__)
    for name, (recipe, bottleneck) in SYSTEMS.items():
        for batches in BATCHES:
            done = found["cases"].setdefault(name, {})
            if str(batches) in done:
                continue
            given_set = {"width": WIDTH, "latent_dim": LATENT_DIM, "bottleneck": bottleneck}
            with tempfile.TemporaryDirectory() as folder:
                run = eae.train(
                    recipe,
                    set={**given_set, "statistics_batches": batches, "features": "classifier"},
                    out=Path(folder) / "run",
                    **QUIET,
                    **given,
                )
                done[str(batches)] = measure(run, options.n)
            found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
            write_json(options.out, found)


if __name__ == "__main__":
    main()
