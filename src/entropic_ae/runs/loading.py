"""Load a run from its folder or from the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from entropic_ae import sharing
from entropic_ae.data import Given
from entropic_ae.errors import InputError
from entropic_ae.recipes import PRESETS, RECIPES, Recipe, System, changes_of, system_of
from entropic_ae.runs.run import Run
from entropic_ae.runs.transporting import attach
from entropic_ae.storage.files import sha256
from entropic_ae.storage.json_schema import check, shown
from entropic_ae.storage.run_folder import INFO_FILE, WEIGHTS, RunFolder
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.storage.tensors import unpack_tensors
from entropic_ae.training import Execution

__all__ = ["load", "read_info"]


def load(
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    data: str | Path | Given | None = None,
    device: str = "auto",
    token: str | None = None,
    out: str | Path | None = None,
) -> Run:
    """Load a run from its folder or from the Hub: the named recipe is rebuilt with its overrides and compared.

    No code and no pickle is read. Runs on the Hub are not trusted: only the files of a run are downloaded, and
    their content is checked before memory is allocated. Custom parts are therefore not in the folder: register
    them first, or pass a custom recipe here.

    Arguments:
        folder: a run folder, ``hf:owner/name`` or ``hf:owner/name@revision`` on the Hugging Face Hub, or
            ``example:mnist``, a trained run that comes with the library.
        recipe: the recipe of the run, if it is not in ``RECIPES``.
        data: the new place of the run's images, or the images; required for images in memory.
        device: auto, cpu, cuda or mps.
        token: access token of the Hub, for a private run; default: that of ``hf auth login`` or ``HF_TOKEN``.
        out: a new folder for a copy of a run from the Hub, which is then an ordinary run. By default the run is
            read where it is, and never written to: see ``Run.origin``.

    Raises: InputError if the folder is not a run, lacks its weights, is damaged, or was trained with a recipe or
        a part that is missing here or defined differently; or if the Hub has no such run or cannot be reached.

    >>> import tempfile
    >>> from entropic_ae import train
    >>> small = {"width": 2}
    >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
    >>> load(run.folder).system.settings() == run.system.settings()
    True
    """
    if sharing.is_shared(folder):
        path = sharing.fetch(str(folder), token=token, out=out)
        return _load(path, str(folder) if out is None else None, recipe, data, device)
    if out is not None:
        raise InputError(f"out is for a run on the Hub or an example, got the folder {folder}; leave it out.")
    return _load(Path(folder), None, recipe, data, device)


def _load(
    folder: Path, origin: str | None, recipe: Recipe | None, data: str | Path | Given | None, device: str
) -> Run:
    name = origin or str(folder)
    files = RunFolder(folder)
    info = read_info(files)
    system = system_of(info, recipe)
    if differing := changes_of(info.expanded, system.describe()):
        own = info.recipe not in RECIPES.builtin or info.preset not in PRESETS.builtin
        before = "the original one" if own else f"entropic-ae {str(info.versions.get('entropic-ae'))[:20]}"
        raise InputError(
            f"{name} was trained with another definition of '{info.recipe}' ({'; '.join(differing)}); use "
            f"{before}, or train again."
        )
    path = files.weights
    if not path.is_file():
        has = "a checkpoint to --resume from" if files.checkpoint.is_file() else "no checkpoint either"
        raise InputError(
            f"{folder} has no {WEIGHTS}: training stopped before its first epoch ended, or they are gone ({has}); "
            "train again with --resume."
        )
    try:
        content = path.read_bytes()
        weights, _ = unpack_tensors(content)
    except (InputError, OSError) as error:
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{path} is damaged or of another model ({reason}); train again.") from None
    try:
        _check_size(folder / INFO_FILE, system, info, weights)
        model, _ = system.build(info.shape, seed=info.seed, classes=_classes(info))
        model.load_state_dict(weights)
    except InputError:
        raise
    except (RuntimeError, OverflowError, TypeError, ValueError, MemoryError) as error:
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{path} is damaged or of another model ({reason}); train again.") from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values()):
        raise InputError(f"{path} is damaged: it holds values that are not finite; train again.")
    model.to(Execution(device).target)
    weights_sha256 = sha256(content)
    if (saved := files.read_transport(weights_sha256)) is not None:
        attach(model, files, saved)
        weights_sha256 = saved.joint_sha256
    return Run(folder, info, system, model, origin=origin, given=data, weights=weights_sha256)


def read_info(files: RunFolder) -> RunInfo:
    """Return run.json; InputError if it is damaged, or does not name the data."""
    info = files.read_info()
    check(info, {"training_images_sha256": str}, str(files.path / INFO_FILE))
    return info


def _classes(info: RunInfo) -> int | None:
    return None if info.classes is None else len(info.classes["names"])


def _check_size(path: Path, system: System, info: RunInfo, weights: Mapping[str, Tensor]) -> None:
    """Raise InputError for settings of a larger network than the file holds, before memory is allocated."""
    # every layer has at least one tensor
    if not system.own_parts and (depth := int(system.settings().get("depth", 1))) > len(weights):
        raise InputError(
            f"{path} asks for {depth:,} layers, {WEIGHTS} holds {len(weights):,} tensors; train again."
        )
    # spectral norms would be computed, and add to the size
    plain = system.with_settings({"spectral": False} if "spectral" in system.settings() else {})
    try:
        with torch.device("meta"):
            model, _ = plain.build(info.shape, seed=0, classes=_classes(info))
        needed = sum(tensor.numel() for tensor in model.state_dict().values())
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes beyond 64 bits
        if system.own_parts:
            return  # a custom network may not support the meta device
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{path} asks for a network that cannot be built ({reason}); train again.") from None
    held = sum(tensor.numel() for tensor in weights.values())
    if needed > held:
        raise InputError(f"{path} asks for a network of {needed:,} values, {WEIGHTS} holds {held:,}; train again.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(":.")
