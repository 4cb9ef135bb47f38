"""Trained runs that come with the library."""

from __future__ import annotations

from pathlib import Path

from entropic_ae.errors import unknown_name

__all__ = ["EXAMPLE", "example_folder", "examples"]

EXAMPLE = "example:"  # prefix of the name of such a run
_PLACE = Path(__file__).parents[1] / "examples"


def examples() -> list[str]:
    """Return the names of the examples, without the prefix.

    >>> examples()
    ['cifar10', 'mnist']
    """
    return sorted(path.name for path in _PLACE.iterdir() if path.is_dir())


def example_folder(name: str) -> Path:
    """Return the run folder of an example, which is not to be written to.

    Arguments:
        name: with the prefix.

    Raises: InputError for an unknown example.

    >>> example_folder("example:mnits")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: unknown example 'mnits'; did you mean 'mnist'? Known: cifar10, mnist.
    """
    own = name.removeprefix(EXAMPLE)
    if own not in examples():
        raise unknown_name("example", own, examples())
    return _PLACE / own
