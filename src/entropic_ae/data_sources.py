"""Where images come from: folders of images, parquet files and the Hub, opened as one table a split.

A table's key is made of what its files are (name, size, time of change): a changed folder is read anew.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from entropic_ae.data_decoding import Table, digest, quiet
from entropic_ae.errors import InputError

if TYPE_CHECKING:
    import datasets

__all__ = [
    "check_remote",
    "checked_arrays",
    "columns",
    "hub_errors",
    "hub_revision",
    "hub_tables",
    "image_tables",
    "known_splits",
    "opened",
    "parquet_tables",
    "read_arrays",
    "split_named",
]

_SUFFIXES = ("png", "jpg", "jpeg", "jfif", "bmp", "gif", "tif", "tiff", "webp", "ppm", "pgm", "pbm")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


# what NumPy raises for a damaged file, or one that claims a size beyond memory
_DAMAGE = (
    *(
        OSError,
        ValueError,
        EOFError,
        LookupError,
        SyntaxError,
        TypeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ),
    *(NotImplementedError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def split_named(name: str) -> str | None:
    """Return train, validation or test for the name of a folder, a Hub split or a file, else None.

    >>> split_named("valid"), split_named("train-00000-of-00002.parquet"), split_named("trainers")
    ('validation', 'train', None)
    """
    return _SPLITS.get(re.split(r"[-_.]", name.lower(), maxsplit=1)[0])


def _stamp(path: Path) -> list[int] | None:
    """Return size and time of change, [-1, -1] if unreadable, None for what is no file."""
    try:
        status = path.stat()
    except OSError:  # a broken link: it counts as a damaged image
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return visible files with these suffixes, sorted, relative to ``folder``; linked folders stay out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        found += [
            Path(root, name).relative_to(folder)
            for name in names
            if not name.startswith(".") and name.rpartition(".")[2].lower() in suffixes
        ]
    return sorted(found)


def _is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8: on Linux a file may have any bytes for one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def image_tables(folder: Path) -> dict[str, Table]:
    """Return the splits of a folder of images, empty if it holds none.

    Subfolders named train, validation and test are splits; below them, or below the folder itself, the
    first subfolder of an image is its class, if every image has one and there are two or more. Other
    files, metadata.csv included, and hidden ones are ignored.
    """
    import datasets

    # not the "imagefolder" builder: it takes test_1.png for a test split, unpacks archives that lie about,
    # and gives up the labels beside a metadata.csv
    stamped = [(path, stamp) for path in _files(folder, _SUFFIXES) if (stamp := _stamp(folder / path))]
    if not stamped:
        return {}
    if odd := [str(path) for path, _ in stamped if not _is_text(str(path))]:
        raise InputError(f"{folder} holds an image whose name is no text, {odd[0]!a}; rename it.")
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
    tables = {}
    for split, members in groups.items():
        labels = np.array([number[path.parts[level]] for path, _ in members]) if len(classes) > 1 else None
        rows = datasets.Dataset.from_dict({"image": [str(path) for path, _ in members]})
        key = digest(str(folder), [[str(path), stamp] for path, stamp in members])
        tables[split] = Table(
            rows, "image", labels, len(classes) if len(classes) > 1 else None, key, split, folder
        )
    return tables


def parquet_tables(path: Path, image: str | None = None, label: str | None = None) -> dict[str, Table]:
    """Return the splits of a parquet file or of a folder of them, empty if it holds none.

    Files named train*, validation* and test*, or standing in folders so named, are splits; without any of
    train all files are one split. ``image`` and ``label`` name the columns; None finds
    them by type, a label of "" leaves labels out.
    """
    import datasets
    import pyarrow

    groups: dict[str, list[Path]] = {}
    found = [path] if path.is_file() else [path / name for name in _files(path, {"parquet"})]
    found = [file for file in found if _stamp(file)]  # no pipe, which would be waited at
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
                f"{path} cannot be read as parquet ({reason}); restore it or write it anew."
            ) from None
        tables[split] = opened(rows, split, str(path), image, label)
    return tables


def hub_tables(name: str, advice: str, image: str | None = None, label: str | None = None) -> dict[str, Table]:
    """Return the splits of the Hub's data set ``name`` (owner/name); ``advice`` ends the offline error."""
    import datasets

    check_remote(name)
    offline = datasets.config.HF_HUB_OFFLINE or hub_revision(name) is None
    before, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, offline
    try:
        with hub_errors(name, advice), quiet(count=None, hub=True):
            splits = known_splits(name, datasets.load_dataset(name))
    finally:
        datasets.config.HF_HUB_OFFLINE = before
    return {split: opened(rows, split, name, image, label, trusted=True) for split, rows in splits.items()}


def check_remote(name: str) -> None:
    """Raise InputError if the current folder has a folder of that name, which datasets would read instead."""
    if Path(name).exists():
        raise InputError(
            f"the folder {name} lies here, and would be read in place of the Hub's data set of that name; give "
            f"./{name} if it is meant, or call from another folder."
        )


def hub_revision(name: str) -> str | None:
    """Return the commit of the Hub's data set, or None if the Hub cannot be reached.

    Raises: InputError if the Hub has no such set.
    """
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    try:  # one short question: load_dataset would try again for half a minute
        return huggingface_hub.HfApi().dataset_info(name, timeout=10).sha
    except RepositoryNotFoundError:
        raise InputError(
            f"the Hugging Face Hub has no public data set '{name}'; check the name, or log in if it is private."
        ) from None
    except Exception:  # its class depends on the release of the Hub's client
        return None


