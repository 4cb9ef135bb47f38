"""The paper's network against the residual one, and terms of reconstruction, at equal CPU time.

``python tools/networks.py --out results/measures/networks.json`` trains each case on one thread for the same
seconds of its own processor time, without counting validation, and measures it on test images. Cases that the
file holds already are kept, so an interrupted run continues; several processes may share the file. ``--pictures
FOLDER`` writes reconstructions and samples too. ``ENTROPIC_AE_DATA`` names the folder of the data sets.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from pytorch_lightning import Callback

import entropic_ae as eae
from entropic_ae.generation import encode, reconstruct, sample
from entropic_ae.metrics import frechet_distance, psnr, reconstruction_error
from entropic_ae.pictures import save_images
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.recipes import system_for
from entropic_ae.storage.files import locked, read_json, write_json

__all__ = ["CASES", "main", "measure", "render_networks"]

RECIPE, SEED, SECONDS = "eae", 0, 90
SHARED: Mapping[str, Any] = {"width": 16, "batch_size": 50, "learning_rate": 1e-3, "validation_images": 200}
LIMITS = {"celeba": 4_000, "cifar10": 10_000, "mnist": 10_000}
SPACES = {"celeba": "classifier:cifar10", "cifar10": "classifier", "mnist": "classifier"}
TITLES = {"celeba": "faces", "cifar10": "CIFAR-10", "mnist": "MNIST"}
TESTED = 1_000
_PAIR: tuple[Mapping[str, Any], ...] = ({"network": "paper"}, {"network": "residual"})
_FACES = {"network": "residual", "spectral": False}
_ENTROPIC = "negative_entropy+decoder_decay"
CASES: dict[str, tuple[Mapping[str, Any], ...]] = {
    "celeba": (
        *({**one, "spectral": False} for one in _PAIR),
        *_PAIR,
        {**_FACES, "terms": f"absolute_error+{_ENTROPIC}"},
        {**_FACES, "terms": f"squared_error+feature_error+{_ENTROPIC}"},
        {**_FACES, "terms": f"squared_error+multiscale_similarity+{_ENTROPIC}"},
    ),
    "cifar10": _PAIR,
    "mnist": _PAIR,
}


class _Stop(Callback):
    """Ends training when its steps, and no validation, have taken so many seconds of the processor."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.steps = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.started = time.process_time()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.left -= time.process_time() - self.started
        self.steps += 1
        trainer.should_stop = self.left <= 0


def measure(data: str, settings: Mapping[str, Any], seconds: float, pictures: Path | None) -> dict[str, Any]:
    """Return the results of a case: a system on a data set, trained for some seconds of the processor."""
    images = eae.load_images(data, limit=LIMITS[data])
    system = system_for(RECIPE, images, {**SHARED, **settings, "epochs": 10_000})
    model, objective = system.build(images.shape, seed=SEED)
    stop = _Stop(seconds)
    splits = (images.train.images, images.validation.images)
    eae.fit(model, objective, *splits, system.preset.training, seed=SEED, device="cpu", callbacks=[stop])
    model.eval()
    real = images.test.images[:TESTED]
    codes = encode(model, images.train.images)
    bottleneck = model.bottleneck.prior()
    made = {
        "reconstructions": reconstruct(model, real),
        "prior": sample(model, eae.Prior(bottleneck), len(real), seed=SEED),
        "mixture": sample(model, eae.Mixture.fit(codes, bottleneck, seed=SEED), len(real), seed=SEED),
    }
    whole = eae.load_images(data)  # the classifier is that of all training images
    distances = {}
    for name in ("random", SPACES[data]):
        features = eae.load_features(name, whole)
        of_real = features(real)
        distances[name] = {kind: frechet_distance(of_real, features(fake)) for kind, fake in made.items()}
    if pictures is not None:
        label = "-".join(str(value) for value in settings.values()).replace("+", "_")
        for kind, fake in made.items():
            save_images(fake[:32], pictures / f"{data}-{label}-{kind}.png", columns=8, overwrite=True)
    return {
        "data": data,
        "settings": dict(settings),
        "seconds": seconds,
        "steps": stop.steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_images": len(images.train.images),
        "tested_images": len(real),
        "error": reconstruction_error(real, made["reconstructions"]),
        "psnr": psnr(real, made["reconstructions"]),
        "frechet": distances,
    }


def render_networks(path: Path) -> str:
    """Return the cases as a table."""
    from benchmarks.tables import markdown

    rows = []
    found = {_key(case["data"], case["settings"]): case for case in read_json(path)["cases"]}
    for data, settings in ((name, one) for name, cases in CASES.items() for one in cases):
        if (case := found.get(_key(data, settings))) is None:
            continue  # not measured yet
        own = case["frechet"][SPACES[data]]
        given = {"spectral": data == "celeba", **settings}  # of the recipe
        shown = given["network"] + ", spectral" * given["spectral"]
        if "terms" in given:
            shown += f", {given['terms'].removesuffix(f'+{_ENTROPIC}')}"
        random = case["frechet"]["random"]
        rows.append(
            [
                TITLES[data],
                shown,
                f"{case['steps']:,}",
                f"{case['error']:.1f}",
                f"{random['prior']:.3f}",
                f"{random['mixture']:.3f}",
                f"{own['prior']:.1f}",
                f"{own['mixture']:.1f}",
            ]
        )
    heads = ["data", "network", "steps", "error", "random, prior", "random, mixture", "classifier, prior"]
    return str(markdown([*heads, "classifier, mixture"], rows))


def main() -> None:
    """Measure the cases that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--data", nargs="*", default=list(CASES), choices=list(CASES), help="default: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the processor, for each case")
    parser.add_argument("--pictures", type=Path, help="folder of reconstructions and samples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    for data, settings in ((name, one) for name in options.data for one in CASES[name]):
        claim = hashlib.sha256(_key(data, settings).encode()).hexdigest()[:16]
        with locked(options.out.parent / ".claims" / f"{claim}.lock", wait=0) as mine:
            if not mine or _key(data, settings) in {
                _key(one["data"], one["settings"]) for one in _cases(options.out)
            }:
                continue
            case = measure(data, settings, options.seconds, options.pictures)
            case |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
            print(data, settings, case["steps"], round(case["error"], 1), case["frechet"], flush=True)
            with locked(options.out.with_suffix(".lock")):
                shared = {"recipe": RECIPE, "seed": SEED, "settings": dict(SHARED), "threads": 1}
                write_json(options.out, {**shared, "cases": [*_cases(options.out), case]})


def _cases(path: Path) -> list[dict[str, Any]]:
    return read_json(path)["cases"] if path.exists() else []


def _key(data: str, settings: Mapping[str, Any]) -> str:
    return f"{data} {sorted(settings.items())}"


if __name__ == "__main__":
    main()
