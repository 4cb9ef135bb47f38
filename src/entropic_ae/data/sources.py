"""The kind of a source of images: a registered data set, the Hub, a folder, a file or images in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from entropic_ae.data.archives import is_saved, saved_tables, tar_tables
from entropic_ae.data.containers import KINDS as ARRAYS
from entropic_ae.data.containers import array_named, holds_arrays, idx_files
from entropic_ae.data.decoding import Table
from entropic_ae.data.folders import image_tables, parquet_tables, suffixes_in
from entropic_ae.data.formats import passed_over
from entropic_ae.data.given import Arrays, unpacked
from entropic_ae.data.hub import HUB_NAME, HUB_SETS, hub_tables
from entropic_ae.data.images import IN_MEMORY, Given, ImageData
from entropic_ae.data.registered import DATASETS, RegisteredData
from entropic_ae.data.streaming import stream_tables
from entropic_ae.errors import InputError
from entropic_ae.storage.json_schema import shown

__all__ = ["PAGES", "Source", "resolve"]

PAGES = "pages:"  # prefix of a TIFF file, or of a folder, of which every page is an image

_KINDS = (
    "a folder of images or of save_to_disk, a .parquet or .tar file, a file of arrays "
    f"({ARRAYS}; FILE:NAME for one array), hf:owner/name or hf-stream:owner/name"
)
_CONVERT = {
    (
        ".pt",
        ".pth",
        ".bin",
    ): "save the tensor by safetensors.torch.save_file({'images': images}, 'images.safetensors')",
    (".tif", ".tiff"): f"put {PAGES} before it to read its pages, or single images into a folder",
    (".pkl", ".pickle", ".joblib"): "save the array by np.save('images.npy', images), as no pickle is opened",
    (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"): "unpack it and give the folder",
    (".mat",): "save the array by np.save('images.npy', scipy.io.loadmat(path)['X'])",
    (".csv", ".tsv", ".txt", ".arff"): "save the pixels by np.save('images.npy', rows.reshape(-1, height, width))",
    (".tfrecord", ".tfrecords", ".record", ".lmdb", ".mdb", ".beton"): "write the images into a folder as PNG",
    (
        ".arrow",
        ".feather",
    ): "give its folder, or write it by datasets.Dataset.from_file(path).to_parquet('a.parquet')",
    (
        ".nii",
        ".dcm",
        ".mha",
        ".nrrd",
    ): "save the slices by np.save('images.npy', slices) and give their value_range",
}


class Source(NamedTuple):
    """A source of images; exactly one of ``tables``, ``path``, ``row`` and ``images`` is set, by its kind.

    Attributes:
        name: of the data set.
        source: the argument with which the images are found again; an absolute path for files and folders.
        tables: encoded images by split, of a folder, parquet files or a data set on the Hub.
        path: a file of arrays, or a folder of IDX files.
        array: the name of the images' array in ``path``; None to find it.
        row: of a registered set.
        images: in memory, or what a custom registered function returns: an ``ImageData``, or images and labels;
            not checked yet.
    """

    name: str
    source: str
    tables: Mapping[str, Table] = MappingProxyType({})
    path: Path | None = None
    array: str | None = None
    row: RegisteredData | None = None
    images: ImageData | Arrays | None = None


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
        return _given("images", IN_MEMORY, source, IN_MEMORY)
    if isinstance(source, str) and source in DATASETS:
        row = DATASETS[source]
        if isinstance(row, RegisteredData):
            return Source(source, source, row=row)
        return _given(source, source, row(), f"the result of the data set '{source}'")
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


def _given(name: str, source: str, content: Given, what: str) -> Source:
    found = unpacked(content, what)
    return Source(name, source, found) if isinstance(found, dict) else Source(name, source, images=found)


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
        return _of_folder(path)
    if not path.exists():
        file, array = array_named(str(path))
        if array is not None and Path(file).is_file():
            return Source(Path(file).stem, str(path), path=Path(file), array=array)
        if isinstance(source, str) and Path(source).name == source and not path.suffix:
            raise InputError(f"there is no folder or file {shown(source)} here; {DATASETS.unknown(source)}")
        raise InputError(f"{path} does not exist; give {_KINDS}.")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder; give {_KINDS}.")
    if holds_arrays(path):
        return Source(path.stem, str(path), path=path)
    if path.suffix.lower() == ".parquet":
        return Source(path.stem, str(path), parquet_tables(path))
    if path.suffix.lower() == ".tar":
        return Source(path.stem, str(path), tar_tables(path))
    how = next((how for suffixes, how in _CONVERT.items() if path.suffix.lower() in suffixes), None)
    raise InputError(
        f"{path} is a file of type '{path.suffix}', expected {_KINDS}; {how or 'put images into a folder'}."
    )


def _of_folder(path: Path) -> Source:
    if is_saved(path):
        return Source(path.name, str(path), saved_tables(path))
    if tables := image_tables(path) or parquet_tables(path) or tar_tables(path):
        return Source(path.name, str(path), tables)
    if idx_files(path):
        return Source(path.name, str(path), path=path)
    others = passed_over(suffixes_in(path))
    raise InputError(
        f"{path} holds no images (.png, .jpg, ...) and no .parquet files"
        f"{f', but {others}' if others else ''}; give a folder that does."
    )
