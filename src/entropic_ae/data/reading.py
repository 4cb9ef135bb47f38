"""Images for a trained model: files and images in memory, one or many, as uint8 of the model's shape, in order."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from entropic_ae.data.arrays import Range, scaled
from entropic_ae.data.decoding import Fit
from entropic_ae.data.depth import ONES, are_ones, check_readable, white_of
from entropic_ae.data.formats import DAMAGE, SUFFIXES, header, opened_image
from entropic_ae.data.given import encoded, is_rows, unpacked
from entropic_ae.data.images import Given, ImageData
from entropic_ae.data.loading import Note, named_images
from entropic_ae.errors import InputError

__all__ = ["fit_image", "images_for", "named_images_for"]

_SLACK = 1e-5  # for rounded values
_DARKEST = 1.5 / 255  # largest value of images that were divided by 255 twice


def fit_image(content: bytes | Path, fit: Fit, what: str = "the upload", *, note: Note | None = None) -> Tensor:
    """Decode an image file and fit it to a shape, as the data layer does: uint8 (C, H, W).

    Of an image of another size the largest centre part of the shape's aspect is resized. Colours become grey, or
    grey RGB, as the shape asks.

    Arguments:
        content: of a file of a format in ``FORMATS``, or its path.
        fit: the target shape.
        what: the name of the image in error messages.
        note: called for the image.

    Raises: InputError if the file has none of these formats, is damaged, or has values that the run's images lack.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30), "white").save(file, "PNG")
    >>> fit_image(file.getvalue(), Fit(1, 8, 8)).shape
    torch.Size([1, 8, 8])
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about unusual files
            content = content.read_bytes() if isinstance(content, Path) else content
            found = {key: np.array([value]) for key, value in header(io.BytesIO(content))._asdict().items()}
            check_readable(found, what)
            if note is not None:
                note(what, int(found["width"][0]), int(found["height"][0]), content)
            fit = replace(fit, white=white_of(found, what, fit.white))
            pixels = _pixels(content, replace(fit, ones=False))
            return _pixels(content, fit) if fit.ones and are_ones([pixels]) else pixels
    except InputError:
        raise
    except DAMAGE:
        named = "the file" if what == "the upload" else what
        raise InputError(f"{named} cannot be read as an image; give a valid PNG, JPEG or WEBP file.") from None


def _pixels(content: bytes, fit: Fit) -> Tensor:
    with opened_image(io.BytesIO(content)) as image:
        return torch.from_numpy(fit(image).copy())


def images_for(
    fit: Fit,
    given: str | Path | Image.Image | Given,
    value_range: Range | None = None,
    *,
    note: Note | None = None,
) -> Tensor:
    """Return images as uint8 (N, C, H, W) of a model's shape, one image or many, in the order given.

    Files and PIL images are fitted to the shape as by ``fit_image``. Arrays and tensors must have its size: their
    values are no photographs of unknown framing. The channel may be first or last, and missing if it is one.

    Arguments:
        fit: the target shape.
        given: a path of an image, or of any other source of ``load_images``; a PIL image; an array of one image or
            of several; a list of these; or a data set of PyTorch or ``datasets``. Labels are ignored.
        value_range: the values of black and white of arrays that are not uint8; by default floats are in [0, 1].
        note: called for each image that is fitted, before it is.

    Raises: InputError for anything else, for an image that cannot be read, for arrays of another shape, and for
        floats of another range, whose black and white would be a guess.

    >>> images_for(Fit(1, 8, 8), np.full((8, 8), 0.2)).unique()
    tensor([51], dtype=torch.uint8)
    >>> images_for(Fit(1, 8, 8), [Image.new("RGB", (40, 30))] * 2).shape
    torch.Size([2, 1, 8, 8])
    """
    shape = (fit.channels, fit.height, fit.width)
    white = ONES if fit.ones else fit.white
    if isinstance(given, str | os.PathLike):
        if (path := _file(given)) is not None:
            return fit_image(path, fit, str(path), note=note)[None]
        images, _ = named_images(str(given), shape, value_range=value_range, white=white, pad=fit.pad, note=note)
        return images
    if isinstance(given, Image.Image):
        given = [given]
    encodings = (str, os.PathLike, Image.Image)
    if isinstance(given, list) and given and all(isinstance(one, encodings) for one in given):
        return torch.stack([_one(one, fit, number, note) for number, one in enumerate(given)])
    if is_rows(given):
        return _all_of(given, shape, white, note)
    found = unpacked(given, "images")
    if isinstance(found, ImageData):
        raise InputError("expected images, got all splits of a data set; give those of one, data.test.images.")
    if isinstance(found, dict):  # a data set of PyTorch with PIL images
        return _all_of(given, shape, white, note)
    return _of_array(found[0], fit, value_range)


