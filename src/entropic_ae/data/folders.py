"""Folders of images and parquet files, opened as one table per split.

A table's key is made of the names, sizes and modification times of its files: a changed folder is read again.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from entropic_ae.data.decoding import PAGE, Table, digest, quiet
from entropic_ae.data.formats import DAMAGE, SUFFIXES, opened_image
from entropic_ae.errors import InputError

if TYPE_CHECKING:
    import datasets

__all__ = ["columns", "image_tables", "opened", "parquet_tables", "split_named", "suffixes_in"]

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_named(name: str) -> str | None:
    """Return train, validation or test for the name of a folder, a Hub split or a file, else None.

    >>> split_named("valid"), split_named("train-00000-of-00002.parquet"), split_named("trainers")
    ('validation', 'train', None)
    """
    return _SPLITS.get(re.split(r"[-_.]", name.lower(), maxsplit=1)[0])


def _stamp(path: Path) -> list[int] | None:
    """Return size and modification time, [-1, -1] if unreadable, None if it is not a file."""
    try:
        status = path.stat()
    except OSError:  # a broken link: it counts as a damaged image
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def _files(folder: Path) -> list[Path]:
    """Return visible files, sorted, relative to ``folder``; folder links are skipped."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        found += [Path(root, name).relative_to(folder) for name in names if not name.startswith(".")]
    return sorted(found)


