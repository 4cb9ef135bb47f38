"""A toy problem: maximising only the entropy of points, under each bottleneck's constraints (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entropic_ae.bottlenecks import BOTTLENECKS, Bottleneck
from entropic_ae.experiments.drawing import draw_toy
from entropic_ae.metrics.diagnostics import sliced_wasserstein_from
from entropic_ae.randomness import generator, seeded
from entropic_ae.storage.files import write_json, write_text

__all__ = ["STARTS", "draw_constraints", "null_distances", "prior_distance", "raise_entropy", "toy"]

_FINER = 10  # draws of the prior per code


def _clusters(n: int, source: torch.Generator) -> Tensor:
    centres = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    chosen = torch.randint(3, (n,), generator=source)
    return centres[chosen] + 0.1 * torch.randn(n, 2, generator=source)


def _line(n: int, source: torch.Generator) -> Tensor:
    along = torch.rand(n, 1, generator=source) @ torch.tensor([[2.0, 1.0]])
    return along + 0.02 * torch.randn(n, 2, generator=source)


def _corner(n: int, source: torch.Generator) -> Tensor:
    return torch.rand(n, 2, generator=source).square() + 0.01 * torch.randn(n, 2, generator=source)


STARTS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "clusters": _clusters,
    "line": _line,
    "corner": _corner,
}


def raise_entropy(
    bottleneck: Bottleneck,
    start: Tensor,
    *,
    steps: int = 2000,
    learning_rate: float = 0.1,
    shown: Sequence[int] = (),
) -> list[Tensor]:
    """Move points by gradient ascent on the entropy of their codes alone.

    The points are free parameters, all in one batch, moved by Adam with a learning rate that falls linearly to 0.
    There is no encoder, so the result depends only on the constraints and the estimator.

    Arguments:
        bottleneck: with constraints that bound the entropy; in training mode.
        start: initial points, (N, D).
        steps: of Adam.
        learning_rate: initial learning rate.
        shown: steps whose codes are returned too.

    Returns: the codes, (N, D), at the shown steps and at the end.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> raise_entropy(BatchNorm(2), torch.rand(50, 2), steps=3, shown=[0])[0].shape
    torch.Size([50, 2])
    """
    points = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([points], learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    kept = []
    for step in range(steps):
        z = bottleneck(points).z
        if step in shown:
            kept.append(z.detach().clone())
        optimizer.zero_grad()
        (-bottleneck.entropy(z, check_finite=False)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return [*kept, bottleneck(points).z]


def prior_distance(codes: Tensor, bottleneck: Bottleneck, *, seed: int = 0) -> float:
    """Return the sliced Wasserstein distance of codes, (N, D), from 10 N draws of the prior, to reduce the noise.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> prior_distance(torch.zeros(50, 2), BatchNorm(2)) > 0.9
    True
    """
    return _distance_from_prior(bottleneck, len(codes), seed)(codes)


def _distance_from_prior(bottleneck: Bottleneck, n: int, seed: int) -> Callable[[Tensor], float]:
    with seeded(seed + 1):
        draws = bottleneck.prior().sample((_FINER * n,))
    distance = sliced_wasserstein_from(draws)
    return lambda codes: distance(codes.repeat(_FINER, 1))


def null_distances(bottleneck: Bottleneck, n: int, *, count: int = 200, seed: int = 0) -> Tensor:
    """Return the ``prior_distance`` of samples of the prior, (count,), sorted.

    Their percentiles are thresholds for the distance of codes.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> null_distances(BatchNorm(2), 50, count=3).shape
    torch.Size([3])
    """
    with seeded(seed):
        samples = bottleneck.prior().sample((count, n))
    distance = _distance_from_prior(bottleneck, n, seed)
    return torch.tensor([distance(sample) for sample in samples]).sort().values


def toy(
    names: Sequence[str] = ("batch-norm", "whitening", "l1-norm", "cube", "sphere"),
    starts: Sequence[str] | None = None,
    *,
    n: int = 500,
    steps: int = 2000,
    shown: Sequence[int] = (0, 20, 200),
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Maximise the entropy under each bottleneck from each start, in the plane (on the sphere, in space).

    Arguments:
        names: of bottlenecks that bound the entropy.
        starts: names of starting distributions; default: all.
        n: number of points.
        steps, shown: as for ``raise_entropy``.
        seed: of all draws.
        tell: called with progress messages.

    Returns: for each pair, a dictionary with ``bottleneck``; ``start``; ``codes``, as ``raise_entropy`` returns
        them; ``prior``, a sample of it; ``distance``, the ``prior_distance`` of the final codes;
        ``start_distance``, that before the first step; and ``null``, the 95th and the 99th percentile for samples
        of the prior.

    >>> found = toy(["cube"], ["line"], n=60, steps=2, shown=[0])
    >>> found[0]["start_distance"] > found[0]["null"][1]
    True
    """
    found = []
    for name in names:
        dim = 3 if name == "sphere" else 2
        null = null_distances(BOTTLENECKS[name](dim), n, seed=seed)
        for start in STARTS if starts is None else starts:
            tell(f"{name} from {start}")
            points = STARTS[start](n, generator(seed))
            points = (points - points.mean(0)) / points.std(0)
            if dim == 3:  # start on one side of the sphere
                points = torch.cat([points, torch.ones(n, 1)], 1)
            codes = raise_entropy(BOTTLENECKS[name](dim), points, steps=steps, shown=shown)
            with seeded(seed + 1):
                prior = BOTTLENECKS[name](dim).prior().sample((n,))
            found.append(
                {
                    "bottleneck": name,
                    "start": start,
                    "codes": codes,
                    "prior": prior,
                    "start_distance": prior_distance(BOTTLENECKS[name](dim)(points).z, BOTTLENECKS[name](dim)),
                    "distance": prior_distance(codes[-1], BOTTLENECKS[name](dim)),
                    "null": [null.quantile(level).item() for level in (0.95, 0.99)],
                }
            )
    return found


def draw_constraints(
    out: Path, *, n: int = 500, steps: int = 2000, seed: int = 0, tell: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Measure and draw the toy problem into a folder: ``constraints`` as JSON, PNG, PDF and a Markdown caption.

    Arguments:
        out: the folder.
        n, steps, seed, tell: as for ``toy``.

    Returns: the files.
    """
    shown = [step for step in (0, 20, 200) if step < steps]
    found = toy(n=n, steps=steps, shown=shown, seed=seed, tell=tell)
    files = [out / f"constraints{suffix}" for suffix in (".json", ".png", ".pdf", ".md")]
    kept = ("bottleneck", "start", "start_distance", "distance", "null")
    rows = [{name: one[name] for name in kept} for one in found]
    write_json(files[0], {"n": n, "steps": steps, "seed": seed, "found": rows})
    draw_toy(found, shown, files[1:3])
    lines = [
        "| bottleneck | from | distance at first | at the end | 99th percentile of samples of the prior |",
        "| --- | --- | ---: | ---: | ---: |",
        *(
            f"| {one['bottleneck']} | {one['start']} | {one['start_distance']:.3f} | {one['distance']:.3f} "
            f"| {one['null'][1]:.3f} |"
            for one in rows
        ),
        "",
        f"Sliced Wasserstein distance of {n} points from {_FINER * n:,} draws of the prior, moved for {steps:,} "
        "steps by the gradient of their codes' entropy alone.",
    ]
    write_text(files[3], "\n".join(lines) + "\n")
    return files
