"""Presets: sizes and schedules for each data set, whatever the recipe; weights of terms are in ``systems``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from entropic_ae.registry import Registry
from entropic_ae.training import Settings

__all__ = ["PRESETS", "Preset", "preset_for"]


@dataclass(frozen=True)
class Preset:
    """The settings that depend on the data set, not on the system.

    Attributes:
        name: as in ``--preset``.
        latent_dim: length D of a code.
        encoder, decoder: partial constructors whose two open arguments are the shape and the number of features.
        training: epochs, batch size and learning rate.
        features: default feature space for evaluation.

    >>> PRESETS["celeba"].latent_dim
    64
    """

    name: str
    latent_dim: int
    encoder: partial[Any]
    decoder: partial[Any]
    training: Settings
    features: str = "inception"

    def __post_init__(self) -> None:
        check_partial(self.encoder, 2)
        check_partial(self.decoder, 2)


def check_partial(constructor: partial[Any], lacking: int) -> None:
    """Raise InputError if a partial constructor cannot be called with ``lacking`` more arguments."""
    if not isinstance(constructor, partial):
        name = getattr(constructor, "__name__", repr(constructor))
        raise InputError(f"expected a class with its settings as functools.partial({name}, ...), got {name}.")
    try:
        inspect.signature(constructor.func).bind(*constructor.args, *[None] * lacking, **constructor.keywords)
    except TypeError as error:
        raise InputError(f"{constructor.func.__name__} cannot be built with these settings: {error}.") from None


# The sizes of section 5.1 of the paper. Inception is not calibrated on digits: the classifier is.
_ROWS = (
    Preset(
        "digits",
        latent_dim=8,
        encoder=partial(ConvEncoder, width=16, kernel_size=4),
        decoder=partial(ConvDecoder, width=16, kernel_size=4),
        training=Settings(epochs=100, learning_rate=2e-3),
        features="classifier",
    ),
    Preset(
        "mnist",
        latent_dim=16,
        encoder=partial(ConvEncoder, width=128, kernel_size=4),
        decoder=partial(ConvDecoder, width=128, kernel_size=4),
        training=Settings(epochs=100),
        features="classifier",
    ),
    Preset(
        "cifar10",
        latent_dim=128,
        encoder=partial(ConvEncoder, width=128, kernel_size=4),
        decoder=partial(ConvDecoder, width=128, kernel_size=4),
        training=Settings(epochs=100),
    ),
    Preset(
        "celeba",
        latent_dim=64,
        encoder=partial(ConvEncoder, width=128, kernel_size=5),
        decoder=partial(ConvDecoder, width=128, kernel_size=5),
        training=Settings(epochs=70, learning_rate=1e-3),
    ),
    Preset(
        "mlp",
        latent_dim=8,
        encoder=partial(MLPEncoder, hidden=512, depth=2),
        decoder=partial(MLPDecoder, hidden=512, depth=2),
        training=Settings(epochs=100, learning_rate=1e-3),
        features="pixels",
    ),
)

PRESETS: Registry[Preset] = Registry("preset", {preset.name: preset for preset in _ROWS})


def preset_for(shape: Sequence[int]) -> str:
    """Return the name of the preset with the most similar images, for data without a preset.

    Arguments:
        shape: (C, H, W) of the images.

    >>> preset_for((3, 64, 64))
    'celeba'
    """
    channels, side = shape[0], max(shape[1:])
    if side <= 16:
        return "digits"
    if side > 32:
        return "celeba"
    return "cifar10" if channels > 1 else "mnist"
