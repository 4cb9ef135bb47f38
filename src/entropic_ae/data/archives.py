"""Folders of ``datasets``' ``save_to_disk`` and WebDataset tars, opened as one table per split."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from entropic_ae.data.decoding import Table, cache_folder, digest, quiet
from entropic_ae.data.folders import opened, split_named
from entropic_ae.data.formats import SUFFIXES
from entropic_ae.data.hub import known_splits
from entropic_ae.errors import InputError
from entropic_ae.storage.files import atomic, locked, read_json

if TYPE_CHECKING:
    import datasets

__all__ = ["is_saved", "rows_tables", "saved_tables", "tar_tables"]

_STATE, _SPLITS = "state.json", "dataset_dict.json"  # files of a saved Dataset and DatasetDict
_ABOUT = "dataset_info.json"  # beside each state
_AT_ONCE = 64  # encoded images in memory


def is_saved(folder: Path) -> bool:
    """Return whether a folder was written by ``save_to_disk``.

    >>> is_saved(Path("/nowhere"))
    False
    """
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def saved_tables(folder: Path) -> dict[str, Table]:
    """Return the splits of a folder of ``save_to_disk``; paths in its image column are not opened."""
    import datasets
    import pyarrow

    try:
        states = [folder / _STATE] if (folder / _STATE).is_file() else sorted(folder.glob(f"*/{_STATE}"))
        names = [(one.parent, file["filename"]) for one in states for file in read_json(one)["_data_files"]]
        if any(Path(name).name != name for _, name in names):
            raise ValueError("a file outside of the folder")
        needed = [place / name for place, name in names] + [one.with_name(_ABOUT) for one in states]
        if absent := [one for one in needed if not one.is_file()]:  # opening a pipe would wait
            raise ValueError(f"no file {absent[0].name}")
        with quiet(count=None):
            loaded = datasets.load_from_disk(str(folder))
        stamps = [_stamp(place / name) for place, name in names]
    except (
        *(datasets.exceptions.DatasetsError, pyarrow.ArrowException),
        *(OSError, ValueError, LookupError, TypeError, AttributeError, InputError),
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{folder} cannot be read as a folder of save_to_disk ({reason}); restore it or save it again."
        ) from None
    return rows_tables(loaded, str(folder), stamps)


def rows_tables(
    loaded: datasets.Dataset | datasets.DatasetDict, source: str, stamps: Any = None, *, trusted: bool = False
) -> dict[str, Table]:
    """Return the splits of a loaded data set.

    Arguments:
        loaded: with a column of encoded images in each split.
        source: name used in error messages.
        stamps: what changes with the content, beside its fingerprint.
        trusted: paths in the image column may be opened.
    """
    import datasets

    splits = known_splits(source, loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    tables = {}
    for split, rows in splits.items():
        if rows.format["type"] == "custom":
            raise InputError(
                f"{source} has a transform (set_transform), which would not be applied; apply it by map, or give "
                "the transformed images as an array."
            )
        table = opened(rows, split, source, trusted=trusted)
        named = _paths(rows, table.column) if trusted else []
        tables[split] = table._replace(key=digest(table.key, stamps, named))
    return tables


def _paths(rows: datasets.Dataset, column: str) -> list[Any]:
    """Return the paths in an image column that are opened, with their stamps: a changed file is read again."""
    import pyarrow.compute as pc

    entries = rows.data.column(column)
    outside = pc.is_null(pc.struct_field(entries, "bytes"))
    paths = pc.filter(pc.struct_field(entries, "path"), outside).to_pylist()
    return [[path, _stamp(Path(path))] for path in paths if path is not None]


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def tar_tables(path: Path) -> dict[str, Table]:
    """Return the splits of a WebDataset tar, or of a folder of them, empty if it holds none.

    Files of one name up to the first dot are one sample: an image by its suffix, and its label, a whole number in
    a .cls file. Tars named train*, validation* or test* form splits; without training tars all form one split.

    Raises: InputError if a tar is damaged, or has two images of one sample.
    """
    groups: dict[str, list[Path]] = {}
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*.tar") if one.is_file())
    for file in found:
        groups.setdefault(split_named(file.name) or "", []).append(file)
    if "train" not in groups or path.is_file():
        groups = {"train": found} if found else {}
    return {split: _tar_table(files, split, str(path)) for split, files in groups.items() if split}


def _tar_table(files: list[Path], split: str, source: str) -> Table:
    """Copy the images and labels of tars into the cache, and open the copy."""
    import datasets
    import pyarrow

    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"image": image, "label": pyarrow.int64()})
    key = digest("tar", [[str(file), _stamp(file)] for file in files])
    copy = cache_folder() / f"{key}.arrow"
    with locked(copy.with_suffix(".lock")):
        if not copy.is_file():
            samples = (sample for file in files for sample in _samples(file))
            with (
                atomic(copy) as place,
                pyarrow.OSFile(str(place), "wb") as file,
                pyarrow.ipc.new_stream(file, schema) as writer,
            ):
                while part := list(islice(samples, _AT_ONCE)):
                    writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))
    return opened(datasets.Dataset.from_file(str(copy)), split, source)._replace(key=key)


def _samples(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a tar that have an image."""
    key, members = "", dict[str, tuple[str, bytes]]()
    try:
        with file.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if not member.isreg() or member.issparse() or name.startswith("."):
                    continue
                stem, _, extension = name.partition(".")
                if f"{folder}/{stem}" != key:
                    yield from _sample(file, members)
                    key, members = f"{folder}/{stem}", {}
                content = tar.extractfile(member)
                if content is not None and (extension.lower() in SUFFIXES or extension.lower() == "cls"):
                    members[extension.lower()] = (member.name, content.read())
            _check_end(raw, tar.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is damaged or not a tar file; restore it or write it again.") from None
    yield from _sample(file, members)


def _check_end(raw: BinaryIO, end: int) -> None:
    """Raise ReadError unless only zeros follow: tarfile takes a damaged or missing header for the end."""
    raw.seek(end)
    blocks = iter(lambda: raw.read(tarfile.BLOCKSIZE), b"")
    if any(next(blocks, b"none")) or any(map(any, blocks)):
        raise tarfile.ReadError("no end of the archive")


def _sample(file: Path, members: Mapping[str, tuple[str, bytes]]) -> Iterator[dict[str, Any]]:
    images = [value for extension, value in members.items() if extension != "cls"]
    if len(images) > 1:
        raise InputError(
            f"{file} has {' and '.join(name for name, _ in images)} in one sample, expected one image; leave one."
        )
    if images:
        (name, content), (_, label) = images[0], members.get("cls", ("", b""))
        text = label.strip()
        yield {"image": {"bytes": content, "path": name}, "label": int(text) if text.isdigit() else None}
