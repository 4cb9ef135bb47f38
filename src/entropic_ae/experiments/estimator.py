"""What objectives on codes have as their optimum: estimates of known distributions, and points that move."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entropic_ae.bottlenecks import BatchNorm
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy, norm_transport
from entropic_ae.experiments.constraints import null_distances, prior_distance
from entropic_ae.experiments.drawing import save_canvas
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.randomness import generator, seeded
from entropic_ae.storage.files import locked, read_json, write_json, write_text
from entropic_ae.terms import (
    CodeLoss,
    CramerWold,
    EnergyDistance,
    KNNDivergence,
    KoLeo,
    MatricialFreeEnergy,
    MaximumMeanDiscrepancy,
    NegativeEntropy,
    NormTransport,
    SIGReg,
    SlicedWasserstein,
    Term,
)

__all__ = ["OBJECTIVES", "SHAPES", "draw_estimator", "estimates", "free_points", "normality"]

_HALF = 0.5  # spread of the norms in units of the normal's
_NORMS = 20.0  # weight at which a shell costs 10 nats, more than the estimate gives for it
_NUMBERS = (100, 500, 2000)  # numbers of codes
_DIMS = (2, 4, 8, 16, 64)
_ORDERS = (1, 5)  # of the neighbour
_BATCHES = (100, 500)
_FREE = (2, 16, 64)  # dimensions of the free points
_POINTS, _VISITS, _RATE = 1000, 50, 0.03
_LEVEL = 0.99


def _normal(n: int, dim: int, source: torch.Generator) -> Tensor:
    return torch.randn(n, dim, generator=source)


def _half(n: int, dim: int, source: torch.Generator) -> Tensor:
    z = torch.randn(n, dim, generator=source)
    norms = z.norm(dim=1, keepdim=True)
    typical = math.sqrt(dim)
    return z / norms * (typical + _HALF * (norms - typical))


def _sphere(n: int, dim: int, source: torch.Generator) -> Tensor:
    z = torch.randn(n, dim, generator=source)
    return z / z.norm(dim=1, keepdim=True) * math.sqrt(dim)


def _cube(n: int, dim: int, source: torch.Generator) -> Tensor:
    return (2 * torch.rand(n, dim, generator=source) - 1) * math.sqrt(3)


def _laplace(n: int, dim: int, source: torch.Generator) -> Tensor:
    signs = torch.randint(2, (n, dim), generator=source) * 2 - 1
    return signs * torch.empty(n, dim).exponential_(generator=source) / math.sqrt(2)


def _clusters(n: int, dim: int, source: torch.Generator) -> Tensor:
    centres = 2 * torch.randn(3, dim, generator=source)
    return centres[torch.randint(3, (n,), generator=source)] + 0.1 * torch.randn(n, dim, generator=source)


def _line(n: int, dim: int, source: torch.Generator) -> Tensor:
    along = torch.rand(n, 1, generator=source) @ torch.randn(1, dim, generator=source)
    return along + 0.02 * torch.randn(n, dim, generator=source)


def _signs(n: int, dim: int, source: torch.Generator) -> Tensor:
    return torch.randn(n, dim, generator=source).sign() + 0.05 * torch.randn(n, dim, generator=source)


Draw = Callable[[int, int, torch.Generator], Tensor]
# Distributions of mean 0 and variance 1 in each dimension; half has norms that spread half as much as the normal's
SHAPES: dict[str, Draw] = {
    "normal": _normal,
    "half": _half,
    "sphere": _sphere,
    "cube": _cube,
    "Laplace": _laplace,
}
STARTS: dict[str, Draw] = {
    "clusters": _clusters,
    "line": _line,
    "shell": _sphere,
    "signs": _signs,
    "Laplace": _laplace,
}
OBJECTIVES: dict[str, tuple[Term, ...]] = {
    "entropy": (NegativeEntropy(),),
    "entropy and norms": (NegativeEntropy(), NormTransport(_NORMS)),
    "neighbour divergence": (KNNDivergence(),),
    "symmetric divergence": (KNNDivergence(symmetric=True),),
    "MMD": (MaximumMeanDiscrepancy(),),
    "energy distance": (EnergyDistance(),),
    "sliced Wasserstein": (SlicedWasserstein(),),
    "SIGReg": (SIGReg(),),
    "Cramer-Wold": (CramerWold(),),
    "free energy": (MatricialFreeEnergy(),),
    "KoLeo": (KoLeo(),),
}


def estimates(
    numbers: Sequence[int] = _NUMBERS,
    dims: Sequence[int] = _DIMS,
    orders: Sequence[int] = _ORDERS,
    *,
    repeats: int = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure the mean entropy estimate of standardised draws of known distributions, less that of normal draws.

    Arguments:
        numbers: of codes.
        dims: of the codes.
        orders: k, of the neighbour.
        repeats: samples of each.
        seed: of all draws.

    Returns: for each n, dim, k and shape a dictionary with ``lead``, the mean difference in nats, and its standard
        ``error``.

    >>> (row,) = [row for row in estimates([100], [16], [1], repeats=5) if row["shape"] == "sphere"]
    >>> 0.3 < row["lead"] < 1
    True
    """
    source, rows = generator(seed), []
    for n in numbers:
        for dim in dims:
            found: dict[tuple[str, int], list[float]] = {}
            for _ in range(repeats):
                for shape, draw in SHAPES.items():
                    z = _standardised(draw(n, dim, source))
                    for k in orders:
                        found.setdefault((shape, k), []).append(knn_entropy(z, k, check_finite=False).item())
            for (shape, k), values in found.items():
                leads = [one - other for one, other in zip(values, found["normal", k], strict=True)]
                error = statistics.stdev(leads) / math.sqrt(repeats) if repeats > 1 else math.nan
                rows.append(
                    {"n": n, "dim": dim, "k": k, "shape": shape, "lead": statistics.fmean(leads), "error": error}
                )
    return rows


