"""Arrays of images, of files and in memory, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entropic_ae.data.containers import named_arrays
from entropic_ae.errors import InputError, warn

__all__ = ["Range", "checked_arrays", "checked_labels", "read_arrays", "scaled"]

_ROWS = 1000  # images scaled at a time
_SLACK = 1e-5  # of the range, for rounded values
Range = tuple[float, float]
_SHORT = {"train": "train", "validation": "val", "test": "test"}
# names of the images and labels of each split: this library's, MedMNIST's, and Keras'
_LAYOUTS = (
    {"train": ("images", "labels")},
    {split: (f"{name}_images", f"{name}_labels") for split, name in _SHORT.items()},
    {split: (f"x_{name}", f"y_{name}") for split, name in _SHORT.items()},
)


def read_arrays(
    path: Path, name: str | None = None, value_range: Range | None = None
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Return the splits of a file of arrays: images uint8 (N, C, H, W), labels int64 (N,) or None.

    Arguments:
        path: the file, or a folder of IDX files.
        name: of the images' array; default: one of the known layouts, or the only array. Its labels are the array
            of the same name with labels for images, or y for x.
        value_range: as for ``load_images``.
    """
    found = named_arrays(path)
    if name is not None:
        if name not in found:
            raise InputError(f"{path} has no array '{name}', only {', '.join(found) or '(none)'}; name one.")
        layout = {"train": (name, _labels_of(name, found))}
    elif len(found) == 1:
        layout = {"train": (next(iter(found)), "")}
    else:
        known = (one for one in _LAYOUTS if one["train"][0] in found)
        layout = next(known, {})
    if not layout:
        raise InputError(
            f"{path} holds the arrays {', '.join(found) or '(none)'}, expected images (and labels), one "
            f"array, or train_images, val_images, test_images; name the images: {path}:NAME."
        )
    return {
        split: checked_arrays(
            str(path), found[images](), found[labels]() if labels in found else None, value_range=value_range
        )
        for split, (images, labels) in layout.items()
        if images in found
    }


def _labels_of(name: str, names: Collection[str]) -> str:
    """Return the name of the labels that belong to images by name; "" without.

    >>> _labels_of("x_train", ["x_train", "y_train"]), _labels_of("a/images", ["a/images", "a/labels"])
    ('y_train', 'a/labels')
    """
    folder, slash, last = name.rpartition("/")
    tries = (re.sub("image", "label", last), re.sub("^x(?=_|$)", "y", last), re.sub("^X(?=_|$)", "Y", last))
    return next((one for one in (folder + slash + other for other in tries) if one != name and one in names), "")


