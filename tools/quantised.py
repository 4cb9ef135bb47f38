r"""Quantised codes at equal bits: with the entropy and without, and a VQ-VAE; drawn uniformly and by a density.

    pip install --no-deps --target .venv/quantisers vector-quantize-pytorch==1.32.0 einops==0.8.2 einx==0.4.3 \
        frozendict==2.5.1 loguru==0.7.3 torch-einops-utils==0.2.0
    PYTHONPATH=.venv/quantisers python tools/quantised.py --data mnist --seeds 0,1,2 \
        --out results/measures/quantised.json
    PYTHONPATH=.venv/quantisers python tools/quantised.py --data cifar10 --seeds 0,1,2 \
        --out results/measures/quantised.json

Every system has as many bits an image: 128 for MNIST, on a grid of 4 x 4 cells, and 512 for CIFAR-10, on 8 x 8.
Two have them in one code, without a grid. ``q-ae`` is LFQ and FSQ without a term. The VQ-VAE has 256 vectors for
every cell, learned by moving averages; it is left out where vector-quantize-pytorch cannot be imported. Sizes and
schedule are those of the tables. A cell is written when it is done, and another start goes on from there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.tables import markdown
from torch import Tensor

import entropic_ae as eae
from entropic_ae.bottlenecks import Quantised
from entropic_ae.priors import Alphabet
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_quantised"]

PEER = "vq-vae"
GRID = {"mnist": 4, "cifar10": 8, "digits": 2}  # cells along a side
BITS, LEVELS, VECTOR = 8, 4, 16  # of a cell; of its values, if they are levels; length of a vector
SETTINGS = {"width": 16, "limit": 10_000, "epochs": 6, "n": 5_000}
DENSITIES = ("prior", "autoregressive")


class Vectors(Alphabet):
    """Uniform tokens, each one of K vectors, (K, d)."""

    title = "uniform vectors of a codebook"
    description = "tokens, each one of equally likely vectors"

    def __init__(self, vectors: Tensor, tokens: int) -> None:
        super().__init__(tokens * vectors.shape[1], tokens, len(vectors))
        self.vectors = vectors.detach().cpu()

    def to_states(self, codes: Tensor) -> Tensor:
        """Return the numbers of the nearest vectors."""
        parts = codes.unflatten(1, (self.tokens, -1))
        return torch.cdist(
            parts,
            self.vectors.to(codes).expand(len(codes), -1, -1),
            compute_mode="donot_use_mm_for_euclid_dist",  # products would confuse vectors that are nearly equal
        ).argmin(2)

    def from_states(self, states: Tensor) -> Tensor:
        """Return the vectors of numbers."""
        return self.vectors[states.cpu()].flatten(1)


class Codebook(Quantised):
    """Each token of a code is the nearest of K vectors, moving averages of the outputs that are nearest to them.

    Arguments:
        latent_dim: length D of a code.
        states: number K of vectors.
        tokens: of a code.
    """

    def __init__(self, latent_dim: int, *, states: int = 256, tokens: int = 16) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(latent_dim)
        self.tokens = tokens
        self.quantiser = VectorQuantize(
            dim=latent_dim // tokens,
            codebook_size=states,
            decay=0.99,
            kmeans_init=True,
            threshold_ema_dead_code=2,
            commitment_weight=0.0,  # a term of its own
            rotation_trick=False,
        )

    def forward(self, h: Tensor) -> eae.Code:
        """Return the nearest vectors; in training they move."""
        if not self.training:
            return eae.Code(self.prior().nearest(h.float()))
        return eae.Code(self.quantiser(h.float().unflatten(1, (self.tokens, -1)))[0].flatten(1))

    def entropy(self, z: Tensor, k: int = 1, **options: Any) -> Tensor:  # type: ignore[override]
        """Return the entropy of tokens, not of the values of their vectors."""
        return eae.discrete_entropy(self.prior().to_states(z).float(), k, **options)

    def prior(self) -> Vectors:
        """Return uniform tokens."""
        return Vectors(self.quantiser.codebook, self.tokens)


@dataclass(frozen=True)
class Commitment(eae.Term):
    """The squared distance of the encoder's output from its vectors, which do not follow it here."""

    name = setting = "commitment"

    def __call__(self, model: eae.Autoencoder, trace: eae.Trace) -> Tensor:  # noqa: ARG002
        """Return it summed over the values of a code."""
        assert trace.hidden is not None
        return (trace.hidden - trace.code.z.detach()).square().sum(1).mean()


