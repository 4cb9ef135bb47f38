"""A model with its folder: where it is, its images, and whether the weights in memory are the folder's."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import Given, ImageData
from entropic_ae.densities import Density
from entropic_ae.errors import InputError, warn
from entropic_ae.recipes import System
from entropic_ae.runs.caution import caution
from entropic_ae.runs.images import check_trained_on, load_data
from entropic_ae.runs.overview import Overview
from entropic_ae.runs.scoring import Scores
from entropic_ae.storage.files import sha256
from entropic_ae.storage.log import best_epoch
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.storage.tensors import digest

__all__ = ["StoredRun"]


class StoredRun:
    """A model with its folder, without what is done with it; see ``Run``."""

    def __init__(
        self,
        folder: Path,
        info: RunInfo,
        system: System,
        model: Autoencoder,
        *,
        origin: str | None = None,
        given: str | Path | Given | None = None,
        weights: str | None = None,
    ) -> None:
        self.folder = folder
        self.files = RunFolder(folder)
        self.origin = origin
        self._given = given
        self._weights = weights
        self._fitted: dict[tuple[str, int | None, str], Density] = {}  # by name, label and digest of the weights
        self._codes: tuple[str, tuple[Tensor, Tensor | None]] | None = None
        self._ordinary: dict[tuple[str, str], Scores] = {}  # of the validation images, by density and digest
        self.info = info
        self.system = system
        self.model = model
        self._saved = None if weights is None else self.state_sha256()
        self.overview: Overview | None = None

    @property
    def name(self) -> str:
        """The name by which the run was loaded: its folder, or ``hf:owner/name``."""
        return self.origin or str(self.folder)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, whose weights the run has; None without a readable log."""
        with suppress(OSError, InputError):
            return best_epoch(self.files.read_log())
        return None

    @property
    def caution(self) -> str | None:
        """A warning if training was too short for its metrics to be meaningful; else, or without a log, None.

        In evaluation the norms use running averages, which start at mean 0 and variance 1 and follow the weights
        with a delay. After ten times the minibatches that an average spans, the initial values are negligible;
        before that, entropies may be far below the maximum, and even reconstructions may look alike.
        """
        return caution(self.model, self.info, self.best_epoch, self.system.preset.training.batch_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.info.shape

    @cached_property
    def data(self) -> ImageData:
        """The images that the run was trained on; InputError if they are missing or have changed."""
        data = self.load_data(self.info.limit)
        self.check_trained_on(data)
        return data

    def state_sha256(self) -> str:
        """The digest of the model in memory: of the classes of its parts, its parameters and its buffers."""
        parts = " ".join(f"{name}:{type(part).__qualname__}" for name, part in self.model.named_modules())
        return sha256(f"{parts} {digest(self.model.state_dict())}".encode())

    def mark_saved(self) -> None:
        """Take the model in memory for that of the folder, as training does when it has written the weights."""
        self._saved, self._weights = self.state_sha256(), None

    @property
    def is_changed(self) -> bool:
        """Whether the model in memory was changed since it was loaded or trained."""
        return self.state_sha256() != self._saved

    @property
    def _changed(self) -> str:
        return f"the model in memory is no longer that of {self.name}:"

    def weights_sha256(self) -> str:
        """The digest of the weights in memory: of the file loaded or written; of the model, if it was changed."""
        if self._weights is None:
            self._weights = self.files.weights_sha256()
        state = self.state_sha256()
        return self._weights if state == self._saved else state

    def is_current(self, otherwise: str) -> bool:
        """Return whether the folder has the weights in memory; if not, warn with the consequence ``otherwise``."""
        if self.is_changed:
            warn(f"{self._changed} {otherwise}; load it again.")
            return False
        if self.files.weights_sha256() == self.weights_sha256():
            return True
        warn(f"{self.folder} has other weights since it was loaded: {otherwise}; load it again.")
        return False

    def load_data(self, limit: int | None) -> ImageData:
        """Load the images that the run names, or that ``load`` was given; InputError if they are missing."""
        return load_data(self.info, self.name, limit, self._given)

    def check_trained_on(self, data: ImageData) -> None:
        """Raise InputError unless these are, up to the limit, the images that the run was trained on."""
        check_trained_on(self.info, self.name, data, labelled=self.model.labels is not None)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.info.recipe} on {self.info.data}, images {self.shape})"
