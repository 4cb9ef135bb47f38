"""The images of a run: found again by what run.json says of them, and compared with those of the training."""

from __future__ import annotations

import warnings
from pathlib import Path

from entropic_ae.data import IN_MEMORY, DataWarning, Given, ImageData, count_copies, fingerprint, load_images
from entropic_ae.errors import InputError
from entropic_ae.storage.run_info import RunInfo

__all__ = ["check_trained_on", "load_data"]


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