def systems(data: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return recipe and settings of each system, by its name in the table."""
    grid, cells = GRID[data], GRID[data] ** 2
    spatial = {"network": "grid", "grid": grid}
    bits = {**spatial, "latent_dim": BITS * cells}
    levels = {**spatial, "bottleneck": "levels", "levels": LEVELS, "latent_dim": BITS // 2 * cells}
    found = {
        "q-eae": ("q-eae", bits),
        "q-ae (LFQ)": ("q-ae", bits),
        "q-eae, levels": ("q-eae", levels),
        "q-ae, levels (FSQ)": ("q-ae", levels),
        "q-eae, one code": ("q-eae", {"latent_dim": BITS * cells}),
        "q-ae, one code": ("q-ae", {"latent_dim": BITS * cells}),
    }
    if find_spec("vector_quantize_pytorch") is not None:
        found[PEER] = (PEER, {**spatial, "latent_dim": VECTOR * cells, "tokens": cells, "states": 1 << BITS})
    return found


def register() -> None:
    """Add the VQ-VAE to the recipes."""
    eae.RECIPES[PEER] = replace(
        eae.RECIPES["q-ae"],
        name=PEER,
        summary="vector-quantised autoencoder",
        reference="van den Oord et al. (2017), Neural discrete representation learning",
        bottleneck=partial(Codebook),
        terms=(eae.SquaredError(), Commitment(0.25)),
        settings={},
    )


def measure(data: str, recipe: str, settings: dict[str, Any], seed: int, given: dict[str, int]) -> dict[str, Any]:
    """Train a system and return what is measured of it."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run = eae.train(
            recipe,
            data,
            set={"width": given["width"], **settings},
            limit=given["limit"],
            epochs=given["epochs"],
            seed=seed,
            out=Path(folder) / "run",
            device="cpu",
            progress=False,
        )
        trained = time.process_time() - started
        result = run.evaluate(features="classifier", n=given["n"], seed=seed, densities=DENSITIES)
        codes = run.encode(run.data.test.images)
        log_prob = run.density("autoregressive").log_prob(codes)
        assert log_prob is not None
        prior = run.model.bottleneck.prior()
        assert isinstance(prior, Alphabet)
        rows = result["distances"]
        names = ("held-out images", "reconstructions", *DENSITIES)
        return {
            "seed": seed,
            "tokens": prior.tokens,
            "bits": prior.entropy().item() / torch.tensor(2.0).log().item(),
            "reconstruction_error": result["reconstruction_error"],
            "psnr": result["psnr"],
            "ssim": result["ssim"],
            **{name: {key: rows[name][key] for key in ("frechet", "frechet_error", "kernel")} for name in names},
            "entropy": result["codes"]["entropy"],
            "maximum": result["codes"]["maximum"],
            "distinct": result["codes"]["distinct"],
            "nll": -log_prob.mean().item(),
            "lower_bounds": result["diagnostics"].get("lower_bounds"),
            "parts": result["diagnostics"].get("parts"),
            "p_values": result["diagnostics"].get("p_values"),
            "dependent": result["diagnostics"].get("dependent"),
            "usage": {k: v for k, v in result["diagnostics"].get("usage", {}).items() if k != "entropy"},
            "cpu_seconds": {"training": trained, "all": time.process_time() - started},
        }


def render_quantised(path: Path) -> str:
    """Return a table with a row for each data set and system: means over seeds, and their spread."""
    columns = {
        "reconstruction error": (lambda cell: cell["reconstruction_error"], 2),
        "PSNR": (lambda cell: cell["psnr"], 2),
        "entropy of tokens, % of uniform": (lambda cell: 100 * cell["entropy"] / cell["maximum"], 1),
        "nats below uniform, at least": (_below, 1),
        "uniform draws": (lambda cell: cell["prior"]["frechet"], 2),
        "autoregressive draws": (lambda cell: cell["autoregressive"]["frechet"], 2),
        "reconstructions": (lambda cell: cell["reconstructions"]["frechet"], 2),
    }
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, cell in read_json(path)["cells"].items():
        data, _, name = key.split(" ", 2)
        groups.setdefault((data, name), []).append(cell)
    lines = [
        [data, f"{cells[0]['bits']:.0f}", name, str(len(cells))]
        + [_spread([of(cell) for cell in cells], places) for of, places in columns.values()]
        for (data, name), cells in groups.items()
    ]
    return str(markdown(["data", "bits", "system", "seeds", *columns], lines))


def _below(cell: dict[str, Any]) -> float:
    """Return the higher of both lower bounds of the divergence: by parts, and by the likelihood."""
    parts = cell["parts"] or {}  # none of codes that are all the same
    return max(sum(parts.values()), cell["maximum"] - cell["nll"])


def _spread(values: list[float], places: int) -> str:
    text = f"{mean(values):.{places}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{places}f}"


def main() -> None:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--data", choices=[*GRID], default="mnist")
    parser.add_argument("--seeds", default="0", help="numbers joined by commas")
    for name, value in SETTINGS.items():
        parser.add_argument(f"--{name}", type=int, default=value, help="default: %(default)s, as in the tables")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in SETTINGS}
    found = read_json(options.out) if options.out.exists() else {"settings": given, "cells": {}}
    if found["settings"] != given:
        sys.exit(f"{options.out} was measured with other settings; give another --out.")
    register()
    for seed in map(int, options.seeds.split(",")):
        for name, (recipe, settings) in systems(options.data).items():
            key = f"{options.data} {seed} {name}"
            if key in found["cells"]:
                continue
            found["cells"][key] = measure(options.data, recipe, settings, seed, given)
            found["cells"][key]["git_commit"] = git_commit()
            found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
            write_json(options.out, found)
            print(f"{key}: {found['cells'][key]['cpu_seconds']['all']:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
