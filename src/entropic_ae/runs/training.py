"""Train a recipe into a run folder, new, or resumed after a check that its settings are the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from entropic_ae import generation
from entropic_ae.data import Given
from entropic_ae.densities import Prior
from entropic_ae.distributed import in_turn, is_first
from entropic_ae.errors import InputError, Interrupted, given_once, warn
from entropic_ae.randomness import check_seed
from entropic_ae.recipes import Recipe, changes_of, differences, split_image_size, system_of
from entropic_ae.recipes.earlier import EARLIER
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.runs.drawing import draw_again
from entropic_ae.runs.labels import taken
from entropic_ae.runs.loading import read_info
from entropic_ae.runs.pace import advice
from entropic_ae.runs.planning import Asked, Plan, completed, planned
from entropic_ae.runs.run import Run
from entropic_ae.runs.transporting import attach_saved, fit_transport
from entropic_ae.storage.log import read_log
from entropic_ae.storage.run_folder import CHECKPOINT, PREVIEW, RunFolder
from entropic_ae.storage.run_info import IN_MEMORY, RunInfo
from entropic_ae.training import Execution, check_checkpoint, quiet_lightning, to_unit
from entropic_ae.training.checks import check_preview
from entropic_ae.training.loggers import check_logger, close_logger, make_logger
from entropic_ae.training.stopping import STOP_SETTINGS, Stopped
from entropic_ae.verdict import train_command

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

    from entropic_ae.training.preview import Preview

__all__ = ["train"]

_SAME = (
    "recipe",
    "preset",
    "shape",
    "limit",
    "seed",
    "precision",
    "training_images_sha256",
    "start_from",
)  # in a resumed run
_FEW = 4  # differences named in an error
_PREVIEW_COLUMNS, _PREVIEW_ROWS = 16, 3  # images, and rows of samples


def train(
    recipe: str | Recipe | None = None,
    data: str | Path | Given | None = None,
    *,
    start_from: str | Path | None = None,
    set: Mapping[str, Scalar] | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    image_size: int | None = None,
    value_range: tuple[float, float] | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "32",
    compile: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    logger: str | None = None,
    picture_every: int = 5,
    like: str | Path | None = None,
    size: str | None = None,
    preview_every: int | None = None,
) -> Run:
    """Train a system on a data set, into a new run folder.

    Arguments:
        recipe: a name in ``RECIPES`` (ae, bn-ae, eae, ...), or a custom recipe.
        data: a registered name, a folder, a file, ``hf:owner/name`` or ``hf-stream:owner/name``; or the images
            themselves, an array, a list or a data set; see ``load_images``.
        start_from: a run folder, or ``hf:owner/name``, whose weights replace the initial ones; the optimiser is
            new. Recipe, data, preset, image size and the settings that it changed are taken over where none are
            given. Needs ``out``.
        set: settings to change, by name; ``entropic-ae recipes`` lists them.
        preset: sizes to start from; default: the data set's own, or those for the nearest image size.
        epochs: short for ``set={"epochs": ...}``.
        seed: of the initial weights, the order of the images and the densities.
        limit: number of training images to use, at least 2; default: all.
        image_size: side in pixels to which the centre square of each image is resized, see ``load_images``; may
            be given in ``set`` instead.
        value_range: the values of black and white of arrays that are not uint8, such as (0, 1) or (-1, 1).
        out: the run folder, new or empty; default: ``runs/<recipe>-<data>-<seed>``.
        device: auto, cpu, cuda or mps.
        devices: processes on each machine, which share each minibatch; see ``fit``.
        nodes: machines.
        precision: 32, bf16 or 64.
        compile: compile the networks; see ``fit``.
        resume: resume an interrupted run with the same settings, or with more epochs, or other rules for when to
            stop (``stop_after``, ``stop_rate``). A run that has stopped, and still meets its rules, is not trained
            further, and a warning says so. With ``out`` alone everything is as in run.json. While one process
            trains in a folder, another is refused; a run may be loaded while it is trained.
        overwrite: replace the run in the folder, if there is one and no other process trains in it. Its files are
            kept until the new run starts; files that are not a run's stay.
        progress: show on the terminal what was understood, and progress.
        logger: a name in ``training.loggers.LOGGERS``; it gets the rows of log.csv, and pictures of samples.
        picture_every: epochs between two logged pictures of samples.
        preview_every: epochs between two versions of preview.png, validation images above their reconstructions
            and samples of the prior, which is also drawn after the first epoch and the last; None for a tenth of
            the epochs, 0 for no preview. A notebook shows it too.
        like: a run folder, or ``hf:owner/name``: recipe, data and settings are its own where none are given; the
            initial weights are new.
        size: a name in ``SIZES``: width, batch and schedule together; each may be changed in ``set``. By default a
            registered preset keeps its numbers, but for the width on a CPU, and other images get those that fit
            their number, their shape and the device, see ``recipes.fitted``. They are recorded in run.json, and a
            resumed run has them again.

    Returns: the run, with the weights of the lowest validation loss. Warnings tell how many images are exact
    copies of others, and that a precision is slow on this CPU.

    Raises: InputError for anything that cannot work, if possible before the run folder is created; also for
        weights to start from that are of another architecture or shape.

    >>> import tempfile
    >>> out = tempfile.mkdtemp()
    >>> run = train("eae", "digits", epochs=1, set={"width": 4}, out=out, device="cpu", progress=False)
    >>> run.sample(2, density="prior", seed=0).shape
    torch.Size([2, 1, 8, 8])
    >>> slower, options = {"learning_rate": 1e-4}, {"device": "cpu", "progress": False}
    >>> tuned = train(start_from=run.folder, set=slower, epochs=1, out=tempfile.mkdtemp(), **options)
    >>> tuned.info.start_from["weights_sha256"] == run.weights_sha256()
    True
    """
    check_seed(seed)
    check_logger(logger, picture_every)
    check_preview(preview_every)
    if resume and out is not None and recipe is data is start_from is like is None:
        like = out  # the run itself
        if RunFolder(Path(out)).is_begun:
            info = read_info(RunFolder(Path(out)))
            if info.start_from is not None:
                like, start_from = None, info.start_from["run"]
                limit = info.limit if limit is None else limit
            seed, compile = seed or info.seed, compile or info.compiled
            precision = info.precision if precision == "32" else precision
    execution = Execution(device, devices, nodes, precision, compile)
    image_size, changes = split_image_size(_changes(set, epochs=epochs, image_size=image_size))
    asked = Asked(recipe, data, changes, preset, image_size, value_range, limit, size)
    first = is_first(execution.processes)
    if out is not None and first:
        RunFolder(Path(out)).check_trainable(resume, overwrite)
    asked, start = completed(asked, start_from, like, out, resume)
    plan = planned(asked, start, execution, seed=seed, out=out, resume=resume, progress=progress)
    recipe, folder, files = plan.recipe, plan.folder, RunFolder(plan.folder)
    given = None if isinstance(asked.data, str | Path) else asked.data
    run = Run(folder, plan.info, plan.system, plan.model, given=given)
    run.data, run.overview = plan.images, plan.overview
    if first:
        _warn(plan, execution, progress)
    if first and progress:
        lines = [*plan.overview.lines(), _where(run, preview_every)]
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    from entropic_ae.training import fit_model  # imports Lightning

    same = partial(_check_same, files, plan.info, recipe)
    claim = files.claimed(plan.info, resume, same, overwrite=overwrite) if first else nullcontext()
    previews = _previews(run, preview_every)
    try:
        with claim:  # for all processes
            with _logging(run, logger, picture_every) as (tracker, callbacks):
                fitted = fit_model(
                    plan.model,
                    plan.objective,
                    plan.images.train.images,
                    plan.images.validation.images,
                    plan.system.preset.training,
                    execution,
                    seed=seed,
                    folder=folder,
                    resume=resume,
                    progress=progress,
                    logger=tracker,
                    callbacks=[*callbacks, *previews],
                    labels=plan.labels,
                    advise=advice(plan.system, plan.images.shape),
                )
            _record_stop(run, fitted.stopped, first)
            run.model.to(execution.target)
            if first and fitted.stopped is not None:  # sooner than the last preview was due
                run.model.eval()
                for preview in previews:
                    preview.write()
            with execution.together(), in_turn():  # the others read what the first process has written
                _finish(run, recipe, seed, progress and first)
            if first:
                draw_again(run)
    except KeyboardInterrupt:
        raise Interrupted(_interruption(run)) from None
    return run


def _warn(plan: Plan, execution: Execution, progress: bool) -> None:
    """Warn of images that are copies of others, unless ``progress`` shows them, and of a slow precision."""
    if plan.copies.repeated and (plan.copies.shared or not progress):
        warn(f"{plan.copies}.")
    if execution.slowdown:
        warn(execution.slowdown)


def _where(run: Run, preview_every: int | None) -> str:
    """Return the line that names the run folder, and the picture there that shows the progress."""
    preview = "" if preview_every == 0 else f"; {PREVIEW} there shows how far it is"
    return f"into {run.folder}{preview}"


def _interruption(run: Run) -> str:
    """Return which weights a run that was interrupted has, and how it is resumed."""
    log = read_log(run.files.log) if run.files.log.is_file() else {}
    done, of = len(log.get("epoch", ())), run.system.preset.training.epochs
    if not done or not run.files.weights.is_file():
        return f"{run.folder} has no weights yet, as no epoch has ended"
    out = ("--out", str(run.folder), "--resume")
    in_memory = run.info.source == IN_MEMORY
    again = "the same call of train with resume=True" if in_memory else train_command(run.info, *out)
    return f"{run.folder} has {done} of {of} epochs, and can be sampled; to resume: {again}"


def _record_stop(run: Run, stopped: Stopped | None, first: bool) -> None:
    """Say in run.json that the training ended early, if it did."""
    if stopped is None:
        return
    run.info = RunInfo.of({**run.info, "stopped": stopped.record()})
    if first:
        run.files.write_info(run.info)


def _finish(run: Run, recipe: Recipe, seed: int, progress: bool) -> None:
    """Take the folder's weights for the run's, fit its transport, and do what the recipe does after training."""
    attach_saved(run)
    run.mark_saved()
    if (own := run.system.recipe).transport:
        if progress:  # minutes for tens of thousands of codes
            images = f"{run.info.training_images:,} training images"
            print(f"fitting the transport '{own.transport}' to the codes of {images}", file=sys.stderr, flush=True)
        fit_transport(run, own.transport, seed, own.transport_settings)
    if recipe.after_training is not None:
        recipe.after_training(run)


@contextmanager
def _logging(run: Run, name: str | None, picture_every: int) -> Iterator[tuple[Logger | None, list[Callback]]]:
    """Yield a logger by its name and its callbacks; None and no callbacks without a name."""
    if name is None:
        yield None, []
        return
    from entropic_ae.training.callbacks import EarlierEpochs, SamplePictures

    tracker = make_logger(name, run.folder)
    try:
        with quiet_lightning():
            tracker.log_hyperparams(run.system.settings())
        prior = Prior(run.model.bottleneck.prior())
        draw = partial(generation.sample, run.model, prior, 64, seed=0)
        yield tracker, [EarlierEpochs(name, run.files.log), SamplePictures(name, draw, picture_every)]
    finally:  # also after Ctrl-C or a loss that is not finite
        close_logger(name, tracker)


def _previews(run: Run, every: int | None) -> list[Preview]:
    """Return the callback that draws preview.png; none for 0 epochs between two."""
    if every == 0:
        return []
    from entropic_ae.training.preview import Preview

    split = run.data.validation.at(slice(_PREVIEW_COLUMNS))
    real, labels = split.images, taken(run, split)
    prior = Prior(run.model.bottleneck.prior())

    def draw() -> Tensor:
        samples = generation.sample(run.model, prior, _PREVIEW_ROWS * len(real), seed=0)
        with torch.no_grad():
            like = next(run.model.parameters())  # float64 in that precision
            codes = run.model.encode(to_unit(real).to(like), None if labels is None else labels.to(like.device))
        return torch.cat([real, generation.decode(run.model, codes, labels), samples])

    return [Preview(run.files.preview, draw, len(real), every)]


def _changes(set: Mapping[str, Scalar] | None, **arguments: Scalar | None) -> dict[str, Any]:
    """Return the changed settings, with the arguments that are short for a setting."""
    if set is not None and not isinstance(set, Mapping):
        raise InputError(f"set expects a dictionary such as {{'width': 16}}, got {set!r}.")
    given = ((name, value) for name, value in arguments.items() if value is not None)
    return given_once([*(set or {}).items(), *given])


def _check_same(files: RunFolder, info: RunInfo, recipe: Recipe) -> None:
    """Raise InputError if the run in a folder cannot be resumed with this recipe and these settings."""
    folder, before = files.path, read_info(files)
    differing = differences({name: before.get(name) for name in _SAME}, info)
    if recipe.conditional:
        differing += differences({"classes": before.get("classes")}, info)
    if before.recipe == recipe.name:
        settings = system_of(before, recipe).settings()
        settings |= {name: value for name, value in EARLIER.items() if name in settings}
        settings |= before.expanded.settings
        for name in ("epochs", *STOP_SETTINGS):  # which decide how long it is trained, not what
            settings.pop(name, None)
        differing += changes_of({**before.expanded, "settings": settings}, info.expanded)
    if files.weights.exists() and not files.checkpoint.is_file():
        raise InputError(
            f"{folder} has weights but no {CHECKPOINT}, so training cannot resume; give another --out."
        )
    if differing:
        raise InputError(
            f"{folder} cannot be resumed with other settings: {'; '.join(differing[:_FEW])}"
            f"{'; ...' * (len(differing) > _FEW)}; restore them, or give another --out."
        )
    if files.checkpoint.is_file():
        check_checkpoint(files.checkpoint, info.expanded.settings["epochs"])