def checked_arrays(
    source: str,
    images: np.ndarray | Tensor,
    labels: np.ndarray | Tensor | None = None,
    *,
    value_range: Range | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return images as uint8 (N, C, H, W) and labels as int64 (N,), or None without labels.

    Arguments:
        source: name used in error messages.
        images: uint8 or bool, (N, H, W), (N, H, W, C) or (N, C, H, W).
        labels: non-negative integers, (N,); any others are ignored.
        value_range: the values of black and white, for images of any type of number; None for uint8.

    Raises: InputError for images of a wrong dtype or shape, or if there is not one label per image.

    >>> images, labels = checked_arrays("x", np.zeros((5, 8, 8), np.uint8), np.arange(5))
    >>> images.shape, labels.dtype
    (torch.Size([5, 1, 8, 8]), torch.int64)
    """
    if np.ma.is_masked(images):
        raise InputError(f"{source} holds masked values, expected pixels; fill them: images.filled(255).")
    array = _as_array(images)
    if value_range is not None:
        array = scaled(source, array, value_range)
    return _checked_images(source, array), checked_labels(
        source, len(array), None if labels is None else _as_array(labels)
    )


def _as_array(values: np.ndarray | Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)


def scaled(source: str, array: np.ndarray, value_range: Range) -> np.ndarray:
    """Return values scaled from ``value_range`` to 0 to 255 and rounded, uint8.

    >>> scaled("x", np.array([-1.0, 0.0, 1.0]), (-1, 1)).tolist()
    [0, 128, 255]
    """
    low, high = value_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"value_range must be (black, white), two numbers, black the smaller, got {value_range}.")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise InputError(f"{source} holds values of {array.dtype}, expected numbers from {low:g} to {high:g}.")
    rounded = np.empty(array.shape, np.uint8)
    slack = _SLACK * (high - low)
    least, largest = np.inf, -np.inf
    for start in range(0, len(array), _ROWS):
        part = array[start : start + _ROWS].astype(np.float64)
        if part.size and not np.isfinite(part).all():
            raise InputError(
                f"{source} holds NaN or infinity, expected values from {low:g} to {high:g}; remove them."
            )
        least, largest = min(least, part.min(initial=np.inf)), max(largest, part.max(initial=-np.inf))
        rounded[start : start + _ROWS] = np.rint(((part - low) * (255 / (high - low))).clip(0, 255))
    if array.size and (least < low - slack or largest > high + slack):
        raise InputError(
            f"{source} holds values from {least:g} to {largest:g}, expected those of value_range, {low:g} to "
            f"{high:g}; give the values of black and white, such as value_range=(-1, 1)."
        )
    if array.size and low < 0 <= least:
        warn(
            f"{source} holds no value below {least:g}: with value_range=({low:g}, {high:g}) its darkest pixel is "
            f"{rounded.min()} of 255; should it be (0, {high:g})?"
        )
    return rounded


def _checked_images(path: str, array: np.ndarray) -> Tensor:
    if array.dtype == bool:
        array = array.astype(np.uint8)  # 0 and 1, which loading scales and tells
    if array.dtype != np.uint8:
        came = f"{array.dtype}"
        if array.size and np.issubdtype(array.dtype, np.floating):
            finite = array[np.isfinite(array)]
            came += f" from {finite.min():g} to {finite.max():g}" if finite.size else ""
            came += " with NaN or infinity" if finite.size < array.size else ""
        elif array.size and np.issubdtype(array.dtype, np.integer):
            came += f" from {array.min()} to {array.max()}"
        raise InputError(
            f"{path} holds values of {came}, expected uint8 from 0 to 255; name the values of black and white: "
            "value_range=(0, 1), (-1, 1) or (0, 4095), on the command line --value-range=-1,1."
        )
    if array.ndim == 3 and array.shape[2] in (1, 3, 4) and min(array.shape[:2]) > 4:
        height, width, channels = array.shape
        raise InputError(
            f"{path} holds an array of shape {array.shape}: one image of {width}x{height} pixels with {channels} "
            f"channels, or {height} images of {channels}x{width}? Give an image as images[None], or images of one "
            "channel as images[:, None]."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        side = math.isqrt(array.shape[1]) if array.ndim == 2 else 0
        how = "reshape them"
        if side > 3 and side**2 == array.shape[1]:
            how = f"reshape rows of pixels: images.reshape(-1, {side}, {side})"
        if array.ndim == 2:
            how += ", or give one image as images[None]"
        elif array.ndim == 4 and 4 in (array.shape[1], array.shape[3]):
            how = "composite transparent images onto one colour"
        raise InputError(
            f"{path} holds an array of shape {array.shape}, expected images shaped (N, H, W), (N, H, W, C) "
            f"or (N, C, H, W) with C = 1 or 3; {how}."
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def checked_labels(source: str, count: int, labels: np.ndarray | None) -> Tensor | None:
    """Return the labels of ``count`` images; None for several per image, strings and negative numbers.

    Raises: InputError if there is not one label per image.

    >>> checked_labels("x", 2, np.array([3, 4]))
    tensor([3, 4])
    """
    if labels is None or not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        return None
    if len(labels) != count:
        raise InputError(
            f"{source} holds {len(labels)} labels for {count} images, expected one label per "
            "image; save equally many of both."
        )
    return torch.from_numpy(labels.reshape(-1).astype(np.int64)) if labels.min(initial=0) >= 0 else None
