"""The images of a run: found again by what run.json says of them, and compared with those of the training."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from entropic_ae.data import (
    DATASETS,
    IN_MEMORY,
    DataWarning,
    Given,
    ImageData,
    RegisteredData,
    count_copies,
    fingerprint,
    load_images,
)
from entropic_ae.data.decoding import Fit
from entropic_ae.data.depth import ONES
from entropic_ae.data.formats import DAMAGE, opened_image
from entropic_ae.data.images import largest_part
from entropic_ae.errors import InputError, warn
from entropic_ae.pictures import grid_of, is_grid
from entropic_ae.runs.labels import described
from entropic_ae.storage.run_info import RunInfo

__all__ = ["Cuts", "check_trained_on", "fit_of", "load_data"]

_WHOLE = 0.95  # share of an image that counts as all of it
_MUCH = 2  # times the side of a run's images
_HALF = 0.5  # share below which an image is cut more than a photograph is


def load_data(info: RunInfo, name: str, limit: int | None, given: str | Path | Given | None) -> ImageData:
    """Load the images of a run, or those given in their place; InputError if they are missing.

    What is to be said of them was said before training, and is said again only of images in their place.
    """
    source = info.source if given is None else given
    if isinstance(source, str) and source == IN_MEMORY:
        raise InputError(
            f"{name} was trained on images in memory, which are needed here; pass them again: "
            "load(folder, data=images)."
        )
    try:
        with warnings.catch_warnings():
            if given is None:
                warnings.simplefilter("ignore", DataWarning)
            return load_images(
                source,
                image_size=info.image_size,
                limit=limit,
                value_range=info.value_range,
                white=info.white,
            )
    except InputError as error:
        if given is None and source in DATASETS:  # which cannot be downloaded
            said = str(error).rstrip(".")
            raise InputError(f"{said}, or give images instead (DATA or --data, data=).") from None
        own = isinstance(source, str) and (Path(source).is_absolute() or source.startswith("./"))
        if given is not None or not own or Path(str(source)).exists():
            raise
        raise InputError(
            f"{str(error).partition(';')[0]}, and {name} needs its images from there; restore them, or give their "
            "place: load(folder, data=...), or --data of evaluate and sample."
        ) from None


def check_trained_on(info: RunInfo, name: str, data: ImageData, *, labelled: bool = False) -> None:
    """Raise InputError unless these are, up to the limit, the images that a run was trained on.

    With ``labelled``, for a conditional run, so must their labels be.
    """
    if fingerprint(data.train.images[: info.limit]) != info.training_images_sha256:
        copies = count_copies(data).repeated
        moved = f" ({copies:,} are exact copies of others, which now stay in one split)" if copies else ""
        raise InputError(
            f"the training images of {info.source} are not those that {name} was trained on{moved}; restore them, "
            "or train again."
        )
    if labelled and info.classes is not None:
        now = described(replace(data, train=data.train.at(slice(info.limit))))
        if now is None or now["labels_sha256"] != info.classes["labels_sha256"]:
            raise InputError(
                f"the labels of the training images of {info.source} are not those that {name} was trained with; "
                "restore them, or train again."
            )


def fit_of(info: RunInfo) -> Fit:
    """Return how an image is fitted to a run, from its run.json: padded like the run's images, else resized.

    An image of more than 8 bits is scaled by the factor of the run's images; for a run of images of 0 and 1, so is
    one of 0 and 1.

    >>> info = {"recipe": "eae", "preset": "mnist", "data": "mnist", "source": "mnist", "shape": [1, 32, 32]}
    >>> fit_of(RunInfo.of(info))
    Fit(channels=1, height=32, width=32, pad=2, crop=None, white=None, ones=False)
    """
    row = DATASETS.get(info.source)
    channels, height, width = info.shape
    # without the crop of CelebA, whose 140 pixels suit only its own images
    return Fit(
        channels,
        height,
        width,
        pad=row.pad if isinstance(row, RegisteredData) and info.image_size is None else 0,
        white=info.white if info.white != ONES else None,
        ones=info.white == ONES,
    )


class Cuts:
    """The images that are cut or made much smaller to fit a run, of which one warning tells.

    A run with an ``image_size`` has cut its own images, too: there a sheet of images and one that loses more than
    half of itself count alone.

    >>> info = {"recipe": "eae", "preset": "mnist", "data": "mnist", "source": "mnist", "shape": [1, 32, 32]}
    >>> cuts = Cuts(RunInfo.of(info))
    >>> for side in (28, 32, 64, 300):
    ...     cuts(f"{side}.png", side, side, None)
    >>> cuts.told
    ['300.png from 300x300 to 32x32']
    """

    def __init__(self, info: RunInfo) -> None:
        self._fit = fit_of(info)
        self._own = info.image_size is not None
        self._seen = 0
        self._photographs: set[tuple[int, int]] = set()  # sizes of grids that photographs have
        self.told: list[str] = []

    def __call__(self, name: str, width: int, height: int, file: Path | bytes | None) -> None:
        """Take note of an image of this size; it can be a sheet only if it has a file."""
        self._seen += 1
        if not min(width, height):  # damaged, which another warning tells
            return
        to_width, to_height, pad = self._fit.width, self._fit.height, self._fit.pad
        if (width, height) in ((to_width, to_height), (to_width - 2 * pad, to_height - 2 * pad)):
            return
        wide, high = largest_part(width, height, to_width, to_height)
        share = wide * high / (width * height)
        grid = self._grid(width, height, file)
        if grid is None and share >= (_HALF if self._own else _WHOLE) and (self._own or wide <= _MUCH * to_width):
            return
        part = "" if share >= _WHOLE else f", of which the middle {wide}x{high} is left,"
        sheet = "" if grid is None else f" (a sheet of {grid[0]}x{grid[1]} images)"
        self.told.append(f"{name}{sheet} from {width}x{height}{part} to {to_width}x{to_height}")

    def _grid(self, width: int, height: int, file: Path | bytes | None) -> tuple[int, int] | None:
        """Return columns and rows of a sheet, which is opened if its size is that of one; None for any other."""
        grid = grid_of(width, height, (self._fit.height, self._fit.width))
        if grid is None or file is None or (width, height) in self._photographs:
            return None
        with suppress(*DAMAGE), opened_image(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            if is_grid(image, *grid):
                return grid
        self._photographs.add((width, height))
        return None

    def warn(self) -> None:
        """Warn if there are such images."""
        if self.told:
            many = f"{len(self.told):,} of {self._seen:,} images are" if self._seen > 1 else "an image is"
            example = f", such as {self.told[0]}" if self._seen > 1 else f": {self.told[0]}"
            warn(
                f"{many} cut or resized to fit the run{example}; give images like the run's own, one thing each.",
                DataWarning,
            )