@contextmanager
def hub_errors(name: str, advice: str) -> Iterator[None]:
    """Raise what goes wrong in reading a set of the Hub as InputError; ``advice`` ends it."""
    import datasets

    try:
        yield
    except InputError:
        raise
    except ConnectionError:
        raise InputError(
            f"the data set {name} is not on this machine and the Hugging Face Hub cannot be reached; {advice}"
        ) from None
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the data set {name} cannot be loaded from the Hugging Face Hub ({reason}); {advice}"
        ) from None


def known_splits(name: str, splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a set's splits that are training, validation and test, by these names; a single one trains.

    Raises: InputError if none is for training.
    """
    named = {known: rows for split, rows in splits.items() if (known := split_named(split))}
    if "train" in named:
        return named
    if len(splits) != 1:
        raise InputError(
            f"the data set {name} has no training split, only {', '.join(splits)}; "
            "save the one you want as parquet and give that file."
        )
    return {"train": next(iter(splits.values()))}


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
    if labels and not rows.data.column(labels).null_count:
        values = rows.data.column(labels).to_numpy().astype(np.int64)
        if len(values) and values.min() < 0:  # the Hub marks withheld labels by -1
            values = None
    classes = getattr(rows.features[labels], "num_classes", None) if labels else None
    if classes is None and values is not None and len(values):
        classes = int(values.max()) + 1
    return Table(rows, images, values, classes, digest(rows._fingerprint, images), split, None, trusted)


def columns(
    features: Mapping[str, Any], source: str, image: str | None = None, label: str | None = None
) -> tuple[str, str | None]:
    """Return the columns of the images and of the labels, None without one.

    Arguments:
        features: of the set, as ``datasets`` has them.
        source: what the set is called.
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


def read_arrays(path: Path) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Return the splits of an .npz or .npy file: images uint8 (N, C, H, W), labels int64 (N,) or None."""
    named = _read_numpy(path)
    if "images" in named or len(named) == 1:
        key = "images" if "images" in named else next(iter(named))
        keys = {"train": (key, "labels")}
    elif "train_images" in named:
        short = {"train": "train", "validation": "val", "test": "test"}
        keys = {split: (f"{name}_images", f"{name}_labels") for split, name in short.items()}
    else:
        raise InputError(
            f"{path} holds the arrays {', '.join(named) or '(none)'}, expected images (and labels), one "
            "array, or train_images, val_images, test_images; save the images under one of these names."
        )
    return {
        split: checked_arrays(str(path), named[images], named.get(labels))
        for split, (images, labels) in keys.items()
        if images in named
    }


def checked_arrays(
    source: str, images: np.ndarray | Tensor, labels: np.ndarray | Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return images as uint8 (N, C, H, W) and one label an image as int64 (N,), None where there is none.

    Arguments:
        source: what to call them in a sentence.
        images: uint8, (N, H, W), (N, H, W, C) or (N, C, H, W).
        labels: whole numbers from 0, (N,); others count as none.

    Raises: InputError for images of another type or shape, or another number of labels.

    >>> images, labels = checked_arrays("x", np.zeros((5, 8, 8), np.uint8), np.arange(5))
    >>> images.shape, labels.dtype
    (torch.Size([5, 1, 8, 8]), torch.int64)
    """
    array = _as_array(images)
    return _checked_images(source, array), _checked_labels(
        source, array, None if labels is None else _as_array(labels)
    )


def _as_array(values: np.ndarray | Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)


def _read_numpy(path: Path) -> dict[str, np.ndarray]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {path.stem: content}
        with content:
            return {key: content[key] for key in content.files}
    except _DAMAGE as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} holds pickled objects, which are never opened; expected uint8 images: save them as "
                "one array of dtype uint8."
            ) from None
        raise InputError(f"{path} is damaged or no NumPy file; restore it or save it anew.") from None


def _checked_images(path: str, array: np.ndarray) -> Tensor:
    if array.dtype != np.uint8:
        came = f"{array.dtype}"
        if array.size and np.issubdtype(array.dtype, np.floating):
            finite = array[np.isfinite(array)]
            came += f" from {finite.min():g} to {finite.max():g}" if finite.size else ""
            came += " with NaN or infinity" if finite.size < array.size else ""
        raise InputError(
            f"{path} holds values of {came}, expected uint8 from 0 to 255; scale them to [0, 1] and save "
            "(255 * images).round().astype('uint8')."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise InputError(
            f"{path} holds an array of shape {array.shape}, expected images shaped (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) with C = 1 or 3; reshape them."
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def _checked_labels(path: str, images: np.ndarray, labels: np.ndarray | None) -> Tensor | None:
    """Return one label an image; None for several an image, strings and negative numbers."""
    if labels is None or not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        return None
    if len(labels) != len(images):
        raise InputError(
            f"{path} holds {len(labels)} labels for {len(images)} images, expected as many; "
            "save one label an image."
        )
    return torch.from_numpy(labels.reshape(-1).astype(np.int64)) if labels.min(initial=0) >= 0 else None
