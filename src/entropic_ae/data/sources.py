"""The kind of a source of images: a registered data set, the Hub, a folder, a file or images in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entropic_ae.data.decoding import Table
from entropic_ae.data.folders import image_tables, parquet_tables, suffixes_in
from entropic_ae.data.formats import passed_over
from entropic_ae.data.hub import HUB_NAME, HUB_SETS, hub_tables
from entropic_ae.data.images import IN_MEMORY, Given
from entropic_ae.data.registered import DATASETS, RegisteredData
from entropic_ae.data.streaming import stream_tables
from entropic_ae.errors import InputError

__all__ = ["PAGES", "Source", "resolve"]

PAGES = "pages:"  # prefix of a TIFF file, or of a folder, of which every page is an image

_KINDS = "a folder of images, a .parquet, .npz or .npy file, hf:owner/name or hf-stream:owner/name"


class Source(NamedTuple):
    """A source of images; exactly one of ``tables``, ``path``, ``row`` and ``images`` is set, by its kind.

    Attributes:
        name: of the data set.
        source: the argument with which the images are found again; an absolute path for files and folders.
        tables: encoded images by split, of a folder, parquet files or a data set on the Hub.
        path: an .npz or .npy file.
        row: of a registered set.
        images: in memory, or what a custom registered function returns; not checked yet.
    """

    name: str
    source: str
    tables: Mapping[str, Table] = MappingProxyType({})
    path: Path | None = None
    row: RegisteredData | None = None
    images: Any = None


def resolve(source: str | Path | Given, side: int | None = None) -> Source:
    """Return the source with its kind; nothing is decoded, except by a stream.

    Arguments:
        source: as for ``load_images``.
        side: side in pixels of the square that a stream stores of each image.

    Raises: InputError if the source is unknown, missing or of an unknown kind.

    >>> resolve("digits").row.size
    8
    """
    if not isinstance(source, str | Path):
        return Source("images", IN_MEMORY, images=source)
    if isinstance(source, str) and source in DATASETS:
        row = DATASETS[source]
        if isinstance(row, RegisteredData):
            return Source(source, source, row=row)
        return Source(source, source, images=row())
    if not str(source).strip():
        raise InputError(f"no data set was named; give one of {', '.join(sorted(DATASETS))}, or {_KINDS}.")
    if isinstance(source, str) and source.startswith(HUB_SETS):
        return _of_hub(source, side)
    if isinstance(source, str) and source.startswith(PAGES):
        return _of_pages(source.removeprefix(PAGES))
    return _on_disk(source)


def _of_pages(source: str) -> Source:
    path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100 - resolve() would follow links
    tables = image_tables(path, paged=True) if path.is_dir() or path.is_file() else {}
    if not tables:
        raise InputError(f"{path} is no TIFF file and no folder of images; give {PAGES}FILE.tif or {PAGES}FOLDER.")
    return Source(path.stem if path.is_file() else path.name, f"{PAGES}{path}", tables)


def _of_hub(source: str, side: int | None) -> Source:
    kind, _, name = source.partition(":")
    if not re.fullmatch(HUB_NAME, name, re.ASCII):
        raise InputError(f"expected {kind}:owner/name, got '{source}'; give both owner and name.")
    streamed = kind == "hf-stream"
    tables = stream_tables(name, side) if streamed else hub_tables(name, "go online or give a folder or a file.")
    return Source(name.partition("/")[2], source, tables)


def _on_disk(source: str | Path) -> Source:
    path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100 - resolve() would follow links
    if path.is_dir():
        tables = image_tables(path) or parquet_tables(path)
        if not tables:
            others = passed_over(suffixes_in(path))
            raise InputError(
                f"{path} holds no images (.png, .jpg, ...) and no .parquet files"
                f"{f', but {others}' if others else ''}; give a folder that does."
            )
        return Source(path.name, str(path), tables)
    if not path.exists():
        if isinstance(source, str) and Path(source).name == source and not path.suffix:
            raise DATASETS.unknown(source, f"; no folder or file has that name either: {_KINDS}")
        raise InputError(f"{path} does not exist; give {_KINDS}.")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder; give {_KINDS}.")
    if path.suffix.lower() == ".parquet":
        return Source(path.stem, str(path), parquet_tables(path))
    if path.suffix.lower() not in (".npz", ".npy"):
        raise InputError(
            f"{path} is a file of type '{path.suffix}', expected {_KINDS}; put single images into a folder."
        )
    return Source(path.stem, str(path), path=path)
