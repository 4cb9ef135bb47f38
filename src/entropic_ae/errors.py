"""The exceptions for bad input and diverged training, and warnings."""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["DivergenceError", "InputError", "Interrupted", "given_once", "unknown_name", "warn"]

_HERE = str(Path(__file__).parent) + os.sep

_LONGEST = 80  # characters of a name in a sentence


class InputError(ValueError):
    """Bad input. The message is one sentence: what was expected, what was given and the remedy.

    The command line prints the message and exits with code 2. Every other exception is a bug.

    >>> raise InputError("epochs must be at least 1, got 0; give --epochs 1 or more.")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: epochs must be at least 1, got 0; give --epochs 1 or more.
    """


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a training. The message says which weights there are, and how the training is resumed.

    >>> issubclass(Interrupted, KeyboardInterrupt)
    True
    """


class DivergenceError(InputError):
    """Training diverged: the loss or the codes are not finite.

    >>> issubclass(DivergenceError, InputError)
    True
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for an unregistered name. It suggests the closest known name and lists all names.

    The name may come from an untrusted file, so it is shown on one line and truncated if long.

    >>> print(unknown_name("recipe", "eea", ["ae", "eae"]))
    unknown recipe 'eea'; did you mean 'eae'? Known: ae, eae.
    """
    names, name = sorted(known), str(name)  # a path or a number, where arguments were swapped
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}..."
    nearest = [one for one in names if one.lower() == name.lower()]
    nearest = nearest or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean '{nearest[0]}'? Known" if nearest else "known"
    return InputError(f"unknown {kind} {name!r}; {hint}: {', '.join(names) or 'none'}.")


def given_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return settings from pairs of name and value.

    Raises: InputError if two different values are given for one name.

    >>> given_once([("width", 4), ("epochs", "2"), ("epochs", 2)])
    {'width': 4, 'epochs': 2}
    """
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given and str(given[name]) != str(value):
            raise InputError(f"{name} was given twice, as {given[name]} and as {value}; give it once.")
        given[name] = value
    return given


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of the library that led here: Python shows that line, not one of the library's.

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn("few images.")
    >>> [(str(one.message), one.filename == __file__) for one in caught]
    [('few images.', False)]
    """
    frame: FrameType | None = sys._getframe()
    level = outermost = 1
    while frame is not None:
        if frame.f_code.co_filename.startswith(_HERE):
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)
