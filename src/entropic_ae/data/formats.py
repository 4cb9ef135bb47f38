"""Image formats: which are read, how a file is opened, and what its header and its values say.

Pillow reads most of them; HEIC is read where pillow-heif is installed.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, features

__all__ = [
    "DAMAGE",
    "FORMATS",
    "GREY",
    "SUFFIXES",
    "Header",
    "header",
    "is_deep",
    "needed_for",
    "opened_image",
    "passed_over",
    "values_of",
    "verify",
]

# suffixes of the files of each format; only formats that need no other program: EPS would start Ghostscript
_SUFFIXES = {
    "PNG": ("png",),
    "JPEG": ("jpg", "jpeg", "jfif"),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "PPM": ("ppm", "pgm", "pbm"),
    "AVIF": ("avif",),
    "JPEG2000": ("jp2", "j2k", "jpx", "j2c", "jpc", "jpf"),
    "HEIF": ("heic", "heif", "hif"),
}
_REMEDIES = {  # of formats that this installation may lack
    "AVIF": "a Pillow with AVIF reads {} (pip install --upgrade pillow)",
    "JPEG2000": "a Pillow with OpenJPEG reads {} (pip install --upgrade pillow)",
    "HEIF": 'pillow-heif reads {} (pip install "entropic-ae[heic]")',
}
_NEEDED = {"AVIF": "a Pillow with AVIF", "JPEG2000": "a Pillow with OpenJPEG", "HEIF": "pillow-heif"}
# files that go with images and hold none
_NOTES = frozenset(
    ("csv", "tsv", "txt", "json", "jsonl", "xml", "yaml", "yml", "toml", "md", "rst", "html", "ini", "log", "db")
)


def _readable() -> dict[str, bool]:
    """Return whether each format that some installations lack is read by this one."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return {
        "AVIF": "avif" in features.modules and bool(features.check("avif")),
        "JPEG2000": bool(features.check("jpg_2000")),
        "HEIF": "HEIF" in Image.OPEN,
    }


_READABLE = _readable()
FORMATS = tuple(name for name in _SUFFIXES if _READABLE.get(name, True))
SUFFIXES = tuple(suffix for name in FORMATS for suffix in _SUFFIXES[name])
# Pillow's errors for damaged files; it has no dedicated one
DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
GREY = re.compile("1|L|LA|I|I;16.*")  # Pillow's modes
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 swap width and height
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 262, 339  # tags of TIFF
_SAMPLE_KINDS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point values", 6: "complex values"}


class Header(NamedTuple):
    """What is known of an image before it is decoded.

    Attributes:
        width, height: in pixels, EXIF orientation applied.
        mode: Pillow's, with LA for 16-bit grey with alpha; "" if the file cannot be read.
        pages: of a TIFF file, else 1.
        low, high: the smallest and largest value of an image of more than 8 bits; high is -1 for 8 bits. Of colour
            only the upper 8 bits are known: high is the largest value that they allow.
        reason: why a whole file cannot be read, if its header says so.
    """

    width: int
    height: int
    mode: str
    pages: int = 1
    low: int = 0
    high: int = -1
    reason: str = ""


