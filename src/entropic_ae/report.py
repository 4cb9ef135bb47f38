"""What people look at: picture grids and tables, made of images and of run folders' JSON, never of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from entropic_ae.errors import InputError
from entropic_ae.files import atomic

__all__ = ["distance_rows", "image_grid", "save_images"]

_GAP = 2  # pixels between images of a grid
_LEAST_SIDE = 64  # images smaller than this are enlarged by a whole factor, so that a person can see them


def image_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Lay uint8 images, (N, C, H, W), out row by row on white: uint8 (C, H', W').

    Small images are enlarged by repeating pixels.

    Arguments:
        images: at least one.
        columns: images a row; as square as can be unless given.

    >>> image_grid(torch.zeros(6, 1, 64, 64, dtype=torch.uint8), columns=3).shape
    torch.Size([1, 134, 200])
    """
    n, channels, height, width = images.shape
    if n < 1:
        raise InputError("a grid needs at least one image, got none.")
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    scale = max(1, _LEAST_SIDE // max(height, width))
    images = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    height, width = height * scale, width * scale
    size = (channels, _GAP + rows * (height + _GAP), _GAP + columns * (width + _GAP))
    grid = torch.full(size, 255, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = _GAP + i // columns * (height + _GAP), _GAP + i % columns * (width + _GAP)
        grid[:, top : top + height, left : left + width] = image
    return grid


def save_images(images: Tensor, out: str | Path, *, columns: int | None = None, overwrite: bool = False) -> Path:
    """Write uint8 images, (N, C, H, W): FILE.png a grid, FILE.npz the array ``images``, else a folder of PNGs.

    Arguments:
        images: grey (C = 1) or RGB (C = 3).
        out: where to; a folder is made, its files are numbered.
        columns: images a row of a grid.
        overwrite: replace a file that is there.

    Returns: the path written.

    Raises: InputError if ``out`` exists (a folder: is not empty), or has another suffix.
    """
    out = Path(out)
    if out.suffix not in ("", ".png", ".npz"):
        raise InputError(f"cannot write '{out.suffix}' files; give FILE.png, FILE.npz or a folder, not {out}.")
    taken = out.exists() and not (out.is_dir() and out.suffix == "" and not any(out.iterdir()))
    if taken and not (overwrite and out.is_file()):
        raise InputError(f"{out} exists and is not overwritten; give another --out.")
    if out.suffix == ".png":
        with atomic(out) as path:
            _picture(image_grid(images, columns)).save(path)
    elif out.suffix == ".npz":
        with atomic(out) as path:
            np.savez_compressed(path, images=images.numpy())
    else:
        out.mkdir(parents=True, exist_ok=True)
        digits = len(str(len(images) - 1))
        for i, image in enumerate(images):
            with atomic(out / f"{i:0{digits}}.png") as path:
                _picture(image).save(path)
    return out


def distance_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table of distances: what, images, Frechet distance, kernel distance.

    Arguments:
        metrics: what ``evaluate`` measured in one feature space.
    """
    return [
        (
            name,
            f"{row['images']:,}",
            f"{row['frechet']:.2f}",
            f"{row['kernel']:.4f} ± {row['kernel_std']:.4f}",
        )
        for name, row in metrics["distances"].items()
    ]


def _picture(image: Tensor) -> Image.Image:
    """Turn one uint8 image, (C, H, W), into a picture."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
