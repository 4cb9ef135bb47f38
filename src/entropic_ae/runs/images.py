"""The images of a run: found again by what run.json says of them, and compared with those of the training."""

from __future__ import annotations

from pathlib import Path

from entropic_ae.data import (
    DATASETS,
    IN_MEMORY,
    Given,
    ImageData,
    RegisteredData,
    count_copies,
    fingerprint,
    load_images,
)
from entropic_ae.data.decoding import Fit
from entropic_ae.data.depth import ONES
from entropic_ae.errors import InputError
from entropic_ae.storage.run_info import RunInfo

__all__ = ["check_trained_on", "fit_of", "load_data"]


def load_data(info: RunInfo, name: str, limit: int | None, given: str | Path | Given | None) -> ImageData:
    """Load the images of a run, or those given in their place; InputError if they are missing."""
    source = info.source if given is None else given
    if isinstance(source, str) and source == IN_MEMORY:
        raise InputError(
            f"{name} was trained on images in memory, which are needed here; pass them again: "
            "load(folder, data=images)."
        )
    try:
        return load_images(
            source,
            image_size=info.image_size,
            limit=limit,
            value_range=info.value_range,
            white=info.white,
        )
    except InputError as error:
        own = isinstance(source, str) and (Path(source).is_absolute() or source.startswith("./"))
        if given is not None or not own or Path(str(source)).exists():
            raise
        raise InputError(
            f"{str(error).partition(';')[0]}, and {name} needs its images from there; restore them, or give their "
            "place: load(folder, data=...), or --data of evaluate and sample."
        ) from None


def check_trained_on(info: RunInfo, name: str, data: ImageData) -> None:
    """Raise InputError unless these are, up to the limit, the images that a run was trained on."""
    if fingerprint(data.train.images[: info.limit]) != info.training_images_sha256:
        copies = count_copies(data).repeated
        moved = f" ({copies:,} are exact copies of others, which now stay in one split)" if copies else ""
        raise InputError(
            f"the training images of {info.source} are not those that {name} was trained on{moved}; restore them, "
            "or train again."
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
