"""Grids, comparisons and files of uint8 images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic, atomic_folder

__all__ = [
    "ANIMATIONS",
    "above",
    "as_picture",
    "check_animation",
    "comparison",
    "data_url",
    "grid_of",
    "image_grid",
    "is_grid",
    "picture",
    "save_animation",
    "save_images",
]

_GAP = 8  # pixels between images of a grid: dark ones would run into each other with less
_WHITE = 240  # of a gap in a JPEG file, at least
_TEXT = 18  # pixels, of the text beside images
_LEAST_SIDE = 64  # smaller images are enlarged by an integer factor, for visibility
_FRAME_SIDE = 256  # likewise of an animation, which is looked at alone
_FASTEST = {".gif": 50, ".mp4": 240}  # frames a second: a GIF counts hundredths, and viewers slow down below two
ANIMATIONS = tuple(_FASTEST)  # suffixes


def image_grid(images: ArrayLike, columns: int | None = None) -> Tensor:
    """Lay uint8 images, (N, C, H, W), out row by row on white: uint8 (C, H', W').

    Small images are enlarged by repeating pixels. ``picture`` gives the same as a PIL image.

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
    images = _enlarged(images, scale)
    height, width = height * scale, width * scale
    size = (channels, _GAP + rows * (height + _GAP), _GAP + columns * (width + _GAP))
    grid = torch.full(size, 255, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = _GAP + i // columns * (height + _GAP), _GAP + i % columns * (width + _GAP)
        grid[:, top : top + height, left : left + width] = image
    return grid


def grid_of(width: int, height: int, side: tuple[int, int]) -> tuple[int, int] | None:
    """Return columns and rows of the grid of images that has this size in pixels; None unless it holds several.

    Photographs have such sizes, too: ``is_grid`` tells them from grids.

    Arguments:
        width, height: of a picture.
        side: (H, W) of an image of the grid.

    >>> grid_of(584, 296, (32, 32)), grid_of(640, 480, (32, 32))
    ((8, 4), None)
    """
    scale = max(1, _LEAST_SIDE // max(side))
    columns, more = divmod(width - _GAP, scale * side[1] + _GAP)
    rows, others = divmod(height - _GAP, scale * side[0] + _GAP)
    return (columns, rows) if not more and not others and min(columns, rows) > 0 and columns * rows > 1 else None


def is_grid(image: Image.Image, columns: int, rows: int) -> bool:
    """Return whether a picture whose size is that of a grid is white around and between the images of the grid.

    >>> shown = picture(torch.zeros(6, 1, 64, 64, dtype=torch.uint8), columns=3)
    >>> is_grid(shown, 3, 2), is_grid(Image.new("L", shown.size, 128), 3, 2)
    (True, False)
    """
    pixels = np.asarray(image.convert("L"))
    down, across = (pixels.shape[0] - _GAP) // rows, (pixels.shape[1] - _GAP) // columns
    gaps = [pixels[top : top + _GAP] for top in range(0, len(pixels), down)]
    gaps += [pixels[:, left : left + _GAP] for left in range(0, pixels.shape[1], across)]
    return all(gap.min() >= _WHITE for gap in gaps)


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


def check_animation(out: str | Path, fps: float) -> Path:
    """Return the path of an animation; InputError if it cannot be written there, before frames are computed."""
    out = Path(out)
    suffix = out.suffix.lower()
    if suffix not in ANIMATIONS:
        raise InputError(f"cannot write an animation as '{out.suffix}'; give FILE.gif or FILE.mp4, not {out}.")
    if not 1 <= fps <= _FASTEST[suffix]:
        raise InputError(f"fps must be from 1 to {_FASTEST[suffix]} for {suffix}, got {fps}.")
    if suffix == ".mp4" and find_spec("av") is None:
        raise InputError(
            "an .mp4 file needs PyAV, which is not installed: pip install 'entropic-ae[video]', or give FILE.gif."
        )
    return out


def save_animation(frames: ArrayLike, out: str | Path, *, fps: float = 12, overwrite: bool = False) -> Path:
    """Write uint8 images, (N, C, H, W), as the frames of FILE.gif, which repeats for ever, or of FILE.mp4.

    Small images are enlarged by repeating pixels. A GIF has exact greys, and of each colour frame the 256 colours
    that suit it. A GIF shows each frame for a whole number of hundredths of a second, at least 2. An MP4 is H.264
    with 4:2:0 chroma, which every browser plays; it needs the extra ``video`` (PyAV).

    Arguments:
        frames: at least one; grey (C = 1) or RGB (C = 3).
        out: the file.
        fps: frames a second, from 1 to 50 for a GIF, to 240 for an MP4.
        overwrite: replace an existing file.

    Returns: the path written.

    Raises: InputError if ``out`` exists or has another suffix, for other frames or rates, or without PyAV.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "fade.gif"
    >>> shades = torch.arange(0, 256, 51, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    >>> Image.open(save_animation(shades, out)).n_frames
    6
    """
    out = check_animation(out, fps)
    frames, _ = _checked(frames, None)
    if out.exists() and not (overwrite and out.is_file()):
        raise InputError(f"{out} exists and is not overwritten; give another place.")
    scale = max(1, _FRAME_SIDE // max(frames.shape[2:]))
    write = _write_gif if out.suffix.lower() == ".gif" else _write_mp4
    with atomic(out) as path:
        write((as_picture(_enlarged(frame[None], scale)[0]) for frame in frames), path, fps)
    return out


def _enlarged(images: Tensor, scale: int) -> Tensor:
    return images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def _write_gif(frames: Iterator[Image.Image], path: Path, fps: float) -> None:
    first = next(frames)
    first.save(path, save_all=True, append_images=frames, duration=max(20, 10 * round(100 / fps)), loop=0)


def _write_mp4(frames: Iterator[Image.Image], path: Path, fps: float) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "18"})
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            colour = frame.convert("RGB")
            even = (colour.width // 2 * 2, colour.height // 2 * 2)  # without an odd last pixel: chroma has half
            if number == 0:
                stream.width, stream.height = even
            file.mux(stream.encode(av.VideoFrame.from_image(colour.crop((0, 0, *even)))))
        file.mux(stream.encode(None))


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
