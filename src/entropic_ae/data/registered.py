"""The registered data sets: the origin of each, and how its images are padded or cropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from entropic_ae.data.images import Given
from entropic_ae.registry import Registry

__all__ = ["DATASETS", "RegisteredData"]


@dataclass(frozen=True)
class RegisteredData:
    """A registered data set: its origin, and how its images are padded, cropped and split.

    ``hub`` is its id on the Hugging Face Hub (None: it comes with scikit-learn), ``image`` and ``label``
    its columns. Images become ``size`` x ``size`` with ``channels``, by ``pad`` or ``crop`` (see Fit).
    ``validation`` and ``test`` are the numbers of images split off the end of training for a missing split.
    """

    size: int
    channels: int
    hub: str | None = None
    image: str = "image"
    label: str | None = "label"
    classes: int | None = 10
    pad: int = 0
    crop: int | None = None
    validation: int = 0
    test: int = 0


# A custom data set is a zero-argument function that returns the same images on every call.
DATASETS: Registry[RegisteredData | Callable[[], Given]] = Registry(
    "data set",
    {
        "digits": RegisteredData(size=8, channels=1, validation=360, test=360),
        "mnist": RegisteredData(size=32, channels=1, hub="ylecun/mnist", pad=2, validation=10_000),
        "cifar10": RegisteredData(size=32, channels=3, hub="uoft-cs/cifar10", image="img", validation=10_000),
        # the 140 x 140 centre of the aligned 178 x 218 images, as the autoencoder literature crops them
        "celeba": RegisteredData(size=64, channels=3, hub="flwrlabs/celeba", label=None, classes=None, crop=140),
    },
)
