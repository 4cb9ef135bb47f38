"""Images in memory: arrays, lists of images or of paths, and data sets of PyTorch and of ``datasets``."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from entropic_ae.data.archives import rows_tables
from entropic_ae.data.arrays import checked_labels
from entropic_ae.data.decoding import Table, digest
from entropic_ae.data.formats import DAMAGE
from entropic_ae.data.images import ImageData
from entropic_ae.errors import InputError

__all__ = ["Arrays", "encoded", "is_rows", "unpacked"]

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")  # of Pillow, in TIFF
Arrays = tuple[np.ndarray | Tensor, np.ndarray | Tensor | None]


def unpacked(content: Any, source: str) -> ImageData | Arrays | dict[str, Table]:
    """Return images in memory as an ``ImageData``, as arrays of images and labels, or as tables of encoded images.

    Arguments:
        content: an ``ImageData``; an array; a list of arrays, PIL images or paths; a map-style data set of PyTorch
            whose items are images or pairs of image and label; a data set of ``datasets``; or a pair of an array
            or a list, and labels.
        source: name used in error messages.

    Raises: InputError for anything else.

    >>> unpacked([np.zeros((8, 8)), np.ones((8, 8))], "x")[0].shape
    (2, 8, 8)
    """
    if isinstance(content, ImageData):
        return content
    if is_rows(content):
        return rows_tables(content, source, trusted=True)
    images, labels = content if isinstance(content, tuple) and len(content) == 2 else (content, None)
    if isinstance(content, Dataset) and not isinstance(content, IterableDataset):
        images, labels = _items(content, source)
    if isinstance(labels, list):
        labels = np.asarray(labels)
    if isinstance(images, list) and images and (labels is None or isinstance(labels, np.ndarray | Tensor)):
        if all(isinstance(one, str | os.PathLike) for one in images):
            return _listed(source, images, labels, _of_paths)
        if all(isinstance(one, Image.Image) for one in images):
            return _listed(source, images, labels, _of_pictures)
        if all(isinstance(one, np.ndarray | Tensor) for one in images):
            return _stacked(source, images), labels
    if isinstance(images, np.ndarray | Tensor) and (labels is None or isinstance(labels, np.ndarray | Tensor)):
        return images, labels
    raise InputError(
        f"expected {source} to be images, a pair of images and labels, a data set with items by number, or an "
        f"ImageData, got {type(content).__name__}; {_advice(content)}."
    )


def _advice(content: Any) -> str:
    if isinstance(content, DataLoader):
        return "give its data set, loader.dataset"
    if isinstance(content, IterableDataset) or "Iterable" in type(content).__name__:
        return "give its items in a list, list(data)"
    if isinstance(content, Mapping):
        return "give the pair (images, labels)"
    if isinstance(content, Image.Image):
        return "give a list of many images"
    return "give an array, np.stack(images), or a list of images of one kind"


def is_rows(content: Any) -> bool:
    """Return whether this is a ``Dataset`` or ``DatasetDict``; whoever has one has imported ``datasets``."""
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(content, datasets.Dataset | datasets.DatasetDict)


def _items(content: Dataset[Any], source: str) -> tuple[list[Any], np.ndarray | None]:
    """Return the images of a map-style data set, and its labels if each item has a whole number."""
    images, labels = [], []
    for index in range(len(content)):  # type: ignore[arg-type]
        item = content[index]
        if isinstance(item, tuple | list) and item:
            item, label = item[0], item[1] if len(item) > 1 else None
            labels.append(_number(label))
        if not isinstance(item, np.ndarray | Tensor | Image.Image):
            raise InputError(
                f"item {index} of {source} is a {type(item).__name__}, expected an image or a pair of image and "
                "label; give a list of the images."
            )
        images.append(item)
    if not images:
        raise InputError(f"{source} is a data set without items; give at least 10 images.")
    whole = len(labels) == len(images) and all(isinstance(one, int) for one in labels)
    return images, np.array(labels) if whole else None


def _number(label: Any) -> Any:
    """Return a label, that of a tensor or an array as a number of Python."""
    one = isinstance(label, Tensor | np.ndarray | np.generic) and np.prod(label.shape) == 1
    return label.item() if one else label


def _stacked(source: str, images: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(one.detach().cpu() if isinstance(one, Tensor) else one) for one in images]
    kinds = {(one.shape, str(one.dtype)) for one in arrays}
    if len(kinds) > 1:
        some = " and ".join(f"{dtype} of shape {shape}" for shape, dtype in sorted(kinds, key=str)[:2])
        raise InputError(
            f"{source} is a list of arrays that differ, such as {some}, expected one shape and type; resize them, "
            "or give PIL images, which can be resized."
        )
    return np.stack(arrays)


def _listed(source: str, images: list[Any], labels: Any, read: Any) -> dict[str, Table]:
    """Return a list of images or of paths as a table."""
    import datasets

    values = None if labels is None else np.asarray(labels)
    checked = checked_labels(source, len(images), values)
    numbers = None if checked is None else checked.numpy()
    entries, key = read(images)
    classes = None if numbers is None else int(numbers.max()) + 1
    rows = datasets.Dataset.from_dict({"image": entries})
    return {"train": Table(rows, "image", numbers, classes, key, "train")}


def _of_paths(paths: list[Any]) -> tuple[list[str], str]:
    """Return absolute paths, and a key that changes with their files."""
    places = [os.path.abspath(Path(path).expanduser()) for path in paths]  # noqa: PTH100 - keeps links
    stamps = []
    for place in places:
        if not Path(place).is_file():
            raise InputError(f"{place} of the list of images is not a file; give paths of images.")
        status = Path(place).stat()
        stamps.append([place, status.st_size, status.st_mtime_ns])
    return places, digest("paths", stamps)


def _of_pictures(images: list[Image.Image]) -> tuple[list[dict[str, Any]], str]:
    """Return images encoded without loss, damaged ones as nothing, and a digest of them."""
    files = [encoded(image, number) for number, image in enumerate(images)]
    entries = [{"bytes": file, "path": f"image {number}"} for number, file in enumerate(files)]
    return entries, digest("pictures", [hashlib.sha256(file).hexdigest() for file in files])


def encoded(image: Image.Image, number: int) -> bytes:
    """Return a PIL image encoded without loss, or nothing of a damaged one; InputError for an unusual mode."""
    if image.mode not in _MODES:
        raise InputError(f"image {number} has the mode {image.mode}, expected {', '.join(_MODES)}; convert it.")
    stream = io.BytesIO()
    with suppress(*DAMAGE):
        _plain(ImageOps.exif_transpose(image)).save(stream, "TIFF")
    return stream.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """Return an image whose transparency, if it has any, is a channel: TIFF holds no transparent colour."""
    if not image.has_transparency_data or image.mode in ("LA", "RGBA"):
        return image
    return image.convert("LA" if image.mode in ("1", "L") else "RGBA")
