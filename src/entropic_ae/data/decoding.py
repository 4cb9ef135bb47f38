"""Decoding of image formats into a cached table of uint8, through the Arrow cache of ``datasets``.

There are two passes: a scan of the headers, for data of unknown size and channels, and the decoding. Both are
cached under a key of the files and the options, so that a second load is memory-mapped and decodes nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from entropic_ae.data.formats import DAMAGE, Header, header, is_inverted, opened_image, values_of, verify
from entropic_ae.data.images import largest_part
from entropic_ae.storage.files import atomic, locked

if TYPE_CHECKING:
    import datasets

__all__ = [
    "PAGE",
    "Fit",
    "Table",
    "cache_folder",
    "decode",
    "digest",
    "names_of",
    "quiet",
    "scan",
]

PAGE = "page"  # the column of page numbers
_FULL = 65535  # white of 16 bits
_LARGE = 2**28  # bytes
_PART = 2**14  # images per cache file: interrupted decoding loses at most these
_LAYOUT = 3  # version of the cached tables: increase it when decoding changes, to invalidate older caches


class Table(NamedTuple):
    """One split before decoding: rows with an image column, and a key that changes with the files."""

    rows: datasets.Dataset
    column: str
    labels: np.ndarray | None
    classes: int | None
    key: str
    split: str
    folder: Path | None = None  # paths in the image column are relative to it
    trusted: bool = False  # paths in the image column may be opened
    paged: bool = False  # a column PAGE numbers the pages of TIFF files
    skipped: Mapping[str, int] = MappingProxyType({})  # files of the folder that are passed over, by suffix
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Fit:
    """How one decoded image becomes (channels, height, width).

    An image that has the size already is unchanged. If ``pad`` zeros on each side give the size, it is padded.
    Otherwise the largest centre part of the same aspect (the centre square of side ``crop`` if given and not too
    large) is resized, bilinear with antialiasing.

    Attributes:
        white: the value that becomes 255 in images of more than 8 bits; None for 16 bits in use.
        ones: images hold 0 and 1, which become 0 and 255.
    """

    channels: int
    height: int
    width: int
    pad: int = 0
    crop: int | None = None
    white: int | None = None
    ones: bool = False

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the pixels, (C, H, W) uint8."""
        pixels = np.asarray(self.fitted(image))
        return pixels.reshape(self.height, self.width, self.channels).transpose(2, 0, 1)

    def fitted(self, image: Image.Image) -> Image.Image:
        """Return the image in this size, grey or RGB."""
        if image.mode.startswith("I"):
            grey = _eight_bits(image, self.white or _FULL)
            grey.getexif().update(image.getexif())
            image = grey
        image = _opaque(ImageOps.exif_transpose(image)).convert("L" if self.channels == 1 else "RGB")
        if self.ones:
            image = image.point([0, *[255] * 255] * self.channels)
        wanted = (self.width, self.height)
        if self.pad and image.size == (self.width - 2 * self.pad, self.height - 2 * self.pad):
            image = ImageOps.expand(image, self.pad)
        if image.size != wanted:
            image = image.crop(self._part(*image.size)).resize(wanted, Image.Resampling.BILINEAR)
        return image

    def _part(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the part of an image that is resized: left, top, right, bottom."""
        if self.crop:
            wide = high = min(self.crop, width, height)
        else:
            wide, high = largest_part(width, height, self.width, self.height)
        left, top = (width - wide) // 2, (height - high) // 2
        return left, top, left + wide, top + high


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    """Return an image of mode I or I;16 with 8 bits: white becomes 255; 16 bits in use lose the lower 8."""
    values = values_of(image).clip(0, white)
    if (clear := image.info.get("transparency")) is not None:  # one value of a PNG
        values = np.where(values_of(image) == clear, white, values)
    if is_inverted(image):
        values = white - values
    return Image.fromarray((values >> 8 if white == _FULL else np.rint(values * (255 / white))).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image on white where it is transparent."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def digest(*parts: Any) -> str:
    """Return the cache key of these parts."""
    return hashlib.sha256(json.dumps([_LAYOUT, *parts]).encode()).hexdigest()[:32]


def scan(table: Table) -> dict[str, np.ndarray]:
    """Return the fields of ``Header`` for every image; mode "" if it cannot be read."""
    import datasets
    import pyarrow

    def headers(batch: pyarrow.Table) -> pyarrow.Table:
        rows = [row or Header(0, 0, "") for row in _each(header, table, batch)]
        return pyarrow.table(dict(zip(Header._fields, zip(*rows, strict=True), strict=True)))

    texts = {"mode", "reason"}
    features = {name: datasets.Value("string" if name in texts else "int64") for name in Header._fields}
    rows = _mapped(table, headers, features, "scan", 1000)
    return {name: rows.data.column(name).to_numpy() for name in rows.column_names}


def decode(table: Table, fit: Fit, *, shuffled: bool = False) -> tuple[Tensor, np.ndarray, list[str]]:
    """Return the images, uint8 (N, C, H, W), their rows in the table, and the names of damaged images, left out.

    Pixels of more than 256 MiB stay in a memory-mapped cache file. With ``shuffled`` the images come in a fixed
    random order.
    """
    import datasets
    import pyarrow

    size = fit.channels * fit.height * fit.width

    def pixels(stream: io.BytesIO | Path, page: int) -> np.ndarray:
        verify(stream)
        with opened_image(stream, page) as image:
            return fit(image)

    def batch_pixels(batch: pyarrow.Table, indices: list[int], start: int) -> pyarrow.Table:
        found = _each(pixels, table, batch)
        flat = np.zeros((len(found), size), dtype=np.uint8)
        for row, image in zip(flat, found, strict=True):
            if image is not None:
                row[:] = image.reshape(-1)
        names = [
            None if image is not None else _name(entry, f"image {start + index} of {table.split}")
            for image, entry, index in zip(found, batch.column(table.column).to_pylist(), indices, strict=True)
        ]
        values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(flat.reshape(-1)), size)
        return pyarrow.table({"pixels": values, "damaged": pyarrow.array(names, pyarrow.string())})

    features = {"pixels": datasets.Sequence(datasets.Value("uint8"), length=size)}
    features["damaged"] = datasets.Value("string")
    count = max(1, min(1000, 2**24 // size))
    rows = _mapped(table, batch_pixels, features, ["decode", *astuple(fit)], count, with_indices=True)
    damaged = rows.data.column("damaged")
    chosen = np.flatnonzero(damaged.is_null().to_numpy())
    if shuffled:
        chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0)).numpy()]
    file = cache_folder() / f"{digest(table.key, table.split, ['pixels', *astuple(fit), shuffled])}.pixels"
    images = _pixels(rows.data.column("pixels").chunks, chosen, size, file)
    return images.view(-1, fit.channels, fit.height, fit.width), chosen, damaged.drop_null().to_pylist()


def _pixels(chunks: Sequence[Any], chosen: np.ndarray, size: int, file: Path) -> Tensor:
    """Return chosen rows of Arrow's chunks, uint8 (N, size): in memory, or memory-mapped if large."""
    count = len(chosen) * size
    if count <= _LARGE:
        images = np.empty((len(chosen), size), dtype=np.uint8)
        _fill(images, chunks, chosen)
        return torch.from_numpy(images)
    with _one_at_a_time([file]):
        if not file.exists() or file.stat().st_size != count:
            with atomic(file) as path:
                images = np.memmap(path, np.uint8, "w+", shape=(len(chosen), size))
                _fill(images, chunks, chosen)
                images.flush()
    return torch.from_file(str(file), shared=False, size=count, dtype=torch.uint8).view(-1, size)


def _fill(images: np.ndarray, chunks: Sequence[Any], chosen: np.ndarray) -> None:
    """Copy the chosen rows into ``images``, chunk by chunk, so that few are in memory at once."""
    place = np.full(sum(map(len, chunks)), -1)
    place[chosen] = np.arange(len(chosen))
    start = 0
    for chunk in chunks:
        to = place[start : start + len(chunk)]
        images[to[to >= 0]] = chunk.flatten().to_numpy().reshape(len(chunk), -1)[to >= 0]
        start += len(chunk)


def names_of(table: Table) -> list[str] | None:
    """Return the name of the file of each row, below the folder; None unless the rows are files."""
    if table.folder is None:
        return None
    names: list[str] = table.rows.data.column(table.column).to_pylist()
    if not table.paged:
        return names
    pages = table.rows.data.column(PAGE).to_pylist()
    return [f"{name} page {1 + page}" for name, page in zip(names, pages, strict=True)]


def _name(entry: Any, otherwise: str) -> str:
    return entry if isinstance(entry, str) else (entry or {}).get("path") or otherwise


def _each(function: Callable[[Any, int], Any], table: Table, batch: Any) -> list[Any]:
    """Return ``function`` of every image of a batch and its page, None for the damaged ones."""

    def one(entry: Any, page: int) -> Any:
        try:
            if isinstance(entry, str):
                return function((table.folder or Path()) / entry, page)
            if entry["bytes"] is None and table.trusted:
                return function(Path(entry["path"]), page)
            # a path in an untrusted parquet file is not opened: it could name any file of this machine
            return function(io.BytesIO(entry["bytes"] or b""), page)
        except DAMAGE:
            return None

    entries = batch.column(table.column).to_pylist()
    pages = batch.column(PAGE).to_pylist() if table.paged else [0] * len(entries)
    start = time.perf_counter()
    first = list(map(one, entries[:8], pages[:8]))
    if time.perf_counter() - start < 0.002 * len(first):  # threads double the time of small images
        return first + list(map(one, entries[8:], pages[8:]))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the GIL
        return first + list(pool.map(one, entries[8:], pages[8:]))


def _mapped(
    table: Table,
    function: Callable[..., Any],
    features: dict[str, Any],
    job: Any,
    batch_size: int,
    *,
    with_indices: bool = False,
) -> datasets.Dataset:
    """Map the split through ``function`` into the cache, or read it from there."""
    import datasets

    count = len(table.rows)
    keys = {
        start: digest(table.key, table.split, job, *([start] if count > _PART else []))
        for start in range(0, max(count, 1), _PART)
    }
    files = {start: cache_folder() / f"{key}.arrow" for start, key in keys.items()}
    parts = []
    with quiet(count), warnings.catch_warnings(), _one_at_a_time(files.values()):
        warnings.simplefilter("ignore")  # Pillow's warnings about unusual files
        for start, key in keys.items():
            end = min(count, start + _PART)
            part = (
                table.rows.select(range(start, end))
                .with_format("arrow")
                .map(
                    partial(function, start=start) if with_indices else function,
                    batched=True,
                    batch_size=batch_size,
                    writer_batch_size=batch_size,
                    with_indices=with_indices,
                    remove_columns=table.rows.column_names,
                    features=datasets.Features(features),
                    cache_file_name=str(files[start]),
                    load_from_cache_file=True,
                    new_fingerprint=key,
                    desc=f"reading {table.split} images"
                    + (f" {start:,} to {end:,} of {count:,}" if count > _PART else ""),
                )
            )
            parts.append(part)
    return datasets.concatenate_datasets(parts)


@contextmanager
def _one_at_a_time(files: Iterable[Path]) -> Iterator[None]:
    """If a file is missing, hold the lock: a second process waits, then reads what the first one wrote."""
    first, *others = files
    whole = all(file.exists() for file in (first, *others))
    with nullcontext() if whole else locked(first.with_suffix(".lock")):
        yield


def cache_folder() -> Path:
    """Return the folder for decoded images in the cache of ``datasets``, created if missing."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE, "entropic_ae")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def quiet(count: int | None, hub: bool = False) -> Iterator[None]:
    """Silence ``datasets``: progress bars only on a terminal, for downloads or more than 5,000 images."""
    import datasets

    verbosity = datasets.utils.logging.get_verbosity()
    shown = sys.stderr.isatty() and (hub or (count or 0) > 5000)
    hidden = not shown and not datasets.utils.are_progress_bars_disabled()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    if hidden:
        datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        datasets.utils.logging.set_verbosity(verbosity)
        if hidden:
            datasets.utils.enable_progress_bars()
