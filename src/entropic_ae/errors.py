"""The error that a person's input can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DivergenceError", "InputError", "unknown_name"]

_LONGEST = 80  # characters of a name in a sentence


class InputError(ValueError):
    """Bad input: one sentence that says what was expected, what came and what to do.

    The command line prints the sentence and exits with code 2; every other exception is a defect.

    >>> raise InputError("epochs must be at least 1, got 0; give --epochs 1 or more.")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: epochs must be at least 1, got 0; give --epochs 1 or more.
    """


class DivergenceError(InputError):
    """Training gave a loss that is not finite, with these settings.

    >>> issubclass(DivergenceError, InputError)
    True
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not registered; it suggests the nearest and lists all.

    The name may come from a file of a stranger's: it is shown on one line, and cut off where it is long.

    >>> print(unknown_name("recipe", "eea", ["ae", "eae"]))
    unknown recipe 'eea'; did you mean 'eae'? Known: ae, eae.
    """
    names = sorted(known)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}..."
    nearest = [one for one in names if one.lower() == name.lower()]
    nearest = nearest or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean '{nearest[0]}'? Known" if nearest else "known"
    return InputError(f"unknown {kind} {name!r}; {hint}: {', '.join(names)}.")
