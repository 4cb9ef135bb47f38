"""Grids, comparisons and files of uint8 images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic, atomic_folder

__all__ = ["above", "as_picture", "comparison", "data_url", "image_grid", "picture", "save_images"]

_GAP = 8  # pixels between images of a grid: dark ones would run into each other with less
_TEXT = 18  # pixels, of the text beside images
_LEAST_SIDE = 64  # smaller images are enlarged by an integer factor, for visibility


def image_grid(images: ArrayLike, columns: int | None = None) -> Tensor:
    """Lay uint8 images, (N, C, H, W), out row by row on white: uint8 (C, H', W').

    Small images are enlarged by repeating pixels.

    Arguments:
        images: at least one; or one image, (C, H, W), or rows of them, (N, M, C, H, W), as ``interpolate`` gives.
        columns: images per row; by default M for rows of images, else as square as possible.

    Raises: InputError for no image, another shape, or pixels that are not uint8.

    >>> image_grid(torch.zeros(6, 1, 64, 64, dtype=torch.uint8), columns=3).shape
    torch.Size([1, 152, 224])
    """
    images, columns = _checked(images, columns)
    n, channels, height, width = images.shape
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


def picture(images: ArrayLike, columns: int | None = None) -> Image.Image:
    """Return a grid of images as a PIL image, which a notebook shows; arguments and errors as ``image_grid``.

    >>> picture(torch.zeros(6, 1, 64, 64, dtype=torch.uint8), columns=3).size
    (224, 152)
    """
    return as_picture(image_grid(images, columns))


def _checked(images: ArrayLike, columns: int | None) -> tuple[Tensor, int | None]:
    """Return images as uint8 (N, C, H, W) and the number per row, or raise InputError if they cannot be drawn."""
    images = as_tensor(images, "images")
    shape = tuple(images.shape)
    if images.dim() == 3:
        images = images[None]
    elif images.dim() == 5:
        images, columns = images.flatten(0, 1), columns or shape[1]
    if len(images) == 0:
        raise InputError("expected at least one image, got none.")
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"expected uint8 images (N, C, H, W) with C = 1 or 3, got {images.dtype} of shape {shape}; "
            "images in [0, 1] become such by (255 * x).round().to(torch.uint8)."
        )
    return images, columns


def above(images: Tensor, others: Tensor, columns: int) -> Tensor:
    """Interleave rows of images with rows of others, both (N, C, H, W), for a grid with that number of columns.

    A shorter last row is padded with white images.

    >>> above(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.ones(3, 1, 8, 8, dtype=torch.uint8), 2).shape
    torch.Size([8, 1, 8, 8])
    """
    blank = torch.full_like(images[:1], 255)
    pairs = zip(images.split(columns), others.split(columns), strict=True)
    rows = [torch.cat([row, blank.expand(columns - len(row), -1, -1, -1)]) for pair in pairs for row in pair]
    return torch.cat(rows)


def comparison(rows: Mapping[str, Sequence[Tensor | None]], headings: Sequence[str]) -> Image.Image:
    """Draw blocks of images side by side under headings, with one labelled row per system.

    Arguments:
        rows: blocks by label, one for each heading: uint8 images (N, C, H, W), or None for a gap.
        headings: titles of the columns.

    >>> images = torch.zeros(3, 1, 64, 64, dtype=torch.uint8)
    >>> comparison({"truth": [images, None], "eae": [images, images]}, ["images", "samples"]).height
    204
    """
    font = ImageFont.load_default(_TEXT)
    drawn = {
        label: [b if b is None else as_picture(image_grid(b, len(b))) for b in row] for label, row in rows.items()
    }
    columns = list(zip(*drawn.values(), strict=True))
    widths = [max(block.width for block in column if block is not None) for column in columns]
    heights = [max(block.height for block in row if block is not None) for row in drawn.values()]
    margin = 2 * _TEXT + max(int(font.getlength(label)) for label in rows)
    top = _TEXT + 10
    size = (margin + sum(widths) + _TEXT * len(widths), top + sum(heights) + 2 * _GAP)
    picture = Image.new("RGB", size, "white")
    text = ImageDraw.Draw(picture)
    lefts = [margin + sum(widths[:i]) + _TEXT * i for i in range(len(widths))]
    for heading, left in zip(headings, lefts, strict=True):
        text.text((left, 2), heading, "black", font)
    for i, (label, row) in enumerate(drawn.items()):
        y = top + sum(heights[:i])
        text.text((_TEXT // 2, y + (heights[i] - _TEXT) // 2), label, "black", font)
        for block, left in zip(row, lefts, strict=True):
            if block is not None:
                picture.paste(block, (left, y))
    return picture


def save_images(
    images: ArrayLike, out: str | Path, *, columns: int | None = None, overwrite: bool = False
) -> Path:
    """Write uint8 images, (N, C, H, W): FILE.png a grid, FILE.npz the array ``images``, else a folder of PNGs.

    Arguments:
        images: grey (C = 1) or RGB (C = 3); one, or rows of them, as for ``image_grid``.
        out: output path; a folder is created and its files are numbered.
        columns: images per row of a grid.
        overwrite: replace an existing file.

    Returns: the path written.

    Raises: InputError if ``out`` exists (a folder: is not empty), or has another suffix; and as ``image_grid``.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "grid.png"
    >>> save_images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), out).name
    'grid.png'
    """
    out = Path(out)
    images, columns = _checked(images, columns)
    suffix = out.suffix.lower()
    if suffix not in ("", ".png", ".npz"):
        raise InputError(f"cannot write '{out.suffix}' files; give FILE.png, FILE.npz or a folder, not {out}.")
    taken = out.exists() and not (out.is_dir() and suffix == "" and not any(out.iterdir()))
    if taken and not (overwrite and out.is_file()):
        raise InputError(f"{out} exists and is not overwritten; give another place.")
    if suffix == ".png":
        with atomic(out) as path:
            picture(images, columns).save(path)
    elif suffix == ".npz":
        with atomic(out) as path:
            np.savez_compressed(path, images=images.numpy())
    else:
        digits = len(str(len(images) - 1))
        with atomic_folder(out) as whole:
            for i, image in enumerate(images):
                as_picture(image).save(whole / f"{i:0{digits}}.png")
    return out


def as_picture(image: Tensor) -> Image.Image:
    """Turn one uint8 image, (C, H, W), into a PIL image: grey if C = 1, else RGB.

    >>> as_picture(torch.zeros(3, 8, 16, dtype=torch.uint8)).size
    (16, 8)
    """
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def data_url(image: Image.Image) -> str:
    """Return a PIL image as the address of a PNG file that a page holds itself.

    >>> data_url(Image.new("L", (8, 8)))[:26]
    'data:image/png;base64,iVBO'
    """
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
