"""Which feature spaces rank known images rightly by the Frechet distance, and from how many images.

Images are damaged in known ways, and each damage is ranked against a smaller one. All are compared with as many
other real images. It takes MNIST, CIFAR-10 and CelebA, as ``load_images`` finds them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.tables import markdown, where
from entropic_ae.data import load_images
from entropic_ae.features import load_features
from entropic_ae.metrics import FrechetReference
from entropic_ae.storage.files import read_json

DATA = ("mnist", "cifar10", "celeba")
SPACES = ("pixels", "random")
SIZES = (60, 600, 6000)
_LADDER = ("real", "blurred 2x", "blurred 4x")


def measure(
    rounds: int, *, data: tuple[str, ...] = DATA, sizes: tuple[int, ...] = SIZES, spaces: tuple[str, ...] = SPACES
) -> Iterator[dict[str, Any]]:
    """Yield a row for each set of images, number of them and space: medians over at most so many draws."""
    for name in data:
        loaded = load_images(name)
        splits = (loaded.train, loaded.validation, loaded.test)
        pool = torch.cat([split.images for split in splits])
        pool = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))]
        half = min(len(pool) // 2, max(sizes))
        real, held_out = pool[:half], pool[half : 2 * half]
        kinds = damaged(held_out)
        for space in spaces:
            features = load_features(space, loaded)
            of_real = features(real)
            of_kinds = {kind: features(images) for kind, images in kinds.items()}
            for size in sorted({min(size, half) for size in sizes}):
                parts = [slice(i * size, (i + 1) * size) for i in range(min(rounds, half // size))]
                found = [_margins(of_real[part], {k: v[part] for k, v in of_kinds.items()}) for part in parts]
                margins = {pair: statistics.median(one[pair] for one in found) for pair in found[0]}
                yield {
                    "data": name,
                    "images": size,
                    "space": space,
                    "features": features.dim,
                    "draws": len(parts),
                    "margins": margins,
                }


def damaged(images: Tensor) -> dict[str, Tensor]:
    """Return the images, and others made of them: uint8 (N, C, H, W) each, by what was done to them."""
    x = images.float()
    source = torch.Generator().manual_seed(1)
    mean, deviation = x.mean(0), x.std(0)
    made = {
        "real": x,
        "blurred 2x": _blurred(x, 2),
        "blurred 4x": _blurred(x, 4),
        "mean and noise": mean + deviation * torch.randn(x.shape, generator=source),
        "smears": mean + deviation * _smooth(torch.randn(*x.shape[:2], 4, 4, generator=source), x.shape[2]),
        "mixes of two": (x + x.roll(1, 0)) / 2,
        "shuffled patches": _shuffled(x, source),
        "random phases": _random_phases(x, source),
    }
    return {name: one.round().clamp(0, 255).to(torch.uint8) for name, one in made.items()}


def _margins(real: Tensor, kinds: dict[str, Tensor]) -> dict[str, float]:
    """Return by how many standard errors each kind is further than the one it must be further than."""
    reference = FrechetReference(real)
    found = {kind: reference.estimate(features) for kind, features in kinds.items()}
    worst = [kind for kind in kinds if kind not in _LADDER]
    pairs = [*pairwise(_LADDER), *((_LADDER[-1], kind) for kind in worst)]
    return {
        f"{far} > {near}": (found[far].distance - found[near].distance)
        / math.hypot(found[far].standard_error, found[near].standard_error)
        for near, far in pairs
    }


def _blurred(x: Tensor, factor: int) -> Tensor:
    return _smooth(torch.nn.functional.avg_pool2d(x, factor), x.shape[2])


def _smooth(x: Tensor, side: int) -> Tensor:
    return torch.nn.functional.interpolate(x, (side, side), mode="bilinear")


def _shuffled(x: Tensor, source: torch.Generator) -> Tensor:
    """Return each image with its 4 x 4 patches in an order of its own."""
    n, channels, side, _ = x.shape
    patches = x.reshape(n, channels, 4, side // 4, 4, side // 4).transpose(3, 4).flatten(2, 3)
    order = torch.rand(n, 16, generator=source).argsort(1)[:, None, :, None, None]
    patches = patches.take_along_dim(order, 2).unflatten(2, (4, 4))
    return patches.transpose(3, 4).reshape(x.shape)


def _random_phases(x: Tensor, source: torch.Generator) -> Tensor:
    """Return noise of each image's own spectrum, and its mean."""
    spectrum, noise = torch.fft.rfft2(x), torch.fft.rfft2(torch.randn(len(x), 1, *x.shape[2:], generator=source))
    turns = noise / noise.abs().clamp_min(1e-12)
    turns[..., 0, 0] = 1
    return torch.fft.irfft2(spectrum * turns, s=x.shape[2:])


def render_spaces(path: Path) -> str:
    """Return the margins as a table, with how many are right in each space."""
    found = read_json(path)
    rows = found["rows"]
    pairs = list(rows[0]["margins"])
    lines = [
        [
            row["data"],
            f"{row['images']:,}",
            f"`{row['space']}`",
            f"{row['features']:,}",
            *(f"{row['margins'][pair]:.1f}" for pair in pairs),
        ]
        for row in sorted(
            rows, key=lambda row: (DATA.index(row["data"]) if row["data"] in DATA else 0, row["images"])
        )
    ]
    margins: dict[str, list[float]] = {}
    for row in rows:
        margins.setdefault(row["space"], []).extend(row["margins"].values())
    counts = "; ".join(
        f"`{space}` has {sum(margin > 2 for margin in one)} of {len(one)} above 2 and "
        f"{sum(margin < 0 for margin in one)} below 0"
        for space, one in margins.items()
    )
    most = max(row["draws"] for row in rows)
    return (
        f"{markdown(['data', 'images', 'space', 'features', *pairs], lines)}\n\n"
        f"Margins in standard errors, medians of up to {most} draws: {counts}. {where(found)}"
    )
