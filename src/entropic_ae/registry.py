"""Registries of named pieces, open to custom ones, and the modules that the command line imports to add them."""

from __future__ import annotations

import importlib
import re
import sys
from collections import UserDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from entropic_ae.errors import InputError, unknown_name

__all__ = ["Registry", "check_name", "import_modules", "imported"]

Piece = TypeVar("Piece")

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)  # valid in file names and on the command line
_imported: list[str] = []


class Registry(UserDict[str, Piece]):
    """A mapping from names to pieces of one kind: the built-in ones, and custom ones added by a program.

    A custom piece works by name wherever a built-in one does: in training, in loading a run, on the command line
    and in a sweep. Registration lasts as long as the process. A program that loads the run must register the piece
    again; the simplest way is to import the same module.

    Arguments:
        kind: noun for the pieces in error messages.
        pieces: the built-in pieces; their names are reserved.

    Attributes:
        builtin: names of the built-in pieces.

    Raises: InputError, on assignment, if the name is built in, holds anything but letters, digits, dots, dashes
        and underscores, or differs from the ``name`` attribute of the piece.

    >>> colours = Registry("colour", {"red": 0xFF0000})
    >>> colours["blue"] = 0x0000FF
    >>> sorted(colours), sorted(colours.builtin)
    (['blue', 'red'], ['red'])
    >>> colours.find("bleu")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: unknown colour 'bleu'; did you mean 'blue'? Known: blue, red; if it is a custom one, register it first (command line: --import MODULE).
    """  # noqa: E501

    def __init__(self, kind: str, pieces: Mapping[str, Piece]) -> None:
        self.kind = kind
        self.builtin: frozenset[str] = frozenset()
        super().__init__(pieces)
        self.builtin = frozenset(pieces)

    def __setitem__(self, name: str, piece: Piece) -> None:
        check_name(self.kind, name)
        if name in self.builtin:
            raise InputError(f"the {self.kind} '{name}' is built in; give yours another name.")
        if (own := getattr(piece, "name", name)) != name:
            raise InputError(f"the {self.kind} registered as '{name}' is named '{own}'; use one name for both.")
        super().__setitem__(name, piece)

    def find(self, name: str) -> Piece:
        """Return the piece registered under a name.

        Raises: InputError for an unknown name; the message suggests the closest one.
        """
        if not isinstance(name, str):
            raise InputError(
                f"expected the name of a {self.kind}, got {name!r}; known: {', '.join(sorted(self))}."
            )
        if name not in self:
            raise self.unknown(name)
        return self[name]

    def unknown(self, name: str, more: str = "") -> InputError:
        """Return the error for an unknown name; ``more`` is appended to the advice on custom pieces."""
        known = str(unknown_name(self.kind, name, self)).removesuffix(".")
        return InputError(
            f"{known}; if it is a custom one, register it first (command line: --import MODULE){more}."
        )


def check_name(kind: str, name: str) -> None:
    """Raise InputError for a name that is not valid in file names and on the command line.

    >>> check_name("recipe", "my recipe")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: a recipe's name is made of letters, digits, dots, dashes and underscores, got 'my recipe'.
    """  # noqa: E501
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise InputError(
            f"a {kind}'s name is made of letters, digits, dots, dashes and underscores, got {name!r}."
        )


def import_modules(names: Iterable[str]) -> None:
    """Import user modules, which register custom pieces.

    The current folder is searched first, then the installed packages.

    Raises: InputError if a module does not exist. Exceptions raised inside a module propagate unchanged.

    >>> import_modules(["json"])
    >>> "json" in imported()
    True
    """
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    for name in names:
        missing = InputError(
            f"there is no module '{name}' in {folder} or among the installed packages; give a module name, "
            "such as my_pieces for my_pieces.py."
        )
        if not all(part.isidentifier() for part in name.split(".")):
            raise missing
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # a dependency of this module is missing
            raise missing from None
        if name not in _imported:
            _imported.append(name)


def imported() -> list[str]:
    """Return the names of the modules imported by ``import_modules``, in order."""
    return list(_imported)
