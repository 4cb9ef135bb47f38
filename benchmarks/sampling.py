"""New images: ``sample`` from each density against a loop over the decoder, and against compiled networks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.pairs import compared, interleave, timed
from benchmarks.sizes import DIM, SHAPE
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.generation import sample
from entropic_ae.recipes import PRESETS, RECIPES, configure

BATCHES = (64, 500)  # images at a time in the loop


def measure(rounds: int, *, n: int = 2000, width: int = 16, compiles: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a row a density: seconds for n images, and paired ratios."""
    changes = {"width": width, "latent_dim": DIM}
    model, _ = configure(RECIPES["eae"], PRESETS["cifar10"], changes).build(SHAPE)
    model.eval()
    codes, prior = torch.randn(2000, DIM, generator=torch.Generator().manual_seed(0)), model.bottleneck.prior()
    for name in ("prior", "gaussian", "mixture"):
        density = DENSITIES[name].fit(codes, prior, seed=0)
        contenders = {"entropic-ae": timed(sample, model, density, n)}
        contenders |= {f"decoder, {size} at a time": timed(_loop, model, n, size) for size in BATCHES}
        if compiles:
            contenders["entropic-ae, compiled"] = partial(_compiled, model, density, n)
        yield {
            "density": name,
            "images": n,
            "width": width,
            **compared(interleave(contenders, rounds), "entropic-ae"),
        }


def _compiled(model: Autoencoder, density: Density, n: int) -> float:
    """Return the seconds for n images by compiled networks, compiling not counted."""
    with model.compiled():
        timed(sample, model, density, n)()
        return timed(sample, model, density, n)()


@torch.inference_mode()
def _loop(model: Autoencoder, n: int, size: int) -> None:
    torch.cat([(model.decode(z) * 255).round().byte() for z in torch.randn(n, DIM).split(size)])
