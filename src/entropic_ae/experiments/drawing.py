"""Drawing: figures as files of less than 1 MiB; the same content gives the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from entropic_ae.storage.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_panels", "draw_toy", "save_canvas", "save_picture"]

_DPI = 150
_LIMIT = 1 << 20  # upper bound of a file's size, in bytes
_SIDE = 530  # approximate side of a grid of 8 by 8 images, in pixels
_MARGIN, _TITLE = 10, 75  # pixels: around a panel, and above it for two lines
# Pillow's options by format; by default a PDF, whose pictures are JPEGs, would contain the time
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"optimize": True, "dpi": (_DPI, _DPI)},
    "PDF": {"resolution": _DPI, "creationDate": None, "modDate": None},
}


def save_picture(picture: Image.Image, file: Path) -> None:
    """Write a picture as PNG or PDF, atomically; it is scaled down if the file would be 1 MiB or more.

    Arguments:
        picture: RGB or grey.
        file: a path that ends in .png or .pdf.
    """
    content = _within_limit(picture, file.suffix[1:].upper())
    with atomic(file) as path:
        path.write_bytes(content)


def _within_limit(picture: Image.Image, kind: str) -> bytes:
    content, scale = _encoded(picture, kind), 1.0
    while len(content) >= _LIMIT:
        scale *= 0.98 * math.sqrt(_LIMIT / len(content))
        size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
        content = _encoded(picture.resize(size, Image.Resampling.LANCZOS), kind)
    return content


def _encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **_OPTIONS[kind])
    return stream.getvalue()


def save_canvas(canvas: Figure, file: Path) -> None:
    """Write a figure as PNG or PDF of less than 1 MiB, atomically.

    A PDF contains vector graphics, or a picture if the vector graphics would be larger.
    """
    if file.suffix == ".pdf":
        stream = io.BytesIO()
        canvas.savefig(stream, dpi=_DPI, format="pdf", metadata={"CreationDate": None})
        if stream.tell() < _LIMIT:
            with atomic(file) as path:
                path.write_bytes(stream.getvalue())
            return
    save_picture(_rendered(canvas), file)


def _rendered(canvas: Figure) -> Image.Image:
    """Return a figure as a picture, grey if all of it is grey, without an alpha channel, which no figure uses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas.set_dpi(_DPI)
    agg = FigureCanvasAgg(canvas)
    agg.draw()
    pixels = np.asarray(agg.buffer_rgba())[:, :, :3]
    grey = (pixels == pixels[:, :, :1]).all()
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))


def draw_panels(panels: Sequence[tuple[str, Tensor]], files: Sequence[Path]) -> None:
    """Draw grids of images under their titles, up to three in a row and four in two rows, into each file.

    In a PNG each pixel of the grids is repeated an integer number of times: interpolation would blur the images
    and take twice the space. A PDF holds the grids unchanged.

    Arguments:
        panels: title and grid, uint8 (C, H, W).
        files: PNG or PDF, by their suffix.
    """
    from matplotlib.figure import Figure

    columns = len(panels) if len(panels) < 4 else 2
    rows = math.ceil(len(panels) / columns)
    _, high, wide = (max(sizes) for sizes in zip(*(grid.shape for _, grid in panels), strict=True))
    times = max(1, round(_SIDE / wide))
    across, down = times * wide + _MARGIN, _TITLE + times * high + _MARGIN
    width, height = columns * across + _MARGIN, rows * down
    canvas = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    for i, (title, grid) in enumerate(panels):
        left, top = _MARGIN + i % columns * across, _TITLE + i // columns * down
        size = (times * grid.shape[2], times * grid.shape[1])
        bottom = height - top - size[1]
        axes = canvas.add_axes((left / width, bottom / height, size[0] / width, size[1] / height))
        axes.axis("off")
        picture = grid.expand(3, -1, -1).permute(1, 2, 0).numpy()  # RGB: a grey colour map would round values
        axes.imshow(picture, aspect="auto", interpolation="none")
        axes.set_title(title)
    for file in files:
        save_canvas(canvas, file)


def draw_toy(found: Sequence[Mapping[str, Any]], shown: Sequence[int], files: Sequence[Path]) -> None:
    """Draw results of ``constraints.toy``: a row per bottleneck and start, a column per step, the prior last.

    Points on the sphere are drawn by longitude and height, an equal-area projection.

    Arguments:
        found: the results, of one or more bottlenecks.
        shown: the shown steps.
        files: PNG or PDF, by their suffix.
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
    """Return codes in the plane; those in space by longitude over pi and height."""
    if codes.shape[1] == 2:
        return codes
    return torch.stack([torch.atan2(codes[:, 1], codes[:, 0]) / math.pi, codes[:, 2]], 1)
