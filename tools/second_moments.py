"""The memory of Adam's squared gradients, ``beta2``: what it changes in short and in longer trainings.

``python tools/second_moments.py --data mnist --out results/measures/second_moments-mnist.json`` trains each of
``SYSTEMS`` on 10,000 images (``ENTROPIC_AE_DATA``) by the small budget of the tables, with each of ``BETAS`` (the
second with two of them) and ``RATES``, and for four times as long with one rate. It measures the error of
validation images, since settings are chosen by it. ``--data digits --limit 400 --epochs 2 --n 150`` is a trial.
Cases that the file holds already are kept.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.tables import markdown
from rounds import QUIET, WIDTH, begun

import entropic_ae as eae
from entropic_ae.metrics import reconstruction_error
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_second_moments"]

_NORMALISED = {"terms": "negative_log_likelihood"}
SYSTEMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bn-ae": ("bn-ae", {}),
    "bn-ae, error with a learned scale": ("bn-ae", _NORMALISED),
}
BETAS = (0.999, 0.99, 0.95, 0.9)
RATES = (0.001, 0.002, 0.004)
LONGER, ITS_RATE = 4, 0.002
LATENT_DIMS = {"cifar10": 64}


def measure(name: str, rate: float, beta2: float, given: Mapping[str, Any]) -> float:
    """Train once, and return the squared error of the validation images, summed over an image."""
    recipe, settings = SYSTEMS[name]
    if given["data"] in LATENT_DIMS:
        settings = {**settings, "latent_dim": LATENT_DIMS[given["data"]]}
    with tempfile.TemporaryDirectory() as folder:
        run = eae.train(
            recipe,
            set={"width": WIDTH, **settings, "learning_rate": rate, "beta2": beta2},
            out=Path(folder) / "run",
            **QUIET,
            **given,
        )
        images = run.data.validation.images
        return float(reconstruction_error(images, run.reconstruct(images)))


def render_second_moments(path: Path) -> str:
    """Return the errors as Markdown, a row for each system and length of training."""
    errors: dict[tuple[int, float, str], dict[float, float]] = {}
    for row in read_json(path)["cases"]:
        errors.setdefault((row["epochs"], row["rate"], row["system"]), {})[row["beta2"]] = row["error"]
    lines = []
    for (epochs, rate, system), found in errors.items():
        if found.keys() >= {*_betas(system)}:  # not one that is still being measured
            texts = {beta2: f"{error:.2f}" for beta2, error in found.items()}
            least = f"{min(found.values()):.2f}"
            texts = {beta2: f"**{text}**" if text == least else text for beta2, text in texts.items()}
            lines.append([system, str(epochs), f"{rate:g}", *(texts.get(beta2, "-") for beta2 in BETAS)])
    heads = ["system", "epochs", "learning rate", *(f"`beta2` {beta2:g}" for beta2 in BETAS)]
    return str(markdown(heads, lines))


def _betas(system: str) -> tuple[float, ...]:
    return (0.999, 0.95) if SYSTEMS[system][1] else BETAS  # it matters little to the error with a learned scale


def main() -> None:
    """Measure the cases that are not yet in the file."""
    options, given, found = begun(__doc__)
    found["cases"] = found["cases"] or []
    short, longer = given["epochs"], LONGER * given["epochs"]
    trainings = [(short, rate) for rate in RATES] + [(longer, ITS_RATE)]
    wanted = [(*one, name, beta2) for one in trainings for name in SYSTEMS for beta2 in _betas(name)]
    for epochs, rate, system, beta2 in wanted:
        case = {"system": system, "epochs": epochs, "rate": rate, "beta2": beta2}
        if any(case.items() <= row.items() for row in found["cases"]):
            continue
        error = measure(system, rate, beta2, {**given, "epochs": epochs})
        found["cases"].append({**case, "error": error})
        found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
        write_json(options.out, found)


if __name__ == "__main__":
    main()
