"""Train a recipe into a run folder, new or resumed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

from entropic_ae import generation
from entropic_ae.data import Given, fingerprint, load_images
from entropic_ae.densities import Prior
from entropic_ae.distributed import is_first
from entropic_ae.errors import InputError
from entropic_ae.export import FORMATS, exported
from entropic_ae.features import check_features
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.randomness import check_seed
from entropic_ae.recipes import PRESETS, Recipe, changes_of, differences, recipe_for, system_for, system_of
from entropic_ae.recipes.recipe import Scalar, read_setting
from entropic_ae.registry import imported
from entropic_ae.runs.loading import read_info
from entropic_ae.runs.run import Run
from entropic_ae.storage.files import claimed, remove_unfinished, write_json, write_text
from entropic_ae.storage.log import LOG
from entropic_ae.storage.run_folder import INFO_FILE, METRICS_FILE
from entropic_ae.training import (
    CHECKPOINT,
    WEIGHTS,
    Execution,
    check_checkpoint,
    check_training,
    fit_model,
    quiet_lightning,
)
from entropic_ae.training.loggers import EarlierEpochs, SamplePictures, check_logger, close_logger, make_logger

__all__ = ["train"]

_LOCK = ".lock"
_DRAWN = "checkpoints/drawn"  # which weights the pictures show
# files that are written under the claim alone; draw, evaluate, export and sample write others without it
_CLAIMED = (INFO_FILE, WEIGHTS, LOG, Path(CHECKPOINT).name, Path(_DRAWN).name)
_SAME = ("recipe", "preset", "shape", "limit", "seed", "precision", "training_images_sha256")  # in a resumed run
_FEW = 4  # differences in a sentence


def train(
    recipe: str | Recipe,
    data: str | Path | Given,
    *,
    set: Mapping[str, Scalar] | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "32",
    compile: bool = False,
    resume: bool = False,
    progress: bool = True,
    logger: str | None = None,
    picture_every: int = 5,
) -> Run:
    """Train a system on a data set, into a new run folder.

    Arguments:
        recipe: a name in ``RECIPES`` (ae, bn-ae, eae, ...), or a custom recipe.
        data: a registered name, a folder of images, a parquet, .npz or .npy file, ``hf:owner/name`` or
            ``hf-stream:owner/name``; or the images themselves; see ``load_images``.
        set: settings to change, by name; ``entropic-ae recipes`` lists them. ``image_size`` belongs to the data.
        preset: sizes to start from; default: the data set's own, or those for the nearest image size.
        epochs: short for ``set={"epochs": ...}``.
        seed: of the initial weights, the order of the images and the densities.
        limit: use only the first images, at least 2.
        out: the run folder, new or empty; default: ``runs/<recipe>-<data>-<seed>``.
        device: auto, cpu or cuda.
        devices: processes on each machine, which share each minibatch; see ``fit``.
        nodes: machines.
        precision: 32, bf16 or 64.
        compile: compile the networks; see ``fit``.
        resume: resume an interrupted run with the same settings, or with more epochs. While one process trains
            in a folder, another is refused; a run may be loaded while it is trained.
        progress: show progress on the terminal.
        logger: csv, tensorboard, wandb or mlflow, besides log.csv; see ``tracking.make_logger``.
        picture_every: epochs between two logged pictures of samples.

    Returns: the run, with the weights of the lowest validation loss.

    Raises: InputError for anything that cannot work, before the run folder is made where that can be known.

    >>> import tempfile
    >>> out = tempfile.mkdtemp()
    >>> run = train("eae", "digits", epochs=1, set={"width": 4}, out=out, device="cpu", progress=False)
    >>> run.sample(2, density="prior", seed=0).shape
    torch.Size([2, 1, 8, 8])
    """
    changes = _changes(set, epochs)
    check_seed(seed)
    check_logger(logger, picture_every)
    execution = Execution(device, devices, nodes, precision, compile)
    recipe = recipe_for(recipe)
    if preset is not None:
        PRESETS.find(preset)
    size = changes.pop("image_size", None)
    image_size = None if size is None else read_setting("image_size", size, 0)
    images = load_images(data, image_size=image_size, limit=limit)
    system = system_for(recipe, images, changes, preset=preset)
    if system.preset.features != PRESETS[system.preset.name].features:
        changes["features"] = system.preset.features
    model, objective = system.build(images.shape, seed=seed)
    check_features(system.preset.features)
    parts = (model, objective, images.train.images, images.validation.images, system.preset.training)
    check_training(*parts, execution)
    info = {
        "recipe": recipe.name,
        "preset": system.preset.name,
        "data": images.name,
        "source": images.source,
        "image_size": image_size,
        "limit": limit,
        "seed": seed,
        "precision": precision,
        "compiled": compile,
        "overrides": changes,
        "summary": recipe.summary,
        "reference": recipe.reference,
        "density": recipe.density,
        "expanded": system.describe(),
        "shape": list(images.shape),
        "training_images": len(images.train.images),
        "training_images_sha256": fingerprint(images.train.images),
        "device": str(execution.target),
        "processes": execution.processes,
        "machine": machine(),
        "versions": versions(),
        "git_commit": git_commit(),
        "imports": imported(),
    }
    folder = Path(out) if out is not None else Path("runs") / f"{recipe.name}-{images.name}-{seed}"
    run = Run(folder, info, system, model, given=None if isinstance(data, str | Path) else data)
    run.data = images
    first = is_first(execution.processes)  # the others follow it
    with _claim(folder, info, resume, recipe) if first else nullcontext():
        with _logging(run, logger, picture_every) as (tracker, callbacks):
            fit_model(
                *parts,
                execution,
                seed=seed,
                folder=folder,
                resume=resume,
                progress=progress,
                logger=tracker,
                callbacks=callbacks,
            )
        run.model.to(execution.target)
        if first:
            _draw(run)
    return run


@contextmanager
def _logging(run: Run, name: str | None, picture_every: int) -> Iterator[tuple[Logger | None, list[Callback]]]:
    """Yield a logger by its name and the callbacks that feed it besides; both are none without a name."""
    if name is None:
        yield None, []
        return
    tracker = make_logger(name, run.folder)
    try:
        with quiet_lightning():
            tracker.log_hyperparams(run.system.settings())
        prior = Prior(run.model.bottleneck.prior())
        draw = partial(generation.sample, run.model, prior, 64, seed=0)
        yield tracker, [EarlierEpochs(name, run.folder / LOG), SamplePictures(name, draw, picture_every)]
    finally:  # also after Ctrl-C or a loss that is not finite
        close_logger(name, tracker)


def _draw(run: Run) -> None:
    """Draw the pictures of a trained run, and remove what shows or measures weights from before a resume."""
    drawn, weights = run.folder / _DRAWN, run.weights_sha256()
    if drawn.is_file() and drawn.read_bytes() == weights.encode():
        return
    stale = [run.folder / METRICS_FILE, run.folder / "report.html", *run.folder.glob("samples-*.png")]
    stale += [path for to in FORMATS for path in exported(run.folder / to, to)]
    if removed := sorted(path.name for path in stale if path.name != "samples-prior.png" and path.exists()):
        warnings.warn(
            f"{', '.join(removed)} in {run.folder} belonged to the weights before and are removed.", stacklevel=3
        )
    for path in stale:
        path.unlink(missing_ok=True)
    run.draw("prior")
    write_text(drawn, weights)


def _changes(set: Mapping[str, Scalar] | None, epochs: int | None) -> dict[str, Any]:
    """Return the settings that change, epochs among them."""
    if set is not None and not isinstance(set, Mapping):
        raise InputError(f"set expects a dictionary such as {{'width': 16}}, got {set!r}.")
    changes = dict(set or {})
    if epochs is not None and "epochs" in changes:
        raise InputError("epochs was given twice, by itself and among the settings; give it once.")
    return changes if epochs is None else {**changes, "epochs": epochs}


@contextmanager
def _claim(folder: Path, info: dict[str, Any], resume: bool, recipe: Recipe) -> Iterator[None]:
    """Hold the run folder for the time of the block: made with its run.json, or checked that it can be resumed."""
    _check_folder(folder, resume)
    with claimed(
        folder / _LOCK, f"{folder} is being trained by another process; wait for it, or give another folder."
    ):
        _check_folder(folder, resume)  # another process may have been there meanwhile
        if _begun(folder):
            _check_same(folder, info, recipe)
        for place in (folder, (folder / CHECKPOINT).parent, folder / "densities"):
            remove_unfinished(place, _CLAIMED)
        write_json(folder / INFO_FILE, info)
        yield


def _begun(folder: Path) -> bool:
    """Return whether there is more in a folder than a start that failed leaves: run.json and hidden files."""
    return folder.is_dir() and any(path.name != INFO_FILE and path.name[0] != "." for path in folder.iterdir())


def _check_folder(folder: Path, resume: bool) -> None:
    """Raise InputError if training can neither be resumed nor started in a folder."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give another --out.")
    if _begun(folder) and not resume:
        raise InputError(
            f"{folder} exists and is not empty; give another folder (out, --out), or resume this one "
            "(resume=True, --resume)."
        )
    if _begun(folder) and not (folder / INFO_FILE).is_file():
        raise InputError(f"{folder} is not a run folder: it has no {INFO_FILE}; give another --out.")


def _check_same(folder: Path, info: dict[str, Any], recipe: Recipe) -> None:
    """Raise InputError if the run in a folder cannot be resumed with this recipe and these settings."""
    before = read_info(folder)
    differing = differences({name: before.get(name) for name in _SAME}, info)
    if before["recipe"] == recipe.name:
        settings = {**system_of(before, recipe).settings(), **before["expanded"]["settings"]}
        del settings["epochs"]
        differing += changes_of({**before["expanded"], "settings": settings}, info["expanded"])
    if (folder / WEIGHTS).exists() and not (folder / CHECKPOINT).is_file():
        raise InputError(
            f"{folder} has weights but no {CHECKPOINT}, so training cannot go on; give another --out."
        )
    if differing:
        raise InputError(
            f"{folder} cannot be resumed with other settings: {'; '.join(differing[:_FEW])}"
            f"{'; ...' * (len(differing) > _FEW)}; give those of before, or another --out."
        )
    if (folder / CHECKPOINT).is_file():
        check_checkpoint(folder / CHECKPOINT, info["expanded"]["settings"]["epochs"])
