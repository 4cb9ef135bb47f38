"""Cells of a sweep: a system, its settings and a seed, with the names and files of their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from entropic_ae.data import ImageData, fingerprint, load_images
from entropic_ae.errors import InputError
from entropic_ae.experiments.budgets import SMALL
from entropic_ae.recipes import System, split_image_size, system_for
from entropic_ae.recipes.earlier import EARLIER
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.files import read_json
from entropic_ae.training import Execution
from entropic_ae.training.batches import ShuffledBatches

__all__ = ["Cell", "Rung", "has_transport", "parse_system", "read_cells", "shared_protocol", "without_newer"]

_BY_CLASS = ("network", "bottleneck", "terms")  # newer settings too, whose choice the classes of a cell name


@dataclass(frozen=True)
class Rung:
    """A round of a search, in which every system has equally many candidates after equally many minibatches.

    Attributes:
        number, of: of this round, from 1, and of all rounds.
        candidates: of each system; fewer are left if some diverged in the round before.
        epochs, minibatches: of training, when the candidates are compared.
        earlier_epochs: of the round before, whose runs this round continues; 0 in the first.
        rates, factors: learning rates, and factors on the weights, from which the candidates come.
    """

    number: int
    of: int
    candidates: int
    epochs: int
    minibatches: int
    earlier_epochs: int
    rates: tuple[float, ...]
    factors: tuple[float, ...]

    @property
    def added_epochs(self) -> int:
        """The epochs since the round before."""
        return self.epochs - self.earlier_epochs


@dataclass(frozen=True)
class Cell:
    """One system on one data set with one seed: everything that determines the result.

    Attributes:
        recipe, data, seed, limit: as for ``train``.
        own: settings of this system, shown in its label.
        shared: settings of the table; a system without a setting of that name ignores it.
        n, features, split: as for ``evaluate``.
        densities: the densities to measure; default: the recipe's.
        execution: by one process. The result depends on its precision, not on its device or compilation.
        rung: of a search. It is kept with the result, which does not depend on it.
        budget: the name of the budget that ``shared`` is from. It is kept with the result, too.
        earlier_epochs: of the cell whose run this one continues, if that run exists; 0 for none.
    """

    recipe: str
    data: str
    seed: int
    own: Mapping[str, Scalar] = field(default_factory=dict)
    shared: Mapping[str, Scalar] = field(default_factory=dict)
    limit: int | None = None
    n: int = 10_000
    features: str | None = None
    split: str = "test"
    densities: tuple[str, ...] | None = None
    execution: Execution = field(default_factory=Execution)
    rung: Rung | None = None
    budget: str | None = None
    earlier_epochs: int = 0

    @property
    def label(self) -> str:
        """The system in a table, as in ``eae entropy=0.3``."""
        return " ".join([self.recipe, *(f"{name}={value}" for name, value in self.own.items())])

    @cached_property
    def settings(self) -> dict[str, Scalar]:
        """The changed settings, as for ``train``."""
        known = {"image_size", *system_for(self.recipe, self.images).settings()}
        return {**{name: value for name, value in self.shared.items() if name in known}, **self.own}

    @cached_property
    def system(self) -> System:
        """The recipe with its settings; InputError for an unknown name in ``own`` or an invalid value."""
        return system_for(self.recipe, self.images, split_image_size(self.settings)[1])

    @property
    def images(self) -> ImageData:
        """The full data: the limit is not applied."""
        return _images(self.data, self._image_size)

    @property
    def _image_size(self) -> int | None:
        return split_image_size({**self.shared, **self.own})[0]

    @cached_property
    def name(self) -> str:
        """A file name that depends on every attribute, every default of recipe and preset, and the images."""
        hidden = ("own", "shared", "precision", "compile")
        return self._named({name: value for name, value in self.record().items() if name not in hidden})

    @cached_property
    def run_name(self) -> str:
        """The run folder's name, shared by all cells with the same training, whatever they measure."""
        return self._named({"recipe": self.recipe, "data": self.data, "seed": self.seed, "limit": self.limit})

    @property
    def earlier(self) -> Cell | None:
        """The cell with fewer epochs whose run this one continues; None if there is none."""
        if not self.earlier_epochs:
            return None
        shared = {**self.shared, "epochs": self.earlier_epochs}
        return replace(self, shared=shared, rung=None, earlier_epochs=0)

    @property
    def steps_per_epoch(self) -> int:
        """The optimiser steps of an epoch."""
        images = len(self.images.train.images[: self.limit])
        return ShuffledBatches(images, int(self.system.settings()["batch_size"]), self.seed).per_epoch

    def place(self, usual: str = SMALL) -> str:
        """Return the name of a folder for results on this data; any budget but the usual one is part of it."""
        return Path(self.data).stem + ("" if self.budget in (None, usual) else f"-{self.budget}")

    def record(self) -> dict[str, Any]:
        """Return the description of the cell for its result file."""
        fields = asdict(self)
        execution = fields.pop("execution")
        for name in ("rung", "budget", "earlier_epochs"):
            del fields[name]
        return {**fields, "precision": execution["precision"], "compile": execution["compile"]}

    def _named(self, chosen: Mapping[str, Any]) -> str:
        """Return a name that depends on the chosen attributes, the precision, the system and the images."""
        if self.execution.precision != "32":  # older names do not contain it
            chosen = {**chosen, "precision": self.execution.precision}
        images = _images_sha256(self.data, self._image_size)
        content = json.dumps([chosen, without_newer(self.system.describe()), images], sort_keys=True)
        return f"{self.recipe}-{self.seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def without_newer(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a system without the settings that are newer than the first results.

    >>> without_newer({"decoder": "ConvDecoder", "settings": {"width": 16, "transport": "none"}})
    {'decoder': 'ConvDecoder', 'settings': {'width': 16}}
    """
    settings = {
        name: value
        for name, value in description["settings"].items()
        if name not in _BY_CLASS and (name not in EARLIER or EARLIER[name] != value)
    }
    return {**description, "settings": settings}


@lru_cache(maxsize=1)
def _images(data: str, image_size: int | None) -> ImageData:
    return load_images(data, image_size=image_size)


@lru_cache(maxsize=1)
def _images_sha256(data: str, image_size: int | None) -> str:
    images = _images(data, image_size)
    return "".join(fingerprint(split.images) for split in (images.train, images.validation, images.test))


def parse_system(text: str) -> tuple[str, dict[str, Scalar]]:
    """Parse a recipe with its own settings.

    >>> parse_system("eae:entropy=0.3:entropy.k=2")
    ('eae', {'entropy': '0.3', 'entropy.k': '2'})
    """
    recipe, *pairs = text.strip().split(":")
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"expected RECIPE:NAME=VALUE, got '{text}'; for example eae:entropy=0.3.")
    return recipe, {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def has_transport(cell: Mapping[str, Any]) -> bool:
    """Return whether the codes of a measured cell have a transport.

    >>> has_transport({"expanded": {"settings": {"transport": "mixture"}}})
    True
    """
    return bool(cell["expanded"]["settings"].get("transport", "none") != "none")


def read_cells(out: Path) -> list[dict[str, Any]]:
    """Return the contents of the result files in a folder, in the order of their names."""
    return [read_json(path) for path in sorted(out.glob("[!.]*.json"))]  # without temporary files


def shared_protocol(cell: Mapping[str, Any]) -> dict[str, str]:
    """Return the protocol that all cells of a folder must share, as text."""
    names = ("data", "limit", "n", "features", "split")
    protocol = {**{name: cell[name] for name in names}, "precision": cell.get("precision", "32"), **cell["shared"]}
    return {name: str(value) for name, value in protocol.items()}