def _suffix(name: str) -> str:
    """Return the suffix of a file's name without the dot, in small letters; "" without one."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def suffixes_in(folder: Path) -> Counter[str]:
    """Return the number of visible files of a folder by suffix.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "a.HEIC").touch()
    >>> suffixes_in(folder)
    Counter({'heic': 1})
    """
    return Counter(_suffix(path.name) for path in _files(folder))


def _is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8: on Linux a file name may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def image_tables(folder: Path, *, paged: bool = False) -> dict[str, Table]:
    """Return the splits of a folder of images, empty if it holds none.

    Subfolders named train, validation and test are splits; below them, or below the folder itself, the
    first subfolder of an image is its class, if every image has one and there are two or more. Hidden files are
    ignored; other files, metadata.csv included, are counted by suffix in ``Table.skipped`` of one table.

    Arguments:
        folder: the folder, or one TIFF file.
        paged: every page of a TIFF file is an image, instead of the first.
    """
    import datasets

    # not the "imagefolder" builder: it treats test_1.png as a test split, unpacks any archives, and drops
    # the labels if there is a metadata.csv
    files = [Path(folder.name)] if folder.is_file() else _files(folder)
    folder = folder.parent if folder.is_file() else folder
    stamped = [
        (path, stamp) for path in files if _suffix(path.name) in SUFFIXES and (stamp := _stamp(folder / path))
    ]
    if not stamped:
        return {}
    skipped = Counter(
        suffix for path in files if (suffix := _suffix(path.name)) not in SUFFIXES and _stamp(folder / path)
    )
    if odd := [str(path) for path, _ in stamped if not _is_text(str(path))]:
        raise InputError(f"{folder} holds an image whose name is not valid UTF-8, {odd[0]!a}; rename it.")
    tops = {path.parts[0] for path, _ in stamped if len(path.parts) > 1}
    named = {name: split for name in tops if (split := _SPLITS.get(name.lower()))}
    held_out = {"validation", "test"} & set(named.values())
    whole = "train" not in named.values() or (not held_out and len(tops) > 1)
    outside = [path for path, _ in stamped if path.parts[0] not in named]
    if outside and not whole:
        raise InputError(
            f"{folder} has subfolders {', '.join(sorted(named))}, but also images outside them "
            f"(such as {outside[0]}); move those into one of the subfolders."
        )
    groups: dict[str, list[tuple[Path, list[int]]]] = {}
    for path, stamp in stamped:
        groups.setdefault("train" if whole else named[path.parts[0]], []).append((path, stamp))
    level = 0 if whole else 1
    labelled = all(len(path.parts) > level + 1 for path, _ in stamped)
    classes = sorted({path.parts[level] for path, _ in stamped}) if labelled else []
    number = {name: index for index, name in enumerate(classes)}
    tables: dict[str, Table] = {}
    for split, members in groups.items():
        pages = [range(_pages(folder / path) if paged else 1) for path, _ in members]
        paths = [path for (path, _), numbers in zip(members, pages, strict=True) for _ in numbers]
        columns = {"image": list(map(str, paths)), **({PAGE: list(chain(*pages))} if paged else {})}
        tables[split] = Table(
            rows=datasets.Dataset.from_dict(columns),
            column="image",
            labels=np.array([number[path.parts[level]] for path in paths]) if len(classes) > 1 else None,
            classes=len(classes) if len(classes) > 1 else None,
            key=digest(str(folder), [[str(path), stamp] for path, stamp in members], paged),
            split=split,
            folder=folder,
            paged=paged,
            skipped=MappingProxyType({} if tables else skipped),
            class_names=tuple(classes) if len(classes) > 1 else None,
        )
    return tables


def _pages(path: Path) -> int:
    """Return the number of pages of a TIFF file; 1 for others, also for damaged ones, which decoding reports."""
    try:
        with opened_image(path) as image:
            return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    except DAMAGE:
        return 1


def parquet_tables(path: Path, image: str | None = None, label: str | None = None) -> dict[str, Table]:
    """Return the splits of a parquet file or of a folder of them, empty if it holds none.

    Files named train*, validation* or test*, or in folders of these names, form splits; without training files,
    all files form one split. ``image`` and ``label`` name the columns; None finds them by type, and a label of ""
    leaves labels out.
    """
    import datasets
    import pyarrow

    groups: dict[str, list[Path]] = {}
    found = [path] if path.is_file() else [path / name for name in _files(path)]
    # skips pipes: opening one would block
    found = [file for file in found if path.is_file() or (_suffix(file.name) == "parquet" and _stamp(file))]
    for file in found:
        split = split_named(file.name) or split_named(file.parent.name if file.parent != path else "")
        groups.setdefault(split or "", []).append(file)
    if "train" not in groups or path.is_file():
        groups = {"train": found} if found else {}
    tables = {}
    for split, files in groups.items():
        if not split:
            continue
        try:
            with quiet(count=None):
                names = [glob.escape(str(file)) for file in files]
                rows = datasets.load_dataset("parquet", data_files={split: names}, split=split)
        except (datasets.exceptions.DatasetsError, pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise InputError(
                f"{path} cannot be read as parquet ({reason}); restore it or write it again."
            ) from None
        tables[split] = opened(rows, split, str(path), image, label)
    return tables


def opened(
    rows: datasets.Dataset,
    split: str,
    source: str,
    image: str | None = None,
    label: str | None = None,
    *,
    trusted: bool = False,
) -> Table:
    """Return a loaded split as a table; the columns and errors are those of ``columns``."""
    images, labels = columns(rows.features, source, image, label)
    values = None
    column = rows.select_columns([labels]).with_format("arrow")[:].column(labels) if labels else None
    if column is not None and not column.null_count:  # of the rows selected, in their order
        values = column.to_numpy().astype(np.int64)
        if len(values) and values.min() < 0:  # the Hub marks withheld labels by -1
            values = None
    classes = getattr(rows.features[labels], "num_classes", None) if labels else None
    if classes is None and values is not None and len(values):
        classes = int(values.max()) + 1
    names = getattr(rows.features[labels], "names", None) if labels else None
    return Table(
        rows,
        images,
        values,
        classes,
        digest(rows._fingerprint, images),
        split,
        trusted=trusted,
        class_names=tuple(map(str, names)) if names else None,
    )


def columns(
    features: Mapping[str, Any], source: str, image: str | None = None, label: str | None = None
) -> tuple[str, str | None]:
    """Return the columns of the images and of the labels, None without one.

    Arguments:
        features: of a data set of ``datasets``.
        source: name used in error messages.
        image, label: their names; None finds them by type, a label of "" leaves labels out.

    Raises: InputError if no column holds images.
    """
    import datasets

    images = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.Image) or (isinstance(feature, dict) and "bytes" in feature)
    ]
    images = [name for name in images if image in (None, name)]
    if not images:
        raise InputError(
            f"{source} has no image column{f' {image}' if image else ''}, only {', '.join(features)}; "
            "expected a column of encoded images, as datasets.Image() writes it."
        )
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    labels += [
        name
        for name in ("label", "labels")
        if isinstance(features.get(name), datasets.Value) and re.match("u?int", features[name].dtype)
    ]
    labels = [name for name in labels if label in (None, name)]
    return images[0], labels[0] if labels else None
