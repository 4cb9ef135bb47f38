"""Table of ``docs/data.md`` of image formats: small files of every kind, written and loaded.

Each set has 12 images of 16 x 16 pixels, a ramp of 17 levels that each image shifts.
"""

from __future__ import annotations

import io
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
from benchmarks.tables import markdown
from PIL import Image

from entropic_ae.data import load_images
from entropic_ae.errors import InputError

Picture = Image.Image
COUNT = 12
_HEAD = ("format", "mode", "bits", "values in the file", "largest", "levels", "outcome")


class Case(NamedTuple):
    """A set of images: the cells that describe it, and how it is written.

    Attributes:
        format, mode, bits, values: the first cells of its row.
        write: called with a folder and the ramps, (12, 16, 16) in [0, 1]; returns the source, None for the folder.
        lossy: the largest value is shown as "about 255", and levels are not counted.
    """

    format: str
    mode: str
    bits: str
    values: str
    write: Callable[[Path, np.ndarray], Path | str | None]
    lossy: bool = False


def ramps() -> np.ndarray:
    """Return the images, (12, 16, 16) in [0, 1], of 17 levels each."""
    ramp = (np.arange(256) * 17 // 256 / 16).reshape(16, 16)
    return np.stack([np.roll(ramp, shift, axis=0) for shift in range(COUNT)])


def tiff(values: np.ndarray, kind: int, photometric: int = 1) -> bytes:
    """Return an uncompressed grey TIFF file of an array, (H, W); ``kind`` is its SampleFormat."""
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    high, wide = values.shape
    tags = {256: wide, 257: high, 258: 8 * values.itemsize, 259: 1, 262: photometric, 273: 0, 277: 1, 278: high}
    tags |= {279: len(content), 339: kind}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content


def png(values: np.ndarray, colour: int) -> bytes:
    """Return a 16-bit PNG file of an array, (H, W, C): colour 2 is RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _scaled(x: np.ndarray, most: float, kind: Any = np.uint16) -> np.ndarray:
    return np.rint(x * most).astype(kind)


def _saved(suffix: str, picture: Callable[[np.ndarray], Picture], **options: Any) -> Any:
    def write(folder: Path, images: np.ndarray) -> None:
        for i, x in enumerate(images):
            picture(x).save(folder / f"{i:02}.{suffix}", **options)

    return write


def _bytes(suffix: str, content: Callable[[np.ndarray], bytes]) -> Any:
    def write(folder: Path, images: np.ndarray) -> None:
        for i, x in enumerate(images):
            (folder / f"{i:02}.{suffix}").write_bytes(content(x))

    return write


def _array(values: Callable[[np.ndarray], np.ndarray]) -> Any:
    def write(folder: Path, images: np.ndarray) -> Path:
        np.save(folder / "images.npy", values(images))
        return folder / "images.npy"

    return write


def _in(mode: str, most: float = 255) -> Callable[[np.ndarray], Picture]:
    return lambda x: Image.fromarray(_scaled(x, most, np.uint8)).convert(mode)


def _grey(most: int, kind: Any = np.uint16) -> Callable[[np.ndarray], Picture]:
    return lambda x: Image.fromarray(_scaled(x, most, kind))


def _colour(most: int, layers: int = 3, alpha: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    def values(x: np.ndarray) -> np.ndarray:
        stack = [_scaled(x, most)] * layers + [np.full(x.shape, 65535, np.uint16)] * alpha
        return np.stack(stack, axis=2)

    return values


def _clear(x: np.ndarray) -> Picture:
    picture = _in("L")(x).convert("LA")
    picture.putalpha(Image.fromarray(np.where(x > 0, 255, 0).astype(np.uint8)))
    return picture


def _palette(x: np.ndarray) -> Picture:
    picture = Image.fromarray(_scaled(x, 16, np.uint8))
    picture = picture.convert("P")
    picture.putpalette([level for k in range(17) for level in (round(k * 255 / 16),) * 3])
    return picture


def _pages(folder: Path, images: np.ndarray, *, request: bool) -> str | None:
    for i, x in enumerate(images):
        first, *others = (_in("L")(np.roll(x, 5 * page, axis=1)) for page in range(3))
        first.save(folder / f"{i:02}.tif", save_all=True, append_images=others)
    return f"pages:{folder}" if request else None


def _stack(folder: Path, images: np.ndarray) -> str:
    pages = [_in("L")(x) for x in images]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    return f"pages:{folder / 'stack.tif'}"


def _beside(folder: Path, images: np.ndarray) -> None:
    _saved("png", _in("L"))(folder, images)
    for name in ("a.pdf", "b.pdf", "c.dcm", "notes.csv"):
        (folder / name).touch()


def _parquet(folder: Path, images: np.ndarray, *, most: int) -> Path:
    rows = []
    for x in images:
        stream = io.BytesIO()
        _grey(most)(x).save(stream, "PNG")
        rows.append({"image": {"bytes": stream.getvalue(), "path": None}})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "images.parquet")
    return folder / "images.parquet"


def cases() -> Iterator[Case]:
    """Yield the sets that the table shows."""
    full, twelve = "0 to 65,535", "0 to 4,095"
    # 8 bits and fewer
    for name, suffix, modes in (
        ("PNG", "png", ("1", "L", "RGB", "RGBA")),
        ("BMP", "bmp", ("1", "L", "RGB")),
        ("GIF", "gif", ("L", "RGB")),
        ("TIFF", "tif", ("1", "L", "RGB", "CMYK", "YCbCr", "LAB")),
    ):
        for mode in modes:
            bits = "1" if mode == "1" else "8"
            values = "0 and 1" if mode == "1" else "0 to 255"
            yield Case(name, mode, bits, values, _saved(suffix, _in(mode)), lossy=mode == "LAB")
    yield Case("PNG", "P", "8", "palette of 17 greys", _saved("png", _palette))
    yield Case("PNG", "LA", "8", "0 to 255, black is transparent", _saved("png", _clear))
    yield Case("PNG", "L", "8", "0 and 1", _saved("png", _in("L", 1)))
    yield Case("PNG", "L", "8", "0 to 16", _saved("png", _in("L", 16)))
    yield Case(
        "TIFF", "L, zero is white", "8", "0 to 255", _bytes("tif", lambda x: tiff(_scaled(x, 255, np.uint8), 1, 0))
    )
    yield Case("WEBP", "RGB, lossless", "8", "0 to 255", _saved("webp", _in("RGB"), lossless=True))
    for mode in ("L", "RGB", "CMYK"):
        yield Case("JPEG", mode, "8", "0 to 255", _saved("jpg", _in(mode), quality=95), lossy=True)
    yield Case("AVIF", "RGB", "8", "0 to 255", _saved("avif", _in("RGB"), quality=95), lossy=True)
    yield Case("HEIC", "RGB", "8", "0 to 255", _saved("heic", _in("RGB"), quality=95), lossy=True)
    yield Case("JPEG 2000", "L", "8", "0 to 255", _saved("jp2", _in("L")))
    yield Case("JPEG 2000", "RGB", "8", "0 to 255", _saved("jp2", _in("RGB")))
    yield Case("PBM", "1", "1", "0 and 1", _saved("pbm", _in("1")))
    yield Case("PGM", "L", "8", "0 to 255", _saved("pgm", _in("L")))
    yield Case("PPM", "RGB", "8", "0 to 255", _saved("ppm", _in("RGB")))
    # more than 8 bits, grey
    for most in (65535, 16383, 4095, 1023, 255, 1):
        values = "0 and 1" if most == 1 else f"0 to {most:,}"
        yield Case("PNG", "I;16", "16", values, _saved("png", _grey(most)))
    yield Case("PNG", "I;16", "16", "0 to 65,535, 0 is transparent", _saved("png", _grey(65535), transparency=0))
    yield Case("PNG", "LA", "16", full, _bytes("png", lambda x: png(_colour(65535, 1, True)(x), 4)))
    yield Case("PNG", "LA", "16", twelve, _bytes("png", lambda x: png(_colour(4095, 1, True)(x), 4)))
    yield Case("JPEG 2000", "I;16", "16", twelve, _saved("jp2", _grey(4095)))
    for most in (65535, 4095):
        yield Case(
            "PGM",
            "I",
            "16",
            f"0 to {most:,}",
            _bytes("pgm", lambda x, m=most: b"P5 16 16 65535\n" + _scaled(x, m, ">u2").tobytes()),
        )
    yield Case(
        "PGM", "I", "12", twelve, _bytes("pgm", lambda x: b"P5 16 16 4095\n" + _scaled(x, 4095, ">u2").tobytes())
    )
    for kind, dtype, sample, values in (
        ("unsigned", np.uint16, 1, (65535, 4095)),
        ("signed", np.int16, 2, (4095,)),
        ("signed", np.int32, 2, (4095, 1_000_000)),
        ("unsigned", np.uint32, 1, (4095, 4_000_000_000)),
        ("floating point", np.float32, 3, (1,)),
        ("floating point", np.float64, 3, (1,)),
        ("unsigned", np.uint64, 1, (65535,)),
    ):
        for most in values:
            floats = np.issubdtype(dtype, np.floating)
            cast = partial(np.multiply, most) if floats else partial(_scaled, most=most, kind=dtype)
            yield Case(
                *("TIFF", kind, str(8 * np.dtype(dtype).itemsize), f"0 to {most:,}"),
                _bytes("tif", lambda x, c=cast, d=dtype, s=sample: tiff(c(x).astype(d), s)),
            )
    yield Case(
        *("TIFF", "signed", "16", "-1,000 to 1,000"),
        _bytes("tif", lambda x: tiff((_scaled(x, 2000, np.int16) - 1000).astype(np.int16), 2)),
    )
    for most in (65535, 4095):
        inverted = _bytes("tif", lambda x, m=most: tiff(_scaled(x, m), 1, 0))
        yield Case("TIFF", "unsigned, zero is white", "16", f"0 to {most:,}", inverted)
    # more than 8 bits, colour
    for most in (65535, 4095):
        yield Case("PNG", "RGB", "16", f"0 to {most:,}", _bytes("png", lambda x, m=most: png(_colour(m)(x), 2)))
        yield Case(
            "PNG", "RGBA", "16", f"0 to {most:,}", _bytes("png", lambda x, m=most: png(_colour(m, 3, True)(x), 6))
        )
        head = b"P6 16 16 65535\n"
        yield Case(
            *("PPM", "RGB", "16", f"0 to {most:,}"),
            _bytes("ppm", lambda x, m=most, h=head: h + _colour(m)(x).astype(">u2").tobytes()),
        )
    # files of several images, and other files
    yield Case("TIFF", "L, 3 pages a file", "8", "0 to 255", partial(_pages, request=False))
    yield Case("TIFF", "L, 3 pages a file, `pages:FOLDER`", "8", "0 to 255", partial(_pages, request=True))
    yield Case("TIFF", "L, 12 pages, `pages:FILE`", "8", "0 to 255", _stack)
    yield Case("PNG, PDF, DICOM and CSV", "L", "8", "0 to 255", _beside)
    yield Case("parquet of PNG", "I;16", "16", twelve, partial(_parquet, most=4095))
    yield Case("parquet of PNG", "I;16", "16", full, partial(_parquet, most=65535))
    # arrays
    for dtype, most in ((np.uint8, 255), (np.uint8, 1), (np.uint8, 16), (bool, 1)):
        values = "0 and 1" if most == 1 else f"0 to {most}"
        yield Case("array", np.dtype(dtype).name, "8", values, _array(partial(_scaled, most=most, kind=dtype)))
    yield Case("array", "uint8, (64, 64, 3)", "8", "0 to 255", _array(lambda _: np.zeros((64, 64, 3), np.uint8)))
    for dtype, most in ((np.uint16, 4095), (np.int64, 255), (np.float32, 1)):
        cast = partial(_scaled, most=most, kind=dtype)
        bits = str(8 * np.dtype(dtype).itemsize)
        yield Case("array", np.dtype(dtype).name, bits, f"0 to {most:,}", _array(cast))


def row(case: Case, folder: Path) -> list[str]:
    """Write a set into an empty folder, load it, and return the cells of its row."""
    described = list(case[:4])
    source = case.write(folder, ramps()) or folder
    path = str(source).removeprefix("pages:")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        try:
            data = load_images(source)
        except InputError as error:
            return [*described, "", "", f"refused: {_plain(str(error), path)}"]
    images = [split.images for split in (data.train, data.validation, data.test)]
    most = max(int(part.max()) for part in images)
    levels = len({level for part in images for level in part.unique().tolist()})
    count = sum(map(len, images))
    told = [_plain(str(one.message), path) for one in said if issubclass(one.category, UserWarning)]
    shown = ["about 255" if most > 240 else str(most), ""] if case.lossy else [str(most), str(levels)]
    read = f"read{f', {count} images' if count != COUNT else ''}"
    return [*described, *shown, "; ".join([read, *(f"told: {one}" for one in told)])]


def _plain(message: str, path: str) -> str:
    return message.replace(path, "SOURCE").replace("|", "\\|").rstrip(".").replace("<", "&lt;")


def rows() -> list[list[str]]:
    """Return the cells of all rows."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as place:
        datasets.config.HF_DATASETS_CACHE = Path(place, "cache")
        try:
            found = []
            for i, case in enumerate(cases()):
                folder = Path(place, f"set{i}")
                folder.mkdir()
                found.append(row(case, folder))
            return found
        finally:
            datasets.config.HF_DATASETS_CACHE = before


def formats(_: Path) -> str:
    """Return the table."""
    return markdown(_HEAD, rows())