@contextmanager
def opened_image(stream: io.BytesIO | Path, page: int = 0) -> Iterator[ImageFile.ImageFile]:
    """Open an image, at a page of a TIFF file; nothing is decoded yet."""
    # a file, not its path: Pillow maps an uncompressed TIFF by its path, and mixes up one that EXIF turns
    with (
        nullcontext(stream) if isinstance(stream, io.BytesIO) else stream.open("rb") as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        if page:
            image.seek(page)
        yield image


def verify(stream: io.BytesIO | Path) -> None:
    """Check the checksums of a PNG image, which decoding ignores; SyntaxError if one is wrong."""
    with opened_image(stream) as image:
        if image.format == "PNG":
            image.verify()
    if isinstance(stream, io.BytesIO):
        stream.seek(0)


def header(stream: io.BytesIO | Path, page: int = 0) -> Header:
    """Return what is known of an image; the values of more than 8 bits are decoded. DAMAGE if it is damaged."""
    try:
        with opened_image(stream, page) as image:
            width, height = _size(image)
            pages = _pages(image)
            deep, mode = is_deep(image), image.mode
            if "LA;16" in str(image.tile):
                mode = "LA"
        if not deep:
            return Header(width, height, mode, pages)
    except UnidentifiedImageError:
        if reason := _unknown_tiff(stream):
            return Header(0, 0, "", reason=reason)
        raise
    if isinstance(stream, io.BytesIO):
        stream.seek(0)
    verify(stream)
    with opened_image(stream, page) as image:
        if GREY.fullmatch(image.mode):
            values = values_of(image)
            return Header(width, height, mode, pages, int(values.min()), int(values.max()))
        bands = image.getbands()
        colours = [span[1] for band, span in zip(bands, _extrema(image), strict=True) if band != "A"]
        return Header(width, height, mode, pages, 0, max(colours) * 256 + 255)


def _size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an opened image after EXIF orientation is applied."""
    tags = getattr(image, "tag_v2", {})  # some versions of Pillow turn the size of a TIFF, but not its tags
    width, height = (tags[_WIDTH], tags[_HEIGHT]) if _WIDTH in tags and _HEIGHT in tags else image.size
    turned = width != height and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    return [band.getextrema() for band in image.split()]  # type: ignore[misc]


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return whether an opened, not yet decoded image has more than 8 bits per value."""
    if image.mode.startswith("I"):
        return True
    tile = image.tile[0] if image.tile else None  # of 16-bit colour Pillow decodes the upper 8 bits
    if tile is None or image.format not in ("PNG", "TIFF", "PPM"):
        return False
    if image.format == "PPM":
        return isinstance(tile[3], tuple) and isinstance(tile[3][-1], int) and tile[3][-1] > 255
    return ";16" in str(tile[3])


def values_of(image: Image.Image) -> np.ndarray:
    """Return the values of an image of mode I or I;16, as the file has them."""
    tags = getattr(image, "tag_v2", {})
    unsigned = image.mode == "I" and tags.get(_BITS) == (32,) and tags.get(_SAMPLES, (1,))[0] == 1
    values = np.asarray(image)
    return values.view(np.uint32) if unsigned else values


def is_inverted(image: Image.Image) -> bool:
    """Return whether an image of mode I or I;16 has a white zero (TIFF), which Pillow inverts at 8 bits only."""
    return bool(getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0)


def _pages(image: Image.Image) -> int:
    if image.format != "TIFF":
        return 1
    with suppress(*DAMAGE):
        return int(getattr(image, "n_frames", 1))
    return 1


def _unknown_tiff(stream: io.BytesIO | Path) -> str:
    """Return what a TIFF file holds that Pillow does not read, or "" for any other file."""
    file = io.BytesIO(stream.read_bytes()) if isinstance(stream, Path) else stream
    file.seek(0)
    start = file.read(16)
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return ""
    with suppress(*DAMAGE):
        large = b"+" in start[:4]
        tags = TiffImagePlugin.ImageFileDirectory_v2(start if large else start[:8])
        file.seek(tags.next)
        tags.load(file)
        bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLES, (1,))
        inverted = ", whose zero is white" * (tags.get(_PHOTOMETRIC) == 0)
        channels = f"{len(bits)} x " * (len(bits) > 1)
        return f"TIFF of {channels}{bits[0]}-bit {_SAMPLE_KINDS.get(kinds[0], 'values of another kind')}{inverted}"
    return ""


def needed_for(suffix: str) -> str | None:
    """Return what this installation lacks to read files of a suffix; None for other files.

    >>> needed_for("txt")
    """
    missing = (name for name, suffixes in _SUFFIXES.items() if suffix in suffixes and name not in FORMATS)
    return next((_NEEDED[name] for name in missing), None)


def passed_over(suffixes: Mapping[str, int]) -> str | None:
    """Return a line that counts files that are no images here, by suffix, with the remedy; None without any.

    Text files beside the images, which hold none, are left out.

    >>> passed_over({"pdf": 2, "csv": 1})
    '2 .pdf'
    """
    found = {suffix: count for suffix, count in sorted(suffixes.items()) if suffix not in _NOTES}
    if not found:
        return None
    line = ", ".join(
        f"{count:,} {f'.{suffix}' if suffix else 'without a suffix'}" for suffix, count in found.items()
    )
    remedies = [
        text.format(f".{suffix}")
        for name, text in _REMEDIES.items()
        if name not in FORMATS
        for suffix in [next((one for one in _SUFFIXES[name] if one in found), None)]
        if suffix
    ]
    return "; ".join([line, *remedies])