def _standardised(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / z.std(0, correction=0)


def free_points(
    terms: Sequence[Term],
    start: Tensor,
    *,
    batch: int,
    steps: int,
    learning_rate: float = _RATE,
    seed: int = 0,
) -> Tensor:
    """Move points by the gradient of an objective of their codes alone, a random minibatch in each step.

    The codes are the points behind batch norm; there is no encoder. The scale of a single term does not matter to
    Adam, whose learning rate falls to 0 as a cosine.

    Arguments:
        terms: whose weighted sum is minimised.
        start: (N, D).
        batch: points a step.
        steps: of Adam.
        learning_rate: the first.
        seed: of the minibatches and of the terms' draws.

    Returns: all codes at the end, (N, D), standardised.

    >>> free_points([NegativeEntropy()], torch.rand(60, 2), batch=20, steps=3).shape
    torch.Size([60, 2])
    """
    losses = [CodeLoss(term) for term in terms]
    points = _standardised(start).clone().requires_grad_()
    bottleneck = BatchNorm(start.shape[1])
    optimizer = torch.optim.Adam([points], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with seeded(seed):
        for _ in range(steps):
            z = bottleneck(points[torch.randperm(len(points))[:batch]]).z
            optimizer.zero_grad()
            torch.stack([loss(z) for loss in losses]).sum().backward()
            optimizer.step()
            schedule.step()
    return _standardised(points.detach())


def normality(codes: Tensor, *, distance: float, norms: float) -> dict[str, float]:
    """Return how far codes, (N, D), are from N(0, I), in units of what draws of it reach in 1 of 100 samples.

    Arguments:
        codes: standardised.
        distance: the 99th percentile of the sliced Wasserstein distance of draws from N(0, I).
        norms: that of the 2-Wasserstein distance of their norms from the chi law.

    Returns: ``distance`` and ``norms``, at most 1 for codes that these tests do not tell from the prior.

    >>> found = normality(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), distance=0.5, norms=0.5)
    >>> max(found.values()) < 1
    True
    """
    return {
        "distance": prior_distance(codes, BatchNorm(codes.shape[1])) / distance,
        "norms": norm_transport(codes).sqrt().item() / norms,
    }


def _null(n: int, dim: int, seed: int) -> dict[str, float]:
    """Return the 99th percentiles of both distances of N standardised draws."""
    source = generator(seed + 1)
    norms = [norm_transport(_standardised(_normal(n, dim, source))).sqrt().item() for _ in range(300)]
    distances = null_distances(BatchNorm(dim), n, count=100, seed=seed)
    return {
        "distance": distances.quantile(_LEVEL).item(),
        "norms": torch.tensor(norms).quantile(_LEVEL).item(),
    }


def _free(
    folder: Path, points: int, visits: int, seed: int, tell: Callable[[str], None]
) -> Iterator[Mapping[str, Any]]:
    """Yield a result an objective, dimension and batch; those in the folder are read, and others written there."""
    nulls: dict[int, dict[str, float]] = {}
    for dim in _FREE:
        for batch in _BATCHES:
            for name, terms in OBJECTIVES.items():
                file = folder / f"{name.replace(' ', '-')}-{dim}-{batch}.json"
                with locked(folder / ".claims" / f"{file.stem}.lock"):
                    steps = visits * points // batch
                    asked = {"points": points, "steps": steps, "seed": seed}
                    if not file.exists():
                        tell(f"{name}, {dim} dimensions, batches of {batch}")
                        nulls[dim] = nulls.get(dim) or _null(points, dim, seed)
                        found = {}
                        for label, draw in STARTS.items():
                            z = draw(points, dim, generator(seed))
                            end = free_points(terms, z, batch=batch, steps=steps, seed=seed)
                            found[label] = {
                                "at first": normality(_standardised(z), **nulls[dim]),
                                "at the end": normality(end, **nulls[dim]),
                                "variance of the norms": end.norm(dim=1).var().item(),
                            }
                        about = {"objective": name, "dim": dim, "batch": batch, **asked}
                        about |= {"terms": [repr(term) for term in terms], "null": nulls[dim]}
                        stamp = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
                        write_json(file, {**about, "starts": found, **stamp})
                result = read_json(file)
                if before := {key: result[key] for key in asked if result[key] != asked[key]}:
                    raise InputError(
                        f"{file} is of {before}, expected {asked}; give another --out, or delete the folder."
                    )
                yield result


def draw_estimator(
    out: Path,
    *,
    points: int = _POINTS,
    visits: int = _VISITS,
    repeats: int = 20,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Measure and draw into a folder: ``estimator`` as JSON, PNG, PDF and a Markdown table; resumed if stopped.

    Arguments:
        out: the folder; the results of the free points are files of its folder ``estimator``.
        points: that move.
        visits: steps that move a point.
        repeats: of the estimates of known distributions.
        seed: of all draws.
        tell: called with progress messages.

    Returns: the files.
    """
    tell("estimates of known distributions")
    known = estimates(repeats=repeats, seed=seed)
    folder = out / "estimator"
    folder.mkdir(parents=True, exist_ok=True)
    moved = list(_free(folder, points, visits, seed, tell))
    files = [out / f"estimator{suffix}" for suffix in (".json", ".png", ".pdf", ".md")]
    write_json(files[0], {"repeats": repeats, "seed": seed, "leads": known})
    _draw(known, moved, files[1:3])
    write_text(files[3], render(known, moved))
    return files


def render(known: Sequence[Mapping[str, Any]], moved: Sequence[Mapping[str, Any]]) -> str:
    """Return both tables as Markdown: leads over normal draws, and where free points end."""
    shapes = [shape for shape in SHAPES if shape != "normal"]
    lines = [
        "Mean estimate of the entropy of standardised draws, less that of normal draws, in nats. Above 0 the "
        "estimate prefers what has less entropy.",
        "",
        f"| N | D | k | {' | '.join(shapes)} |",
        f"| ---: | ---: | ---: |{' ---: |' * len(shapes)}",
    ]
    by_key: dict[tuple[int, int, int], dict[str, float]] = {}
    for row in known:
        by_key.setdefault((row["n"], row["dim"], row["k"]), {})[row["shape"]] = row["lead"]
    for (n, dim, k), leads in by_key.items():
        shown = " | ".join(f"{leads[shape]:+.2f}" for shape in shapes)
        lines.append(f"| {n:,} | {dim} | {k} | {shown} |")
    points = moved[0]["points"]
    visits = moved[0]["steps"] * moved[0]["batch"] // points
    lines += [
        "",
        f"Of the {len(STARTS)} starts ({', '.join(STARTS)}), those whose {points:,} points end where two tests do "
        f"not tell them from draws of N(0, I), after each was in {visits:,} minibatches: by the sliced "
        "Wasserstein distance / by the norms. A test calls one of 100 samples of N(0, I) different.",
        "",
        f"| objective | {' | '.join(f'D = {d}, batch {b}' for d in _FREE for b in _BATCHES)} |",
        f"| --- |{' ---: |' * (len(_FREE) * len(_BATCHES))}",
    ]
    for name in OBJECTIVES:
        cells = []
        for dim in _FREE:
            for batch in _BATCHES:
                (one,) = [m for m in moved if (m["objective"], m["dim"], m["batch"]) == (name, dim, batch)]
                ends = [start["at the end"] for start in one["starts"].values()]
                cells.append(
                    " / ".join(str(sum(end[test] <= 1 for end in ends)) for test in ("distance", "norms"))
                )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _draw(known: Sequence[Mapping[str, Any]], moved: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> None:
    """Draw the leads over D, a panel a number of codes, and below the distances at the end of the free points."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(13, 10), layout="constrained")
    above, below = canvas.subfigures(2, 1, height_ratios=[1, 1.9], squeeze=False)[:, 0]
    grid = above.subplots(1, len(_NUMBERS), sharey=True, squeeze=False)[0]
    for axes, n in zip(grid, _NUMBERS, strict=True):
        for colour, shape in enumerate(name for name in SHAPES if name != "normal"):
            for k, style in zip(_ORDERS, ("-", ":"), strict=True):
                rows = [row for row in known if (row["n"], row["shape"], row["k"]) == (n, shape, k)]
                axes.plot(
                    [row["dim"] for row in rows],
                    [row["lead"] for row in rows],
                    style,
                    color=f"C{colour}",
                    marker=".",
                    label=f"{shape}, k = {k}",
                )
        axes.axhline(0, color="grey", lw=0.8)
        axes.set(xscale="log", xlabel="D", title=f"{n:,} codes", ylim=(-3, 3), xticks=_DIMS)
        axes.set_xticks(_DIMS, [str(dim) for dim in _DIMS])
        axes.minorticks_off()
    grid[0].set_ylabel("estimate less that of normal draws, nats")
    grid[-1].legend(fontsize="x-small", ncols=2)
    panels = below.subplots(1, len(_FREE) * len(_BATCHES), sharey=True, squeeze=False)[0]
    for axes, (dim, batch) in zip(panels, [(d, b) for d in _FREE for b in _BATCHES], strict=True):
        chosen = {one["objective"]: one for one in moved if (one["dim"], one["batch"]) == (dim, batch)}
        worst = torch.tensor(
            [
                [max(chosen[name]["starts"][start]["at the end"].values()) for start in STARTS]
                for name in OBJECTIVES
            ]
        )
        shown = axes.imshow(worst.numpy(), norm=LogNorm(0.3, 30), cmap="RdYlGn_r", aspect="auto")
        for (i, j), value in zip(
            [(i, j) for i in range(len(worst)) for j in range(len(STARTS))], worst.flatten(), strict=True
        ):
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize="xx-small")
        axes.set_title(f"D = {dim}, batch {batch}", fontsize="medium")
        axes.set_xticks(range(len(STARTS)), list(STARTS), rotation=60, ha="right", fontsize="small")
        axes.set_yticks(range(len(OBJECTIVES)), list(OBJECTIVES), fontsize="small")
    below.colorbar(shown, ax=panels, label="distance at the end; 1: the 99th percentile of draws", shrink=0.8)
    for file in files:
        save_canvas(canvas, file)
