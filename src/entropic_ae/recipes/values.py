"""Settings as values: the defaults of a signature, and words of ``--set`` converted to their types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from entropic_ae.errors import InputError, unknown_name
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.json_schema import shown

__all__ = ["changed", "fit_settings", "read_fit_settings", "read_setting", "scalars", "split_image_size"]


def scalars(constructor: partial[Any]) -> dict[str, Scalar]:
    """Return the numbers and words that a constructor takes: its defaults, and what it is given.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> scalars(partial(BatchNorm, eps=1e-3))
    {'eps': 0.001, 'momentum': 0.1}
    """
    given = {k: v for k, v in constructor.keywords.items() if isinstance(v, bool | int | float | str)}
    return _defaults(constructor.func) | given


def changed(constructor: partial[Any], new: Mapping[str, Any]) -> partial[Any]:
    """Return a constructor with those of the new values that it takes.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> changed(partial(BatchNorm), {"eps": 1e-3, "width": 4}).keywords
    {'eps': 0.001}
    """
    own = {name: new[name] for name in scalars(constructor) if name in new}
    return partial(constructor.func, **constructor.keywords | own)


def fit_settings(fit: Callable[..., Any], own: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the settings of a fit, without its seed: the defaults of its signature, and its own.

    >>> from entropic_ae.densities import Mixture
    >>> fit_settings(Mixture.fit, {})
    {'components': 10}
    """
    defaults = _defaults(fit)
    del defaults["seed"]
    return {**defaults, **own}


def read_fit_settings(who: str, fit: Callable[..., Any], given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the settings of a fit: the defaults of its signature, and the given ones converted to their types.

    Raises: InputError for an unknown name, or a value of the wrong type.

    >>> from entropic_ae.densities import Mixture
    >>> read_fit_settings("the density 'mixture'", Mixture.fit, {"components": "5"})
    {'components': 5}
    """
    known = fit_settings(fit, {})
    for name in given:
        if name not in known:
            raise unknown_name(f"setting of {who}", name, known)
    return {name: read_setting(name, given.get(name, old), old) for name, old in known.items()}


def read_setting(name: str, value: Scalar, old: Scalar) -> Any:
    """Return a value, possibly a string, converted to the type of the old value.

    Raises: InputError if it cannot be converted.

    >>> read_setting("width", "16", 128)
    16
    """
    wanted = type(old)
    if wanted is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if wanted is not bool and (isinstance(value, str) or not isinstance(value, bool)):
        try:
            read = wanted(value)
        except (TypeError, ValueError, OverflowError):
            read = None
        if read is not None and (isinstance(value, str) or read == value):
            return read
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[wanted]
    raise InputError(f"{name} expects {expected}, got {shown(value)}.")


def split_image_size(changes: Mapping[str, Scalar]) -> tuple[int | None, dict[str, Scalar]]:
    """Separate ``image_size``, which belongs to the data, from the settings of a system.

    Returns: the image size, None without one, and the other settings. Raises: InputError if it is no whole number.

    >>> split_image_size({"image_size": "32", "width": 4})
    (32, {'width': 4})
    """
    rest = dict(changes)
    size = rest.pop("image_size", None)
    return None if size is None else read_setting("image_size", size, 0), rest


def _defaults(function: Callable[..., Any]) -> dict[str, Scalar]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str)}
