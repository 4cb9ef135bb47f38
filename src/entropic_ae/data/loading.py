"""Images as an ``ImageData``: registered data sets, folders, parquet and NumPy files, data sets on the Hub.

MNIST, CIFAR-10 and CelebA keep their published order and splits. Custom data are shuffled (seed 0, split by
split), since folders are sorted by class. Without a test split the last tenth becomes the test split, and
without a validation split the last tenth of the rest becomes the validation split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from entropic_ae.data.arrays import Range, checked_arrays, read_arrays
from entropic_ae.data.copies import groups_of, hold_out
from entropic_ae.data.decoding import Fit, Table, names_of
from entropic_ae.data.depth import ONES, are_ones, white_of
from entropic_ae.data.encoded import class_names_of, decoded_splits, scanned, skipped
from entropic_ae.data.folders import parquet_tables
from entropic_ae.data.formats import GREY
from entropic_ae.data.hub import hub_tables
from entropic_ae.data.images import (
    IN_MEMORY,
    SPLITS,
    Given,
    ImageData,
    Split,
    resized,
    shuffled,
)
from entropic_ae.data.registered import RegisteredData
from entropic_ae.data.sources import Source, resolve
from entropic_ae.errors import InputError
from entropic_ae.networks import LARGEST, SIDES, fits

__all__ = ["Note", "load_images", "named_images", "read_images"]

Note = Callable[[str, int, int, "Path | bytes | None"], None]
"""Is called for each image before it is fitted: with its name, width and height, and its file if it has one."""


def load_images(
    source: str | Path | Given,
    *,
    image_size: int | None = None,
    limit: int | None = None,
    value_range: Range | None = None,
    white: int | None = None,
) -> ImageData:
    """Load a data set by registered name, path or Hub id; decoded once, then read from the cache.

    Arguments:
        source: a name in DATASETS (a local copy in the folder $ENTROPIC_AE_DATA/<name> takes precedence over the
            Hub; write ./mnist for a folder of that name); a folder of images, of parquet files, of MNIST's IDX
            files or of ``save_to_disk``; a .parquet file, a WebDataset .tar or a folder of them; a file of arrays
            (.npz, .npy, IDX, HDF5 or .safetensors; FILE:NAME names one array); hf:owner/name, or
            hf-stream:owner/name, which gives the same images but stores only the images at image_size on this
            machine. Or the images themselves: an array; a list of PIL images, arrays or paths; a pair of images
            and labels; a map-style data set of PyTorch whose items are images or pairs of image and label; a data
            set of ``datasets``; or an ``ImageData`` with custom splits.
        image_size: side in pixels, a multiple of 8 from 8 to 256: the centre square of each image is
            resized to it, bilinear with antialiasing. A registered set is first padded or cropped as usual
            (MNIST padded, CelebA's centre of 140). Required if images differ in size.
        limit: keep at most this number of training images and of validation images, the first ones. The test
            split is never limited, so that metrics stay comparable.
        value_range: the values of black and white of arrays that are not uint8 from 0 to 255, such as (0, 1) or
            (-1, 1).
        white: the value that becomes 255 in files of more than 8 bits; default: the largest that 8, 10, 12, 14 or
            16 bits hold, of the fewest bits that hold every value of the set.

    Custom data are grey (C = 1) if every image is, else RGB (C = 3). EXIF orientation is applied, transparency is
    composited over white, animations give their first frame, TIFF files their first page. With ``pages:`` before
    a folder or a TIFF file, every page is an image. Images of 0 and 1 become 0 and 255, which a warning tells; so
    do other warnings any white but 65,535, further pages, and files that are passed over.
    Subfolders give labels, subfolders train, validation and test give splits. Damaged images are left out
    with one warning. Arrays are (N, H, W), (N, H, W, C) or (N, C, H, W); a file of several holds ``images`` with
    optional ``labels``, MedMNIST's ``train_images``, ``val_images`` and so on, or Keras' ``x_train``, ``y_train``.

    Raises:
        InputError: if the source is unknown, empty, damaged or of the wrong type, if sizes do not fit, or
            if fewer than 2 training, 1 validation or 1 test images would be left.

    >>> data = load_images("digits", limit=100)
    >>> data.shape, len(data.train.images), len(data.validation.images), len(data.test.images), data.classes
    ((1, 8, 8), 100, 100, 360, 10)
    """
    if limit is not None and limit < 2:
        raise InputError(f"limit must be at least 2 images, got {limit}; give more, or none for all.")
    if image_size is not None and not fits(image_size):
        nearest = min(max(8 * round(image_size / 8), 8), LARGEST)
        raise InputError(
            f"image_size must be a multiple of 8 from 8 to {LARGEST}, got {image_size}; {nearest} is the nearest."
        )
    found = resolve(source, image_size)
    if value_range is not None and (found.row is not None or found.tables):
        raise InputError(f"value_range is for arrays, got the encoded images of {found.source}; leave it out.")
    if found.row is not None:
        return _registered(found.name, found.row, image_size, limit)
    if found.path is not None:
        splits = {
            key: shuffled(Split(*one)) for key, one in read_arrays(found.path, found.array, value_range).items()
        }
        return _of_one_size(splits, found.name, found.source, image_size, limit, look=value_range is None)
    if found.tables:
        return _own(found.tables, found.name, found.source, image_size, limit, white)
    return _given(found, image_size, limit, value_range)


def read_images(
    source: str | Path,
    shape: tuple[int, int, int],
    *,
    value_range: Range | None = None,
    white: int | None = None,
    pad: int = 0,
) -> Tensor:
    """Read all images of a source in the order of their files, fitted to a shape.

    For images to encode rather than to train on: they are neither split nor shuffled, and there may be any number.
    The largest centre part of the shape's aspect is resized. Colour becomes grey, or grey RGB, to match the
    shape; arrays must match its channels. A registered name gives the test images of that set.

    Arguments:
        source: as for ``load_images``.
        shape: (C, H, W) of the result.
        value_range: of arrays that are not uint8, as for ``load_images``.
        white: of the images that a model was trained on, see ``ImageData``; default: as for ``load_images``.
        pad: zeros on each side of encoded images that then have the size; others are resized.

    Returns: uint8 (N, C, H, W).

    Raises: InputError if the source is unknown, empty or damaged, or is an array with other channels.
    """
    return named_images(source, shape, value_range=value_range, white=white, pad=pad)[0]


def named_images(
    source: str | Path,
    shape: tuple[int, int, int],
    *,
    value_range: Range | None = None,
    white: int | None = None,
    pad: int = 0,
    note: Note | None = None,
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return the images of ``read_images``, and the names of their files; None unless each is a file.

    Before they are fitted, ``note`` is called for each.
    """
    names: tuple[str, ...] | None = None
    found = resolve(source, shape[1] if shape[1] == shape[2] else None)
    if found.tables:
        headers = scanned(found.tables, found.source)
        fit = Fit(*shape, pad, white=white_of(headers, found.source, white))
        if note is not None:
            files = chain(*map(_files, found.tables.values()))
            for (name, file), width, height in zip(files, headers["width"], headers["height"], strict=True):
                note(name or found.source, int(width), int(height), file)
        decoded = decoded_splits(found.tables, fit, found.source, look=white in (None, ONES))
        images = torch.cat([split.images for split in decoded.splits.values()])
        names = tuple(name for key in decoded.splits for name in decoded.names(found.tables, key)) or None
    elif found.path is not None:
        read = read_arrays(found.path, found.array, value_range)
        images = torch.cat([images for images, _ in read.values()])
        if value_range is None and are_ones([images], found.source):
            images = images * 255
    elif found.images is not None:
        images = _given(found, None, None, None).test.images
    else:
        images = load_images(source).test.images
    if note is not None and not found.tables:
        for _ in images:
            note(found.source, images.shape[3], images.shape[2], None)
    images = resized(images, *shape[1:])
    if tuple(images.shape[1:]) != tuple(shape):
        came, wanted = ("x".join(map(str, one)) for one in (images.shape[1:], shape))
        raise InputError(f"the images of {source} are {came}, expected {wanted}; give images like the run's.")
    return images, names


def _files(table: Table) -> list[tuple[str | None, Path | None]]:
    """Return the name and the path of the file of each row; None for what it lacks, as a page has no file."""
    names = names_of(table)
    if names is None or table.folder is None:
        return [(None, None)] * len(table.rows)
    return [(name, None if table.paged else table.folder / name) for name in names]


def _given(found: Source, image_size: int | None, limit: int | None, value_range: Range | None) -> ImageData:
    """Load arrays in memory: an ``ImageData`` in its order, others in a random order."""
    own = found.source == IN_MEMORY
    what = found.source if own else f"the result of the data set '{found.name}'"
    options, look = (found.source, image_size, limit), value_range is None
    if isinstance(found.images, ImageData):
        given = found.images
        splits = {
            key: Split(*checked_arrays(what, *getattr(given, key), value_range=value_range)) for key in SPLITS
        }
        return _of_one_size(
            splits,
            given.name if own else found.name,
            *options,
            given.classes,
            given.white,
            given.class_names,
            look=look,
        )
    split = Split(*checked_arrays(what, *(found.images or ()), value_range=value_range))
    return _of_one_size({"train": shuffled(split)}, found.name, *options, look=look)


def _of_one_size(
    splits: Mapping[str, Split],
    name: str,
    source: str,
    image_size: int | None,
    limit: int | None,
    classes: int | None = None,
    white: int | None = None,
    class_names: tuple[str, ...] | None = None,
    *,
    look: bool,
) -> ImageData:
    """Make a data set of splits, whose images must have one shape; by default the classes are counted.

    With ``look`` images of 0 and 1 become 0 and 255.
    """
    shapes = {tuple(split.images.shape[1:]) for split in splits.values()}
    if len(shapes) > 1:
        raise InputError(f"the splits of {source} differ in shape ({shapes}), expected one; resize them.")
    if look and white is None and are_ones([split.images for split in splits.values()], source):
        white, splits = ONES, {key: Split(split.images * 255, split.labels) for key, split in splits.items()}
    height, width = splits["train"].images.shape[2:]
    _check_size(source, height, width, image_size)
    top = max((int(y.max()) + 1 for _, y in splits.values() if y is not None and len(y)), default=None)
    classes = classes or top
    if class_names is not None and len(class_names) != classes:
        raise InputError(
            f"{source} has {len(class_names)} class_names for {classes or 0} classes; give each class its name."
        )
    return _assembled(
        splits,
        name,
        source,
        image_size=image_size,
        limit=limit,
        classes=classes,
        white=white,
        class_names=class_names,
    )


def _check_size(source: object, height: int, width: int, image_size: int | None) -> None:
    if image_size is None and not (fits(height) and fits(width)):
        raise InputError(
            f"the images of {source} are {width}x{height} pixels, but width and height must be "
            f"{SIDES}; resize them with --set image_size=32."
        )


def _registered(name: str, row: RegisteredData, image_size: int | None, limit: int | None) -> ImageData:
    """Load a registered set: from scikit-learn, the local copy or the Hub."""
    if row.hub is None:
        return _assembled(_digits(), name, name, image_size=image_size, limit=limit, row=row)
    folder = Path(os.environ.get("ENTROPIC_AE_DATA") or ".", name)
    if os.environ.get("ENTROPIC_AE_DATA") and folder.is_dir():
        tables = parquet_tables(folder, row.image, row.label or "")
        if not tables:
            raise InputError(f"{folder} holds no parquet files; put {name}/train-*.parquet there.")
    else:
        advice = f"set ENTROPIC_AE_DATA to a folder that holds {name}/train-*.parquet, or go online."
        tables = hub_tables(row.hub, advice, row.image, row.label or "")
    # cropped images are resized once, from the source
    size = image_size if row.crop and image_size else row.size
    fit = Fit(row.channels, size, size, row.pad, row.crop)
    splits = decoded_splits(tables, fit, name).splits
    names = class_names_of(tables, row.classes)
    return _assembled(splits, name, name, image_size=image_size, limit=limit, row=row, class_names=names)


def _digits() -> dict[str, Split]:
    """Return scikit-learn's 1,797 digits, 8x8, 0..16 scaled to 0..255, in a fixed random order."""
    rows = _rows_of_digits()
    images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return {"train": shuffled(Split(torch.from_numpy(images), torch.from_numpy(rows[:, -1]).long()))}


@cache  # a text file, which takes longer to read than a small run to train for an epoch
def _rows_of_digits() -> np.ndarray:
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    # the file that load_digits reads: importing scikit-learn takes as long as PyTorch
    return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


def _own(
    tables: Mapping[str, Table],
    name: str,
    source: str,
    image_size: int | None,
    limit: int | None,
    white: int | None,
) -> ImageData:
    """Load custom data: the size, the channels and the depth are determined from all headers first."""
    tables = {key: table for key, table in tables.items() if len(table.rows)}
    if "train" not in tables:
        raise InputError(f"{source} holds no training images; give at least 10 images.")
    headers = scanned(tables, source)
    width, height, mode = (headers[key] for key in ("width", "height", "mode"))
    sound = mode != ""
    modes = set(mode[sound])
    sizes = np.unique(np.stack([width[sound], height[sound]], axis=1), axis=0)
    if len(sizes) > 1 and image_size is None:
        first, last = (f"{w}x{h}" for w, h in (sizes[0], sizes[-1]))
        raise InputError(
            f"the images of {source} differ in size (for example {first} and {last}), expected one size; "
            f"crop and resize them with --set image_size={64 if torch.cuda.is_available() else 32}."
        )
    _check_size(source, int(sizes[0][1]), int(sizes[0][0]), image_size)
    channels = 1 if all(GREY.fullmatch(one) for one in modes) else 3
    side = (image_size or int(sizes[0][1]), image_size or int(sizes[0][0]))
    fit = Fit(channels, *side, white=white_of(headers, source, white))
    decoded = decoded_splits(tables, fit, source, shuffled=True, look=white in (None, ONES))
    splits = decoded.splits
    classes = max((table.classes or 0 for table in tables.values()), default=0) or None
    if all(split.labels is None for split in splits.values()):
        classes = None
    white = ONES if decoded.ones else fit.white
    names = {key: np.array(decoded.names(tables, key), dtype=object) for key in splits}
    data = _assembled(
        splits,
        name,
        source,
        image_size=image_size,
        limit=limit,
        classes=classes,
        white=white,
        class_names=class_names_of(tables, classes),
        files=names if all(map(len, names.values())) else {},
    )
    return replace(
        data, damaged=tuple(decoded.damaged), passed_over=MappingProxyType(dict(sorted(skipped(tables).items())))
    )


def _assembled(
    splits: Mapping[str, Split],
    name: str,
    source: str,
    *,
    image_size: int | None,
    limit: int | None,
    row: RegisteredData | None = None,
    classes: int | None = None,
    white: int | None = None,
    class_names: tuple[str, ...] | None = None,
    files: Mapping[str, np.ndarray] | None = None,
) -> ImageData:
    """Split missing splits off the end of training, then limit and resize; ``files`` are the images' names."""
    parts, names = dict(splits), dict(files or {})
    missing = [key for key in ("test", "validation") if key not in parts]
    groups = groups_of(parts["train"].images) if missing and not row else np.empty(0, np.int64)
    for left, key in zip((len(missing), 1), missing, strict=False):
        whole = parts["train"]
        total = len(whole.images)
        if row:  # as published
            start = max(0, total - getattr(row, key))
            parts["train"], parts[key] = whole.at(slice(start)), whole.at(slice(start, None))
        else:
            held, every = max(2, total // 10), names.get("train")
            parts["train"], parts[key] = hold_out(whole, groups[:total], held, leave=left, names=every)
            if every is not None:
                names["train"], names[key] = np.split(every, [len(parts["train"].images)])
    train, validation, test = (len(parts[key].images) for key in SPLITS)
    if train < 2 or validation < 1 or test < 1:
        taken = sum(getattr(row, key) for key in SPLITS[1:] if key not in splits) if row else 0
        raise InputError(
            f"{source} is too small: expected at least 2 training, 1 validation and 1 test images, got "
            f"{sum(len(split.images) for split in splits.values())} images in all, which gives {train}, "
            f"{validation} and {test}; give at least {taken + 10} images."
        )
    if limit is not None:  # copies, so that the rest is freed
        for key in ("train", "validation"):
            parts[key] = parts[key].at(torch.arange(min(limit, len(parts[key].images))))
            names |= {key: names[key][:limit]} if key in names else {}
    if image_size is not None:
        parts = {
            key: Split(resized(split.images, image_size, image_size), split.labels) for key, split in parts.items()
        }
    return ImageData(
        re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip(".-") or "data",
        parts["train"],
        parts["validation"],
        parts["test"],
        classes=row.classes if row else classes,
        source=source,
        white=white,
        class_names=class_names,
        files=MappingProxyType({key: tuple(one) for key, one in names.items()}),
    )
