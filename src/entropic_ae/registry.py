"""Pieces by name, to which a program may add its own, and the modules that the command line imports for that."""

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

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)  # fit for file names and for the command line
_imported: list[str] = []


class Registry(UserDict[str, Piece]):
    """Pieces of one kind by name: the library's, and those that a program puts in.

    A piece that is put in is found by its name wherever the library's own are: when a run is trained and loaded,
    on the command line and in a sweep. Nothing is kept beyond the program; a program that loads the run puts it in
    again, most simply by importing the same module.

    Arguments:
        kind: what the pieces are called in a sentence.
        pieces: the library's own, whose names nothing else may take.

    Attributes:
        builtin: the names of the library's own.

    Raises: InputError, when a piece is put in, for a name that is taken by the library, that is not made of
        letters, digits, dots, dashes and underscores, or that differs from the ``name`` that the piece has itself.

    >>> colours = Registry("colour", {"red": 0xFF0000})
    >>> colours["blue"] = 0x0000FF
    >>> sorted(colours), sorted(colours.builtin)
    (['blue', 'red'], ['red'])
    >>> colours.find("bleu")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: unknown colour 'bleu'; did you mean 'blue'? Known: blue, red; one of your own must be registered before (on the command line by --import MODULE).
    """  # noqa: E501

    def __init__(self, kind: str, pieces: Mapping[str, Piece]) -> None:
        self.kind = kind
        self.builtin: frozenset[str] = frozenset()
        super().__init__(pieces)
        self.builtin = frozenset(pieces)

    def __setitem__(self, name: str, piece: Piece) -> None:
        check_name(self.kind, name)
        if name in self.builtin:
            raise InputError(f"the {self.kind} '{name}' is the library's own; give yours another name.")
        if (own := getattr(piece, "name", name)) != name:
            raise InputError(f"the {self.kind} '{name}' is itself named '{own}'; give both one name.")
        super().__setitem__(name, piece)

    def find(self, name: str) -> Piece:
        """Return the piece of that name.

        Raises: InputError, with the nearest name, if there is none.
        """
        if name not in self:
            raise self.unknown(name)
        return self[name]

    def unknown(self, name: str, more: str = "") -> InputError:
        """Return the error for a name that is not there; ``more`` follows what it says of one's own."""
        known = str(unknown_name(self.kind, name, self)).removesuffix(".")
        return InputError(
            f"{known}; one of your own must be registered before (on the command line by --import MODULE){more}."
        )


def check_name(kind: str, name: str) -> None:
    """Raise InputError for a name that is not fit for a file, or for the command line.

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
    """Import modules of one's own, so that the pieces that they put into the registries are there.

    A module is looked for in the current folder first, then among what is installed.

    Raises: InputError if there is no such module; whatever goes wrong within one is raised as it is.

    >>> import_modules(["json"])
    >>> "json" in imported()
    True
    """
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    for name in names:
        missing = InputError(
            f"there is no module '{name}' in {folder} or among what is installed; give the name of one, such as "
            "my_pieces for my_pieces.py."
        )
        if not all(part.isidentifier() for part in name.split(".")):
            raise missing
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # a module that this one needs
            raise missing from None
        if name not in _imported:
            _imported.append(name)


def imported() -> list[str]:
    """Return the names of the modules that ``import_modules`` has imported, in order."""
    return list(_imported)
