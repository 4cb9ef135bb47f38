"""Arrays of images: NumPy files and arrays in memory, checked."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entropic_ae.errors import InputError

__all__ = ["checked_arrays", "read_arrays"]

# NumPy's errors for a damaged file, or one whose header claims more than fits in memory
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
    """Return images as uint8 (N, C, H, W) and labels as int64 (N,), or None without labels.

    Arguments:
        source: name used in error messages.
        images: uint8 or bool, (N, H, W), (N, H, W, C) or (N, C, H, W).
        labels: non-negative integers, (N,); any others are ignored.

    Raises: InputError for images of a wrong dtype or shape, or if there is not one label per image.

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
        raise InputError(f"{path} is damaged or not a NumPy file; restore it or save it again.") from None


def _checked_images(path: str, array: np.ndarray) -> Tensor:
    if array.dtype == bool:
        array = array.astype(np.uint8)  # 0 and 1, which loading scales and tells
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
        raise InputError(
            f"{path} holds an array of shape {array.shape}, expected images shaped (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) with C = 1 or 3; reshape them."
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def _checked_labels(path: str, images: np.ndarray, labels: np.ndarray | None) -> Tensor | None:
    """Return one label per image; None for several per image, strings and negative numbers."""
    if labels is None or not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        return None
    if len(labels) != len(images):
        raise InputError(
            f"{path} holds {len(labels)} labels for {len(images)} images, expected one label per "
            "image; save equally many of both."
        )
    return torch.from_numpy(labels.reshape(-1).astype(np.int64)) if labels.min(initial=0) >= 0 else None