def named_images_for(
    fit: Fit, sources: Sequence[str], value_range: Range | None = None, *, note: Note | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return the images of several sources, as ``images_for`` does of one, and the names of their files.

    The file of a folder is named by its path below the folder, with several sources by its whole path. The names
    are None unless every image is a file.

    >>> images_and_names = named_images_for(Fit(1, 8, 8), ["digits"])
    >>> images_and_names[0].shape, images_and_names[1]
    (torch.Size([360, 1, 8, 8]), None)
    """
    found, names = [], []
    for source in sources:
        own: tuple[str, ...] | None = (source,)
        if (path := _file(source)) is not None:
            images = fit_image(path, fit, str(path), note=note)[None]
        else:
            white = ONES if fit.ones else fit.white
            shape = (fit.channels, fit.height, fit.width)
            images, own = named_images(source, shape, value_range=value_range, white=white, pad=fit.pad, note=note)
            if own is not None and len(sources) > 1:
                own = tuple(str(Path(source, name)) for name in own)
        found.append(images)
        names.append(own)
    known = [name for own in names if own is not None for name in own]
    return torch.cat(found), None if None in names else tuple(known)


def _file(source: str | os.PathLike[str]) -> Path | None:
    """Return the path of the file of one image, or None if the source is of another kind.

    Raises: InputError if it has the name of such a file, and there is none.
    """
    path = Path(source).expanduser()
    if path.suffix.lower().removeprefix(".") not in SUFFIXES or path.is_dir():
        return None
    if not path.exists():
        if ":" in str(source)[2:]:  # hf:owner/name or FILE:NAME
            return None
        raise InputError(
            f"{path} does not exist; give the file of an image ({', '.join(f'.{one}' for one in SUFFIXES[:2])}, "
            "...), or a folder or a file of many."
        )
    return path


def _one(given: Any, fit: Fit, number: int, note: Note | None) -> Tensor:
    """Return one image of a list of paths and PIL images, uint8 (C, H, W)."""
    if isinstance(given, Image.Image):
        return fit_image(encoded(given, number), fit, f"image {number}", note=note)
    path = Path(given).expanduser()
    if not path.is_file():
        raise InputError(f"{path} of the list of images is not a file; give paths of images.")
    return fit_image(path, fit, str(path), note=note)


def _all_of(given: Any, shape: tuple[int, int, int], white: int | None, note: Note | None) -> Tensor:
    """Return all images of a data set in its order; InputError if one is damaged, as the others would move up."""
    images, _ = named_images(given, shape, white=white, note=note)
    if len(images) != len(given):
        raise InputError(f"{len(given) - len(images)} of {len(given)} images cannot be read; leave them out.")
    return images


def _of_array(given: np.ndarray | Tensor, fit: Fit, value_range: Range | None) -> Tensor:
    """Return the images of an array of one or several, uint8 (N, C, H, W)."""
    if np.ma.is_masked(given):
        raise InputError("images hold masked values, expected pixels; fill them: images.filled(255).")
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    arranged = _arranged(array, (fit.channels, fit.height, fit.width))
    if arranged is None:
        raise InputError(
            f"expected uint8 images (N, {fit.channels}, {fit.height}, {fit.width}), got {array.dtype} of shape "
            f"{tuple(array.shape)}; resize them, or give PIL images or paths, which are resized."
        )
    if arranged.dtype == bool:
        arranged = np.where(arranged, np.uint8(255), np.uint8(0))
    elif arranged.dtype != np.uint8:
        arranged = _eight_bits(arranged, value_range)
    images = torch.from_numpy(np.ascontiguousarray(arranged))
    return images * 255 if fit.ones and len(images) and are_ones([images], "this array") else images


def _arranged(array: np.ndarray, shape: Sequence[int]) -> np.ndarray | None:
    """Return an array of one or several images as (N, C, H, W), or None if none of its axes fit the shape."""
    channels, height, width = shape
    orders = {(channels, height, width): (0, 1, 2), (height, width, channels): (2, 0, 1)}
    if array.ndim == 2 or (array.ndim == 3 and array.shape not in orders):
        array = array[..., None, :, :]  # the channel is missing
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or (order := orders.get(array.shape[1:])) is None:
        return None
    return array.transpose(0, *(1 + axis for axis in order))


def _eight_bits(array: np.ndarray, value_range: Range | None) -> np.ndarray:
    """Return numbers as uint8: by their range, or floats in [0, 1]."""
    if value_range is not None:
        return scaled("images", array, value_range)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"expected uint8 images, or floats in [0, 1], got {array.dtype}; if they are from 0 to 255, give "
            "images.astype('uint8')."
        )
    if array.size and not np.isfinite(array).all():
        raise InputError("images hold NaN or infinity, expected floats in [0, 1]; remove them.")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0 or high > 1 + _SLACK or 0 < high < _DARKEST:
        raise InputError(
            f"expected floats in [0, 1], got values from {low:.4g} to {high:.4g}; {_remedy(low, high)}."
        )
    return scaled("images", array, (0.0, 1.0))


def _remedy(low: float, high: float) -> str:
    if 0 < high < _DARKEST:
        return "all would be black: divide by 255 once only"
    if low >= 0 and high <= 255:
        return "divide by 255 if white is 255: images / 255"
    if low >= -1 and high <= 1:
        return "if black is -1, give (images + 1) / 2"
    return "undo the normalisation of a transform first"
