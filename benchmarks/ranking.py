"""Which measure ranks known images rightly, in which feature space, and from how many images.

Real images, reconstructions and samples of a good model, samples of a poor one, smears, noise: each must be nearer
to other real images than the next. Generators that are broken in a known way must be found by what is meant to
find them: those that repeat few images or the mean, and those that copy their training images. It takes
MNIST, CIFAR-10 and CelebA, as ``load_images`` finds them. Models are trained first. They and each row are kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import entropic_ae as eae
from benchmarks.spaces import damaged
from benchmarks.tables import markdown, where
from entropic_ae.data import ImageData, load_images
from entropic_ae.evaluation.scale import blurred, mean_image
from entropic_ae.features import load_features
from entropic_ae.metrics import (
    FidelityReference,
    FrechetReference,
    kernel_distance,
    near_copies,
    sliced_distance,
)
from entropic_ae.storage.files import read_json, write_json

DATA = ("mnist", "cifar10", "celeba")
SPACES = ("classifier", "random", "pixels")
SIZES = (60, 600, 6000)
SETTINGS: dict[str, Any] = {"width": 8, "learning_rate": 2e-3}
SEEN = 40_000  # images that are seen in training, whole epochs
TRAINED_ON = 10_000  # images at most, and two fifths of a set, so that the larger part is new to the models
GOOD, POOR = "bn-ae", "ae"  # sampled from their mixture, and from N(0, I), which the codes of ae do not follow

_ORDER = ("real", "reconstructions", "good samples", "poor samples", "smears", "noise")
_COPIED = ("copies with noise", "shifted copies")
PAIRS = (
    *pairwise(_ORDER),
    *(("real", spoilt) for spoilt in ("blurred", "smears", "ten images", "mean image")),
    *(("good samples", broken) for broken in ("ten images", "mean image", *_COPIED)),
)
_HIGHER = ("precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage")
_MEASURES = ("frechet", "kernel", "sliced", *_HIGHER, "near_copies")
_COPIES = 0.03  # share of near-copies above which the verdict calls a model poor
_LEAST = 99  # real images that near_copies needs
_PAIRED = 2000  # images of either set whose kernels are taken, as in evaluate
_TURNS = {60: 8, 600: 4}  # draws of small sets for each draw of the largest
_TELLS = 0.95  # share of draws that must have the right order
_DIRECTIONS = 200  # of the sliced distance
_POOL = 18_000  # real images at most, from which draws are taken


class _Kinds(NamedTuple):
    """Images, or their features, by kind.

    Attributes:
        own: made of real images, row by row; "real" among them.
        drawn: samples, of which any will do.
        training: the images that the models were trained on, and copies of them.
        mean: the mean of the training images, one row.
    """

    own: dict[str, Tensor]
    drawn: dict[str, Tensor]
    training: dict[str, Tensor]
    mean: Tensor


def measure(
    rounds: int,
    *,
    data: tuple[str, ...] = DATA,
    sizes: tuple[int, ...] = SIZES,
    spaces: tuple[str, ...] = SPACES,
    settings: Mapping[str, Any] = SETTINGS,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each set of images, space and number of images, over so many draws of the largest number."""
    for name in data:
        found: dict[str, _Kinds] = {}
        for size, space in product(sizes, spaces):
            path = folder / f"{name}-{space}-{size}-{rounds}.json"
            if not path.is_file():
                found = found or _measured(name, spaces, settings, folder)
                kinds = found[space]
                row = compare(kinds, min(size, len(kinds.own["real"]) // 2), rounds * _TURNS.get(size, 1))
                about = {"data": name, "space": space, "features": kinds.mean.shape[1]}
                write_json(path, {**about, "trained_on": len(kinds.training["training"]), **row})
            yield read_json(path)


def images(data: ImageData, settings: Mapping[str, Any], folder: Path) -> _Kinds:
    """Return images of all kinds; the models are trained if they are missing."""
    splits = (data.train.images, data.validation.images, data.test.images)
    number = min(TRAINED_ON, sum(map(len, splits)) * 2 // 5)
    training = data.train.images[:number]
    new = torch.cat([data.train.images[number:], *splits[1:]])
    source = torch.Generator().manual_seed(0)
    real = new[torch.randperm(len(new), generator=source)[:_POOL]]
    good, poor = (_trained(recipe, data.name, number, settings, folder) for recipe in (GOOD, POOR))
    n = len(real) // 2
    noisy = training + 8 * torch.randn(training.shape, generator=source)
    return _Kinds(
        own={
            "real": real,
            "reconstructions": good.reconstruct(real),
            "blurred": blurred(real),
            "smears": damaged(real)["smears"],
            "noise": torch.randint(0, 256, real.shape, dtype=torch.uint8, generator=source),
        },
        drawn={
            "good samples": good.sample(n, density="mixture"),
            "poor samples": poor.sample(n, density="prior"),
        },
        training={
            "training": training,
            "copies with noise": noisy.round().clamp(0, 255).to(torch.uint8),
            "shifted copies": training.roll(1, 3),
        },
        mean=mean_image(training, 1),
    )


def compare(kinds: _Kinds, size: int, draws: int) -> dict[str, Any]:
    """Return of each measure the median of each kind, and the share of draws that rank each pair rightly.

    Arguments:
        kinds: features.
        size: rows of each kind in a draw, and of the real ones that they are compared with.
        draws: number of draws, disjoint as far as the real rows go.
    """
    found = []
    source = torch.Generator().manual_seed(1)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(draws):
        if len(order) < 2 * size:
            order = torch.randperm(len(kinds.own["real"]), generator=source)
        reference, part, order = order[:size], order[size : 2 * size], order[2 * size :]
        sets = {kind: rows[part] for kind, rows in kinds.own.items()}
        for kind, rows in {**kinds.drawn, **kinds.training}.items():
            sets[kind] = rows[torch.randperm(len(rows), generator=source)[:size].sort().values]
        seen = kinds.training["training"]
        few = torch.randint(len(seen), (10,), generator=source)
        sets["ten images"] = seen[few.repeat(-(-size // 10))[:size]]
        sets["mean image"] = kinds.mean.expand(size, -1)
        del sets["training"]
        found.append(_values(kinds.own["real"][reference], sets, seen))
    measures = [name for name in _MEASURES if name in found[0]]
    return {
        "images": size,
        "draws": draws,
        "disjoint": 2 * size * draws <= len(kinds.own["real"]),
        "medians": {
            name: {kind: statistics.median(one[name][kind] for one in found) for kind in found[0][name]}
            for name in measures
        },
        "right": {
            name: {
                f"{near} > {far}": statistics.mean(_right(name, one[name][near], one[name][far]) for one in found)
                for near, far in PAIRS
                if near in found[0][name] and far in found[0][name]
            }
            for name in measures
        },
    }


def _values(real: Tensor, sets: dict[str, Tensor], training: Tensor) -> dict[str, dict[str, float]]:
    """Return each measure of each kind."""
    reference, fidelity = FrechetReference(real), FidelityReference(real)
    found: dict[str, dict[str, float]] = {name: {} for name in _MEASURES}
    for kind, rows in sets.items():
        found["frechet"][kind] = reference.estimate(rows, error=False).distance
        found["kernel"][kind] = kernel_distance(real[:_PAIRED], rows[:_PAIRED])[0]
        found["sliced"][kind] = sliced_distance(real, rows, projections=_DIRECTIONS)
        for name, value in fidelity.measure(rows).items():
            found[name][kind] = value
    if len(real) >= _LEAST:
        kinds = ("real", "good samples", *_COPIED)
        copies = near_copies(torch.cat([sets[kind] for kind in kinds]), real, training)
        shares = copies.copies.view(len(kinds), -1).double().mean(1)
        found["near_copies"] = dict(zip(kinds, shares.tolist(), strict=True))
    return {name: values for name, values in found.items() if values}


def _right(name: str, near: float, far: float) -> bool:
    """Return whether a measure ranks a pair rightly; of near-copies, whether only the worse one has too many."""
    if name == "near_copies":
        return near <= _COPIES < far
    return near > far if name in _HIGHER else near < far


def _measured(name: str, spaces: tuple[str, ...], settings: Mapping[str, Any], folder: Path) -> dict[str, _Kinds]:
    """Return the features of all kinds by space; of images without labels, in the classifier of CIFAR-10."""
    data = load_images(name)
    own, drawn, training, mean = images(data, settings, folder)
    found = {}
    for space in spaces:
        foreign = space == "classifier" and data.train.labels is None
        features = load_features("classifier:cifar10" if foreign else space, data)
        parts = ({kind: features(rows) for kind, rows in some.items()} for some in (own, drawn, training))
        found[space] = _Kinds(*parts, features(mean))
    return found


def _trained(recipe: str, name: str, number: int, settings: Mapping[str, Any], folder: Path) -> eae.Run:
    """Return a trained run, which is loaded if it is there, and resumed if it is not finished."""
    out = folder / f"{recipe}-{name}"
    epochs = {"epochs": max(1, SEEN // number)}
    options: dict[str, Any] = {"set": {**epochs, **settings}, "limit": number, "device": "cpu", "progress": False}
    return eae.train(recipe, name, out=out, resume=out.exists(), **options)


def render_ranking(path: Path) -> str:
    """Return from how many images each measure tells each pair: a row a pair and space."""
    found = read_json(path)
    rows = found["rows"]
    sets = list(dict.fromkeys(row["data"] for row in rows))
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    lines = []
    for near, far in PAIRS:
        for space in spaces:
            cells = []
            for name in _MEASURES:
                some = [row for row in rows if row["space"] == space and name in row["right"]]
                least = [_least(_shares(some, data, name, f"{near} > {far}")) for data in sets]
                cells.append(" / ".join(least) if any(least) else "")
            lines.append([f"{near} > {far}", f"`{space}`", *cells])
    head = ["pair", "space", *(name.replace("_", " ") for name in _MEASURES)]
    most = ", ".join(f"{max(row['images'] for row in rows if row['data'] == data):,} of {data}" for data in sets)
    counts = sorted({row["images"]: row["draws"] for row in rows}.items())
    draws = ", ".join(f"{count} of {size:,}" for size, count in counts)
    return (
        f"{markdown(head, lines)}\n\n{' / '.join(sets)}: the fewest images from which a measure has the right "
        f"order in {100 * _TELLS:.0f} % of draws; ✗: the wrong order in as many draws of the largest number "
        f"({most}); -: neither. Draws: {draws} images. {where(found)}"
    )


def _shares(rows: list[dict[str, Any]], data: str, name: str, pair: str) -> list[tuple[int, float]]:
    """Return the shares of draws in which a measure is right, by the number of images, ascending."""
    some = (row for row in rows if row["data"] == data and pair in row["right"][name])
    return sorted((row["images"], row["right"][name][pair]) for row in some)


def _least(shares: list[tuple[int, float]]) -> str:
    """Return the smallest size from which on the order is right; of sizes and shares of draws that are right."""
    if not shares:
        return ""
    least = None
    for size, share in reversed(shares):
        if share < _TELLS:
            break
        least = size
    if least is None:
        return "✗" if shares[-1][1] <= 1 - _TELLS else "-"
    return f"{least:,}"
