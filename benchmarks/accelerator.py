"""A GPU: images a second, the share of its matrix rate, waits for it, and a whole row of the table.

The one benchmark that needs a GPU. On a CPU it runs with ``--dry``, small, to see that it works.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pairs import compared, interleave
from benchmarks.sizes import BATCH, DIM, SHAPE
from benchmarks.training import LOSSES, bare, library
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.recipes import PRESETS, RECIPES, System, configure
from entropic_ae.terms import Objective
from entropic_ae.training import fit

SYSTEMS = ("eae", "ae", "vae", "wae", "rae-gp")


def measure(rounds: int, *, dry: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the card, its matrix rate, a row a system and way of training, the waits, and a row of the table.

    Arguments:
        rounds: turns of each contender.
        dry: on the CPU, with little of everything.
    """
    device = "cpu" if dry else "cuda"
    count, width, side, epochs = (500, 4, 256, 2) if dry else (50_000, 128, 8192, 100)
    images = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rate = matrix_rate(side, device)
    yield {
        "device": "cpu" if dry else torch.cuda.get_device_name(),
        "matrix": side,
        "bf16_tflops": rate / 1e12,
    }
    for recipe in SYSTEMS:
        work = flops(recipe, width)
        for precision in ("bf16", "32"):
            seconds = interleave(_contenders(recipe, images, width, device, precision), rounds)
            fastest = min(min(times) for name, times in seconds.items() if name.startswith("entropic-ae"))
            yield {
                "system": recipe,
                "precision": precision,
                "width": width,
                "flops_per_image": work,
                "images_per_second": count / fastest,
                "share_of_matrix_rate": work * count / fastest / rate,
                **compared(seconds, "entropic-ae"),
            }
    yield {"waits_per_step": {recipe: waits_per_step(recipe, images[:2000], width, device) for recipe in SYSTEMS}}
    yield table_row(images, width, epochs, device)


def matrix_rate(side: int, device: str) -> float:
    """Return the floating-point operations a second of a bf16 matrix product of that side."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    _wait(device)
    started, products = time.perf_counter(), 20
    for _ in range(products):
        a @ a
    _wait(device)
    return 2 * side**3 * products / (time.perf_counter() - started)


def flops(recipe: str, width: int) -> float:
    """Return the floating-point operations of a training step, an image."""
    model, objective = _system(recipe, width, 1).build(SHAPE)
    counter = FlopCounterMode(display=False)
    with counter:
        _loss(model, objective, torch.rand(BATCH, *SHAPE)).backward()
    return counter.get_total_flops() / BATCH


def waits_per_step(recipe: str, images: Tensor, width: int, device: str) -> float | None:
    """Return how many more waits for the GPU an epoch has for each step more; None on a CPU, which has none."""
    if device == "cpu":
        return None
    few, many = images[: len(images) // 2], images
    waits = [_waits(recipe, part, width) for part in (few, many)]
    return (waits[1] - waits[0]) / ((len(many) - len(few)) / BATCH)


def table_row(images: Tensor, width: int, epochs: int, device: str) -> dict[str, Any]:
    """Return the seconds of a whole training of eae, compiling and validation included."""
    system = _system("eae", width, epochs)
    model, objective = system.build(SHAPE)
    started = time.perf_counter()
    held_out = images[: len(images) // 5]
    options: dict[str, Any] = {"device": device, "precision": "bf16", "compile": True}
    fit(model, objective, images, held_out, system.preset.training, **options)
    _wait(device)
    return {
        "row": f"eae, {epochs} epochs of {len(images):,} images, width {width}, bf16, compiled",
        "validation_images": len(held_out),
        "seconds": time.perf_counter() - started,
    }


def _contenders(recipe: str, images: Tensor, width: int, device: str, precision: str) -> dict[str, Any]:
    ours = partial(library, recipe, images, width, device=device, precision=precision)
    found: dict[str, Any] = {"entropic-ae": ours}
    loop = partial(bare, recipe, images, width, device=device, bf16=precision == "bf16")
    if recipe in LOSSES:
        found["bare loop"] = loop
    if not any(term.derives_twice for term in _system(recipe, width, 1).recipe.terms):
        found["entropic-ae, compiled"] = partial(ours, compile=True)
        if recipe in LOSSES:
            found["bare loop, compiled"] = partial(loop, compile=True)
    return found


def _waits(recipe: str, images: Tensor, width: int) -> int:
    system = _system(recipe, width, 1)
    model, objective = system.build(SHAPE)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fit(model, objective, images, images[:BATCH], system.preset.training, device="cuda", precision="bf16")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in seen)


def _system(recipe: str, width: int, epochs: int) -> System:
    changes = {"width": width, "latent_dim": DIM, "batch_size": BATCH, "epochs": epochs}
    return configure(RECIPES[recipe], PRESETS["cifar10"], changes)


def _loss(model: Autoencoder, objective: Objective, x: Tensor) -> Tensor:
    loss: Tensor = objective(model, model(x))[0]
    return loss


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
