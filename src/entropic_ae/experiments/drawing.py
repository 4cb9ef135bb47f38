"""Drawing: matplotlib figures into files, the same bytes for the same content."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from entropic_ae.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_panels", "draw_toy", "save_canvas"]

_UNDATED: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}}


def save_canvas(canvas: Figure, file: Path) -> None:
    """Write a figure, whole or not at all, in the format of the file's suffix."""
    with atomic(file) as path:
        canvas.savefig(path, dpi=150, format=file.suffix[1:], metadata=_UNDATED.get(file.suffix))


def draw_panels(panels: Sequence[tuple[str, Tensor]], files: Sequence[Path]) -> None:
    """Draw grids of images under their titles, up to three in a row and four as two rows, into each file.

    Arguments:
        panels: title and grid, uint8 (C, H, W).
        files: with the suffix of a format that matplotlib writes.
    """
    from matplotlib.figure import Figure

    columns = len(panels) if len(panels) < 4 else 2
    rows = math.ceil(len(panels) / columns)
    # constrained layout would cut titles of fixed shapes off
    canvas = Figure(figsize=(4 * columns, 4.6 * rows), layout="compressed")
    places = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes in places:
        axes.axis("off")
    for axes, (title, grid) in zip(places, panels, strict=False):
        picture = grid.permute(1, 2, 0).numpy()
        axes.imshow(picture.squeeze(2) if picture.shape[2] == 1 else picture, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title)
    for file in files:
        save_canvas(canvas, file)


def draw_toy(found: Sequence[Mapping[str, Any]], shown: Sequence[int], files: Sequence[Path]) -> None:
    """Draw what ``constraints.toy`` returns: a row a bottleneck and start, a column a step, the prior last.

    Points on the sphere are drawn by longitude and height, a map that keeps areas.

    Arguments:
        found: of one or more bottlenecks.
        shown: the steps that were asked for.
        files: with the suffix of a format that matplotlib writes.
    """
    from matplotlib.figure import Figure

    titles = [*(f"step {step}" for step in shown), "end", "prior"]
    canvas = Figure(figsize=(2.1 * len(titles), 2.1 * len(found)), layout="constrained")
    grid = canvas.subplots(len(found), len(titles), squeeze=False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    for row, one in zip(grid, found, strict=True):
        clouds = [_flat(codes) for codes in (*one["codes"], one["prior"])]
        reach = max(cloud.abs().max().item() for cloud in clouds[-2:]) * 1.05
        for axes, cloud, title in zip(row, clouds, titles, strict=True):
            axes.scatter(cloud[:, 0], cloud[:, 1], s=2, color="tab:gray" if title == "prior" else "tab:blue")
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        row[0].set_ylabel(f"{one['bottleneck']}, from {one['start']}", fontsize="small")
        row[-2].set_xlabel(f"distance {one['distance']:.3f} (null {one['null'][1]:.3f})", fontsize="small")
    for file in files:
        save_canvas(canvas, file)


def _flat(codes: Tensor) -> Tensor:
    """Return codes in the plane, those in space by longitude over pi and height."""
    if codes.shape[1] == 2:
        return codes
    return torch.stack([torch.atan2(codes[:, 1], codes[:, 0]) / math.pi, codes[:, 2]], 1)
