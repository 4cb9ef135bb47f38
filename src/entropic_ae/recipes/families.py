"""The networks for images by name: what the setting ``network`` chooses between."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.networks import (
    ConvDecoder,
    ConvEncoder,
    GridDecoder,
    GridEncoder,
    MLPDecoder,
    MLPEncoder,
    ResidualDecoder,
    ResidualEncoder,
)
from entropic_ae.registry import Registry

__all__ = ["NETWORKS", "Networks", "family", "in_family", "unknown_setting"]

_IMAGE_SIZE = "image_size"


class Networks(NamedTuple):
    """The classes of an encoder and of a decoder for images: a row of ``NETWORKS``.

    Both are called with the shape of the images and a number of features, and settings by name; see ``Preset``.

    >>> NETWORKS["residual"].encoder.__name__
    'ResidualEncoder'
    """

    encoder: Any
    decoder: Any


NETWORKS: Registry[Networks] = Registry(
    "network",
    {
        "paper": Networks(ConvEncoder, ConvDecoder),
        "residual": Networks(ResidualEncoder, ResidualDecoder),
        "grid": Networks(GridEncoder, GridDecoder),
    },
)

_TABLES, _OF_TABLES = "mlp", Networks(MLPEncoder, MLPDecoder)


def family(encoder: partial[Any], decoder: partial[Any]) -> str:
    """Return the name of two networks in ``NETWORKS``, ``mlp`` for perceptrons, or else the class names.

    >>> family(partial(ConvEncoder, width=2), partial(ConvDecoder))
    'paper'
    """
    pair = Networks(encoder.func, decoder.func)
    if pair == _OF_TABLES:
        return _TABLES
    known = (name for name, one in NETWORKS.items() if one == pair)
    return next(known, f"{pair.encoder.__name__}-{pair.decoder.__name__}")


def in_family(name: str, encoder: partial[Any], decoder: partial[Any]) -> tuple[partial[Any], partial[Any]]:
    """Return constructors of the networks of that name, with the settings that they share with the given ones.

    Raises: InputError for an unknown name, or if the given ones are perceptrons or custom.

    >>> encoder, _ = in_family("residual", partial(ConvEncoder, width=2, kernel_size=5), partial(ConvDecoder))
    >>> encoder.func.__name__, encoder.keywords
    ('ResidualEncoder', {'width': 2})
    """
    wanted, present = NETWORKS.find(name), family(encoder, decoder)
    if present == _TABLES:
        raise InputError(
            f"network={name} is for images with a convolutional preset, got perceptrons, as for tables; leave it "
            "out, or give another --preset."
        )
    if present not in NETWORKS:
        raise InputError(
            f"network={name} replaces one of {', '.join(NETWORKS)}, got custom networks, {present}; leave it out."
        )
    old = (encoder, decoder)
    made = [
        partial(kind, **{k: v for k, v in one.keywords.items() if _takes(kind, k)})
        for kind, one in zip(wanted, old, strict=True)
    ]
    return made[0], made[1]


def unknown_setting(name: str, known: Iterable[str]) -> InputError:
    """Return the error for a setting that a system has not. It names the part that would have it.

    >>> print(unknown_setting("levels", ["latent_dim", "width"]))
    levels is a setting of bottleneck=levels; set that too.
    """

    def sets(part: Any) -> bool:
        parameter = inspect.signature(part).parameters.get(name)
        return parameter is not None and parameter.default is not parameter.empty

    homes = [f"bottleneck={kind}" for kind, one in BOTTLENECKS.items() if sets(one)]
    homes += [f"network={kind}" for kind, one in NETWORKS.items() if any(map(sets, one))]
    if not homes:
        of_data = [] if name == _IMAGE_SIZE else [_IMAGE_SIZE]  # which train and tune take besides
        return unknown_name("setting", name, [*known, *of_data])
    return InputError(f"{name} is a setting of {' or '.join(homes)}; set that too.")


def _takes(kind: Any, name: str) -> bool:
    return name in inspect.signature(kind).parameters
