"""The start of a run from another: the settings that it takes over, and the weights, if they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropic_ae import sharing
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import IN_MEMORY
from entropic_ae.errors import InputError
from entropic_ae.recipes import PRESETS, Recipe, System, configure, differences
from entropic_ae.runs.loading import load, read_info
from entropic_ae.runs.run import Run
from entropic_ae.storage.json_schema import shown
from entropic_ae.storage.run_folder import RunFolder, is_shared
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.storage.tensors import unpack_tensors

__all__ = ["Start", "like_run", "start_of"]

_PARTS = frozenset({"network", "bottleneck", "terms", "transport"})  # which decide what other settings there are


@dataclass(frozen=True)
class Start:
    """The run whose settings another takes over, with its weights or without.

    Attributes:
        name: of the run, as given.
        record: its name and the digest of its weights, for run.json; None if they are not taken over.
        info: run.json with the settings to take over; of a run to resume, its own.
        source: the run; None if the new run has its own initial weights, or resumes from a checkpoint, which holds
            all weights.
    """

    name: str
    record: Mapping[str, str] | None
    info: RunInfo
    source: Run | None

    @property
    def data(self) -> str:
        """The source of the images; InputError if they were in memory."""
        if self.info.source == IN_MEMORY:
            raise InputError(f"{self.name} was trained on images in memory; give the data to train on.")
        return self.info.source

    def settings(
        self, recipe: Recipe, preset: str, changes: Mapping[str, Any], *, same_data: bool
    ) -> dict[str, Any]:
        """Return the settings that the other run was given, as far as the recipe has them, below those given now.

        The feature space belongs to the data, and is taken over with them only. Another recipe has its own terms.
        """
        own = {name: value for name, value in self.info.overrides.items() if name not in self.info.fitted}
        if recipe.name != self.info.recipe:
            own.pop("terms", None)
        if recipe.name != self.info.recipe or not _PARTS.isdisjoint(changes):
            parts = {name: value for name, value in {**own, **changes}.items() if name in _PARTS}
            known = configure(recipe, PRESETS.find(preset), parts).settings()
            own = {name: value for name, value in own.items() if name in known}
        if not same_data:
            own.pop("features", None)
        return own | dict(changes)

    def give(self, model: Autoencoder, system: System, shape: tuple[int, int, int]) -> None:
        """Load the weights into a new model; InputError, with the settings that differ, if they do not fit."""
        if self.source is None or self.record is None:
            return
        name, source = self.name, self.source
        then = {**source.system.architecture(), "shape": list(source.shape)}
        if differing := differences(then, {**system.architecture(), "shape": list(shape)}):
            raise InputError(
                f"the weights of {name} do not fit: {'; '.join(differing)}; give its settings and images of its "
                "shape, or train from initial weights."
            )
        content = source.files.weights.read_bytes()
        if source.files.weights_sha256(content) != self.record["weights_sha256"]:
            raise InputError(f"{name} was trained further meanwhile; repeat the command when that has ended.")
        try:
            model.load_state_dict(unpack_tensors(content)[0])
        except RuntimeError as error:  # of custom parts: all that others need to fit is compared above
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"the weights of {name} do not fit ({reason}); train from initial weights.") from None


def start_of(run: str | Path, recipe: str | Recipe | None, out: str | Path | None, resume: bool) -> Start:
    """Return the start from a run folder or a run on the Hub; it need not exist to resume from a checkpoint.

    Raises: InputError if it cannot be loaded, the new run has no folder, or that began from another.
    """
    if not isinstance(run, str | Path):
        raise InputError(
            f"start_from expects a run folder or hf:owner/name, got {type(run).__name__}; give run.folder."
        )
    if out is None:
        raise InputError(
            "a run that starts from another needs a folder that is named, got none; give one (out, --out)."
        )
    name, files = str(run), RunFolder(Path(out))
    if resume and files.checkpoint.is_file():
        info = read_info(files)
        before = info.start_from
        if before is None or Path(before["run"]) != Path(name):
            was = "initial weights" if before is None else shown(before["run"], 200)
            raise InputError(
                f"{out} cannot be resumed from another start: it began from {was}, got {shown(name, 200)}; "
                "restore it, or give another --out."
            )
        return Start(name, before, info, None)
    own = None
    if isinstance(recipe, Recipe) and not is_shared(name):  # a custom one, which may not be registered
        own = recipe if read_info(RunFolder(Path(run))).recipe == recipe.name else None
    source = load(run, device="cpu", recipe=own)
    info = read_info(files) if resume and files.is_begun else source.info  # killed in its first epoch
    return Start(name, {"run": name, "weights_sha256": source.weights_sha256()}, info, source)


def like_run(run: str | Path) -> Start:
    """Return the settings of a run folder or a run on the Hub, whose weights are not taken over.

    Raises: InputError if it is no run, or its run.json is damaged.
    """
    if not isinstance(run, str | Path):
        raise InputError(f"like expects a run folder or hf:owner/name, got {type(run).__name__}; give run.folder.")
    path = sharing.fetch(str(run)) if is_shared(run) else Path(run)
    return Start(str(run), None, read_info(RunFolder(path)), None)
