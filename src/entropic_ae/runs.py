"""Runs: train a recipe into a run folder, load it again, use and measure it."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger
from torch import Tensor

from entropic_ae import evaluation, generation, sharing
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import IN_MEMORY, Given, ImageData, fingerprint, load_images
from entropic_ae.densities import DENSITIES, Density, Prior
from entropic_ae.distributed import in_turn, is_first, sharers
from entropic_ae.epoch_log import LOG, best_epoch, read_log
from entropic_ae.errors import InputError
from entropic_ae.export import FORMATS, check_export, export_model, exported
from entropic_ae.features import check_features, load_features
from entropic_ae.files import (
    claimed,
    read_json,
    read_tensors,
    remove_unfinished,
    unpack_tensors,
    write_json,
    write_tensors,
    write_text,
)
from entropic_ae.pictures import above, save_images
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.randomness import check_seed
from entropic_ae.recipes import (
    PRESETS,
    RECIPES,
    Recipe,
    System,
    changes_of,
    differences,
    recipe_for,
    system_for,
    system_of,
)
from entropic_ae.recipes.recipe import Scalar, read_setting
from entropic_ae.registry import imported
from entropic_ae.schema import INFO, INFO_FILE, METRICS_FILE, check, check_run_folder, shown
from entropic_ae.terms import Objective
from entropic_ae.tracking import EarlierEpochs, SamplePictures, check_logger, close_logger, make_logger
from entropic_ae.training import (
    CHECKPOINT,
    WEIGHTS,
    check_checkpoint,
    check_devices,
    check_images,
    fit,
    quiet_lightning,
    select_device,
    select_precision,
)

__all__ = ["Run", "load", "train"]

_LOCK = ".lock"
_METRICS_LOCK = ".metrics.lock"
_DRAWN = "checkpoints/drawn"  # which weights the pictures show
# files that are written under the claim alone; draw, evaluate, export and sample write others without it
_CLAIMED = (INFO_FILE, WEIGHTS, LOG, Path(CHECKPOINT).name, Path(_DRAWN).name)
_SAME = ("recipe", "preset", "shape", "limit", "seed", "precision", "training_images_sha256")  # in a resumed run
_FEW = 4  # differences in a sentence
_SPANS = 10  # of a running average, until its start is forgotten


class Run:
    """A trained system with its folder. Made by ``train`` and ``load``.

    Attributes:
        folder: the run folder; of a run of the Hub, in the Hub's cache.
        origin: ``hf:owner/name`` of a run that was loaded from the Hub, else None. Nothing is written into the
            Hub's cache: what is fitted stays in memory, what is measured is only returned.
        info: what run.json says.
        system: the recipe on its preset, with settings.
        model: the autoencoder, with the weights of the lowest validation loss, on its device.

    >>> import tempfile
    >>> small = {"width": 2}
    >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
    >>> run.encode(run.data.test.images).shape
    torch.Size([360, 8])
    """

    def __init__(
        self,
        folder: Path,
        info: dict[str, Any],
        system: System,
        model: Autoencoder,
        *,
        origin: str | None = None,
        given: str | Path | Given | None = None,
        weights: str | None = None,
    ) -> None:
        self.folder = folder
        self.origin = origin
        self._given = given
        self._weights = weights
        self._fitted: dict[str, Density] = {}
        self.info = info
        self.system = system
        self.model = model

    @property
    def name(self) -> str:
        """What the run was loaded by: its folder, or ``hf:owner/name``."""
        return self.origin or str(self.folder)

    @property
    def caution(self) -> str | None:
        """What so short a training does to every figure, in a sentence; None if it was long enough, or has no log.

        In evaluation the norms use running averages, which begin at mean 0 and variance 1 and follow the weights
        with a delay. After ten times the minibatches that an average spans, the start is forgotten; before that
        entropies may be far below the maximum, and even reconstructions may look alike.

        >>> import tempfile
        >>> small = {"width": 4, "batch_size": 20}
        >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
        >>> run.caution.split(",")[0]
        'the weights have seen 53 minibatches'
        """
        found = (getattr(module, "momentum", None) for module in self.model.modules())
        momenta = [momentum for momentum in found if isinstance(momentum, float | int) and momentum > 0]
        if not momenta:
            return None
        images, best = self.info.get("training_images", 0), None
        with suppress(OSError, InputError):  # a log that cannot be read says nothing
            best = best_epoch(read_log(self.folder / LOG))
        if best is None or images < 1:
            return None
        per_epoch = images // min(images, self.system.preset.training.batch_size)
        seen, needed = best * per_epoch, math.ceil(_SPANS / min(momenta))
        if seen >= needed:
            return None
        return (
            f"the weights have seen {seen} minibatch{'es' * (seen > 1)}, and the running averages of the norms "
            f"are not settled before {needed}: entropies, distances and images say little yet; train for more "
            f"than {math.ceil(needed / per_epoch)} epochs (--resume goes on)."
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        channels, height, width = self.info["shape"]
        return channels, height, width

    @cached_property
    def data(self) -> ImageData:
        """The images that the run was trained on; InputError if they are gone or have changed."""
        data = self._load_data(self.info["limit"])
        self._check_trained_on(data)
        return data

    @cached_property
    def codes(self) -> tuple[Tensor, Tensor | None]:
        """The codes of the training images, (N, D) float32, and their posteriors' standard deviations or None."""
        return generation.encode_posterior(self.model, self.data.train.images)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes, (N, D) float32, of uint8 images, (N, C, H, W)."""
        return generation.encode(self.model, self._check(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images, uint8 (N, C, H, W), of finite codes, (N, D), a tensor or an array."""
        codes = torch.as_tensor(codes).float()
        if codes.dim() != 2 or codes.shape[1] != self.system.preset.latent_dim:
            raise InputError(
                f"expected codes (N, {self.system.preset.latent_dim}), got shape {tuple(codes.shape)}."
            )
        if not bool(codes.isfinite().all()):
            raise InputError("expected codes that are finite, got NaN or infinity.")
        return generation.decode(self.model, codes)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Encode and decode uint8 images, (N, C, H, W)."""
        return generation.reconstruct(self.model, self._check(images))

    def interpolate(self, start: Tensor, end: Tensor, *, steps: int = 8, kind: str = "spherical") -> Tensor:
        """Decode codes on the way between pairs of uint8 images, both (N, C, H, W): (N, steps, C, H, W)."""
        return generation.interpolate(self.model, self._check(start), self._check(end), steps=steps, kind=kind)

    def sample(self, n: int, *, density: str | None = None, seed: int = 0) -> Tensor:
        """Draw n new images, uint8 (n, C, H, W), from a density by name; the same seed, the same images.

        Unless named, the density is the one that the recipe draws from: the prior for eae and the variational
        systems, the mixture for those whose codes follow no prior.
        """
        return generation.sample(self.model, self.density(density or self.system.recipe.density), n, seed=seed)

    def density(self, name: str) -> Density:
        """Return a density by name: read from the folder, or fitted to the training codes once and kept.

        It is kept in the folder; of a run of the Hub, in memory.

        Raises: InputError for an unknown name, or if it must be fitted and the training images are gone.
        """
        kind, prior = DENSITIES.find(name), self.model.bottleneck.prior()
        if not kind.needs_codes:
            return kind.fit(torch.empty(0), prior)
        if name in self._fitted:
            return self._fitted[name]
        path = self.folder / "densities" / f"{name}.safetensors"
        weights = self._weights_sha256()
        with in_turn():
            tensors, metadata = read_tensors(path)
            if metadata.get("weights") == weights:
                with suppress(KeyError):  # a parameter is missing or of another model: fit again
                    return kind.from_state(tensors, prior)
            try:
                codes, std = self.codes
            except InputError as error:
                raise InputError(
                    f"{self.name} holds no density '{name}' that fits its weights, and to fit one its training "
                    f"images are needed: {error}"
                ) from None
            settings = self.system.recipe.densities.get(name, {})
            device = next(self.model.parameters()).device  # where a density that must be trained is trained
            density = kind.fit(codes.to(device), prior, std=std, seed=self.info["seed"], **settings)
            if self.origin is None:
                write_tensors(path, density.state(), {"weights": weights})
            else:
                self._fitted[name] = density
            return density

    def export(
        self, to: str = "onnx", *, out: str | Path | None = None, densities: Sequence[str] | None = None
    ) -> dict[Path, float | None]:
        """Write encoder, decoder and samplers for use without this library; see ``export.export_model``.

        Arguments:
            to: onnx, or safetensors, which hold no samplers.
            out: a folder that is missing or empty; RUN/onnx or RUN/safetensors, replaced, unless given.
            densities: names of those to make a sampler of; the recipe's unless given. All but the prior are
                fitted to the training codes if they are not yet.

        Returns: by file, the largest difference from PyTorch, or None where it was not compared.

        Raises: InputError if a package is missing, the place is taken, or the format cannot hold the model.
        """
        if out is None and self.origin is not None:
            raise InputError(
                f"nothing is written into the Hub's cache, where {self.name} lies; give a folder (out, --out)."
            )
        folder = self.folder / to if out is None else Path(out)
        check_export(to, densities, folder, overwrite=out is None)
        fitted = None
        if to == "onnx":
            names = tuple(self.system.recipe.densities) if densities is None else densities
            fitted = {name: self.density(name) for name in names}
        return export_model(
            self.model,
            self.shape,
            folder,
            to=to,
            densities=fitted,
            about={
                "recipe": self.info["recipe"],
                "data": self.info["data"],
                "weights_sha256": self._weights_sha256(),
            },
            settings=self.system.settings(),
            overwrite=out is None,
        )

    def draw(self, *densities: str) -> None:
        """Write the run folder's pictures: samples of each density, reconstructions and interpolations.

        Raises: InputError for a run of the Hub.
        """
        if self.origin is not None:
            raise InputError(
                f"nothing is written into the Hub's cache, where {self.name} lies; load it with out=FOLDER, or "
                "entropic-ae pull."
            )
        kept = is_first(sharers()) and self._is_current("its pictures are left as they are")
        test = self.data.test.images[:32]
        pictures = [(f"samples-{name}.png", self.sample(64, density=name), 8) for name in densities]
        pictures.append(("reconstructions.png", above(test, self.reconstruct(test), 16), 16))
        if pairs := min(8, len(test) // 2):
            rows = self.interpolate(test[:pairs], test[pairs : 2 * pairs], steps=10)
            pictures.append(("interpolations.png", rows.flatten(0, 1), 10))
        for name, images, columns in pictures:
            if kept:
                save_images(images, self.folder / name, columns=columns, overwrite=True)

    def evaluate(
        self,
        *,
        features: str | None = None,
        n: int = 10_000,
        seed: int = 0,
        split: str = "test",
        densities: Sequence[str] | None = None,
        weights: str | Path | None = None,
        samples_only: bool = False,
        compile: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Measure the run against the test or validation images and add what was measured to metrics.json.

        Of a run of the Hub, what was measured is returned and not kept; nor is it, with a warning, of a run that
        was trained on meanwhile: its folder has other weights now.

        A result lies there under the name of its feature space, one of the validation images with
        `` (validation)`` after it. Results that belong to other weights, from before more training, are dropped.

        Arguments:
            features: inception, classifier, pixels or a TorchScript file; the preset's choice unless given.
            n: images from each density.
            seed: of everything drawn.
            split: test, or validation, which reads no test image: for the choice of settings.
            densities: names of those to fit and measure; the recipe's unless given.
            weights: a file with Inception's weights, where they cannot be downloaded.
            samples_only: measure the densities' distances alone; metrics.json is left as it is.
            compile: compile the encoder and the decoder first: for very many images on a GPU.
            tell: called with what is measured next.

        Returns: see ``evaluation.evaluate``. Raises: InputError, see there and ``load_features``;
            also for an unknown density, before anything is computed.
        """
        evaluation.check_split(split)
        evaluation.check_number(n)
        densities = tuple(self.system.recipe.densities) if densities is None else densities
        for density in densities:
            DENSITIES.find(density)
        if self.origin is None:
            self._kept_metrics()  # a damaged file is told before anything is computed
        name = features or str(self.system.preset.features)
        data = self._load_data(None)  # with a limit, the classifier and the floor would change with it
        if self.origin is not None:  # somebody else's run names data that lie here
            self._check_trained_on(data)
        device = str(next(self.model.parameters()).device)
        tell(f"the feature space {name}" + " (trained the first time)" * (name == "classifier"))
        space = load_features(name, data, weights=weights, device=device)
        with self.model.compiled() if compile else nullcontext():
            fitted = {}
            for density in densities:
                tell(f"the density {density}")
                fitted[density] = self.density(density)
            result = evaluation.evaluate(
                self.model,
                data,
                fitted,
                space,
                n=n,
                seed=seed,
                split=split,
                batch_size=self.system.preset.training.batch_size,
                samples_only=samples_only,
                tell=tell,
            )
        if space.accuracy is not None:
            result["classifier_accuracy"] = space.accuracy
        result["weights_sha256"] = self._weights_sha256()
        if samples_only or self.origin is not None or not is_first(sharers()):
            return result
        if not self._is_current("what was measured is not kept"):
            return result
        key = result["features"] + ("" if split == "test" else f" ({split})")
        taken = f"{self.folder} has been written to by another process for a minute; try again when it has ended."
        with claimed(self.folder / _METRICS_LOCK, taken, wait=60):  # another may have measured meanwhile
            write_json(self.folder / METRICS_FILE, self._kept_metrics() | {key: result})
        return result

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        message: str | None = None,
        license: str | None = None,
        include: Sequence[str] = (),
    ) -> str:
        """Share the run on the Hugging Face Hub, in one commit, with a model card that is made of it.

        Pushed are run.json, the weights, the fitted densities, metrics.json, log.csv and the pictures of samples.
        The density that the recipe draws from is fitted first, if need be, so that the run samples without its
        data. Never pushed are checkpoints, which are pickles, and what else lies in the folder. Left out unless
        asked for are **pictures that show real images, or follow them**, since these may be private:
        reconstructions, interpolations, and the report, which holds both. Local paths do not leave this machine:
        own data go by their name, and are looked for in the folder where the run is used. The weights may remember
        images that they were trained on.

        Arguments:
            repo: ``owner/name``, made if it is not there.
            private: whether a repository that is made is private; one that is there stays as it is.
            token: of the Hub, allowed to write; that of ``hf auth login`` or ``HF_TOKEN`` unless given.
            revision: a branch, made if it is not there; the main one unless given.
            message: of the commit.
            license: for the card, as the Hub names it, such as ``mit``; none unless given.
            include: of reconstructions.png, interpolations.png and report.html, those to push too.

        Returns: the address of the repository.

        Raises: InputError if the run was itself loaded from the Hub, a file is not there or is a link out of the
            folder, or the Hub cannot be reached or refuses.

        >>> Run(Path("x"), {}, None, None, origin="hf:owner/name").push_to_hub("owner/other")
        Traceback (most recent call last):
            ...
        entropic_ae.errors.InputError: hf:owner/name is on the Hub; load it with out=FOLDER to push it elsewhere.
        """
        if self.origin is not None:
            raise InputError(f"{self.name} is on the Hub; load it with out=FOLDER to push it elsewhere.")
        self.density(self.system.recipe.density)
        return sharing.push(
            self.folder,
            repo,
            private=private,
            token=token,
            revision=revision,
            message=message,
            license=license,
            include=include,
        )

    def _kept_metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds for these weights."""
        path = self.folder / METRICS_FILE
        kept = read_json(path) if path.is_file() else {}
        if not isinstance(kept, dict) or not all(isinstance(one, dict) for one in kept.values()):
            raise InputError(f"{path} is damaged: it holds no results; delete it and try again.")
        weights = self._weights_sha256()
        return {name: one for name, one in kept.items() if one.get("weights_sha256") == weights}

    def _weights_sha256(self) -> str:
        """Of the file as it was loaded, or as training left it."""
        if self._weights is None:
            self._weights = _sha256((self.folder / WEIGHTS).read_bytes())
        return self._weights

    def _is_current(self, otherwise: str) -> bool:
        """Return whether the folder still has these weights, or warn of what is left undone."""
        if _sha256((self.folder / WEIGHTS).read_bytes()) == self._weights_sha256():
            return True
        warnings.warn(
            f"{self.folder} has been trained on since it was loaded: {otherwise}; load it again.", stacklevel=3
        )
        return False

    def _load_data(self, limit: int | None) -> ImageData:
        source = self.info["source"] if self._given is None else self._given
        if isinstance(source, str) and source == IN_MEMORY:
            raise InputError(
                f"{self.name} was trained on images in memory, which are needed here; give them again: "
                "load(folder, data=images)."
            )
        try:
            return load_images(source, image_size=self.info["image_size"], limit=limit)
        except InputError as error:
            own = isinstance(source, str) and (Path(source).is_absolute() or source.startswith("./"))
            if self._given is not None or not own or Path(str(source)).exists():
                raise
            raise InputError(
                f"{str(error).partition(';')[0]}, and {self.name} has its images from there; put them back, or "
                "say where they are: load(folder, data=...), and --data of evaluate and of sample."
            ) from None

    def _check_trained_on(self, data: ImageData) -> None:
        """Raise InputError unless these are, up to the limit, the images that the run was trained on."""
        if fingerprint(data.train.images[: self.info["limit"]]) != self.info["training_images_sha256"]:
            raise InputError(
                f"the training images of {self.info['source']} are not those that {self.name} was trained "
                "on; restore them, or train anew."
            )

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.info['recipe']} on {self.info['data']}, images {self.shape})"

    def _check(self, images: Tensor) -> Tensor:
        came = images if isinstance(images, Tensor) else np.asarray(images)
        if str(came.dtype).removeprefix("torch.") != "uint8" or tuple(came.shape[1:]) != self.shape:
            raise InputError(
                f"expected uint8 images (N, {', '.join(map(str, self.shape))}), got {came.dtype} of shape "
                f"{tuple(came.shape)}; those in [0, 1] are (255 * images).round() in bytes."
            )
        return torch.as_tensor(came)


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
        recipe: a name in ``RECIPES`` (ae, bn-ae, eae, ...), or a recipe of your own.
        data: a registered name, a folder of images, a parquet, .npz or .npy file, ``hf:owner/name`` or
            ``hf-stream:owner/name``; or the images themselves; see ``load_images``.
        set: settings to change, by name; ``entropic-ae recipes`` lists them. ``image_size`` belongs to the data.
        preset: sizes to start from; the data set's own, or those for the nearest image size, unless given.
        epochs: short for ``set={"epochs": ...}``.
        seed: of the initial weights, the order of the images and the densities.
        limit: use only the first images, at least 2.
        out: the run folder, ``runs/<recipe>-<data>-<seed>`` unless given; it must not exist or be empty.
        device: auto, cpu or cuda.
        devices: processes on each machine, which share each minibatch; see ``fit``.
        nodes: machines.
        precision: 32, bf16 or 64.
        compile: compile the networks; see ``fit``.
        resume: go on in a run folder that was interrupted; its settings must be the same, or more epochs. While
            one process trains in a folder, another is refused; a run that is being trained may be loaded.
        progress: show progress on the terminal.
        logger: csv, tensorboard, wandb or mlflow, besides log.csv; see ``tracking.make_logger``.
        picture_every: epochs between two pictures of samples that it gets.

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
    target = select_device(device)
    select_precision(precision)
    check_images(model, objective, images.train.images, images.validation.images, system.preset.training)
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
        "device": str(target),
        "processes": devices * nodes,
        "machine": machine(),
        "versions": versions(),
        "git_commit": git_commit(),
        "imports": imported(),
    }
    fewest = min(len(images.train.images), len(images.validation.images))
    check_devices(device, devices, nodes, system.preset.training.batch_size, fewest)
    folder = Path(out) if out is not None else Path("runs") / f"{recipe.name}-{images.name}-{seed}"
    run = Run(folder, info, system, model, given=None if isinstance(data, str | Path) else data)
    run.data = images
    first = is_first(devices * nodes)  # the others follow it
    with _claim(folder, info, resume, recipe) if first else nullcontext():
        _fit(
            run,
            objective,
            images,
            seed=seed,
            device=device,
            devices=devices,
            nodes=nodes,
            precision=precision,
            compile=compile,
            resume=resume,
            progress=progress,
            logger=logger,
            picture_every=picture_every,
        )
        run.model.to(target)
        if first:
            _draw(run)
    return run


def _fit(
    run: Run,
    objective: Objective,
    images: ImageData,
    *,
    logger: str | None,
    picture_every: int,
    **options: Any,
) -> None:
    """Train into the run's folder, with a logger by its name; the other options are those of ``fit``."""
    with _logging(run, logger, picture_every) as (tracker, callbacks):
        fit(
            run.model,
            objective,
            images.train.images,
            images.validation.images,
            run.system.preset.training,
            folder=run.folder,
            logger=tracker,
            callbacks=callbacks,
            **options,
        )


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
    drawn, weights = run.folder / _DRAWN, run._weights_sha256()
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

    No code and no pickle is read. A run of the Hub may be anybody's: only the files of a run are downloaded, and
    what they hold is checked before memory is taken for it. What the run has of your own is therefore not in its
    folder: put it into the registries before, or give it here.

    Arguments:
        folder: a run folder, or ``hf:owner/name`` or ``hf:owner/name@revision`` on the Hugging Face Hub.
        recipe: the one that it was trained with, where that is not in ``RECIPES``.
        data: where its images are now, or the images; for a run that was trained on images in memory.
        device: auto, cpu or cuda.
        token: of the Hub, for a private run; that of ``hf auth login`` or ``HF_TOKEN`` unless given.
        out: for a run of the Hub, a new folder to copy it to, where it is a run like any other. Without it the run
            is read from the Hub's cache, into which nothing is written: see ``Run.origin``.

    Raises: InputError if the folder is not a run, lacks its weights, is damaged, or was trained with a recipe or
        a part that is not here or is defined differently; or if the Hub has no such run or cannot be reached.

    >>> import tempfile
    >>> small = {"width": 2}
    >>> run = train("eae", "digits", epochs=1, set=small, out=tempfile.mkdtemp(), device="cpu", progress=False)
    >>> load(run.folder).system.settings() == run.system.settings()
    True
    """
    if sharing.is_shared(folder):
        path = sharing.fetch(str(folder), token=token, out=out)
        return _load(path, str(folder) if out is None else None, recipe, data, device)
    if out is not None:
        raise InputError(f"out is for a run of the Hub, hf:owner/name, got the folder {folder}; leave it out.")
    return _load(Path(folder), None, recipe, data, device)


def _load(
    folder: Path, origin: str | None, recipe: Recipe | None, data: str | Path | Given | None, device: str
) -> Run:
    name = origin or str(folder)
    check_run_folder(folder)
    info = _read_info(folder)
    system = system_of(info, recipe)
    if differing := changes_of(info["expanded"], system.describe()):
        own = info["recipe"] not in RECIPES.builtin or info["preset"] not in PRESETS.builtin
        before = "yours as it was" if own else f"entropic-ae {str(info['versions'].get('entropic-ae'))[:20]}"
        raise InputError(
            f"{name} was trained with another definition of '{info['recipe']}' ({'; '.join(differing)}); use "
            f"{before}, or train anew."
        )
    path = folder / WEIGHTS
    if not path.is_file():
        has = "a checkpoint to --resume from" if (folder / CHECKPOINT).is_file() else "no checkpoint either"
        raise InputError(
            f"{folder} has no {WEIGHTS}: training stopped before its first epoch ended, or they are gone ({has}); "
            "train again with --resume."
        )
    channels, height, width = info["shape"]
    try:
        content = path.read_bytes()
        weights, _ = unpack_tensors(content)
    except (InputError, OSError) as error:
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{path} is damaged or of another model ({reason}); train anew.") from None
    try:
        _check_size(folder / INFO_FILE, system, (channels, height, width), weights)
        model, _ = system.build((channels, height, width), seed=info["seed"])
        model.load_state_dict(weights)
    except InputError:
        raise
    except (RuntimeError, OverflowError, TypeError, ValueError, MemoryError) as error:
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{path} is damaged or of another model ({reason}); train anew.") from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values()):
        raise InputError(f"{path} is damaged: it holds values that are not finite; train anew.")
    return Run(
        folder,
        info,
        system,
        model.to(select_device(device)),
        origin=origin,
        given=data,
        weights=_sha256(content),
    )


def _read_info(folder: Path) -> dict[str, Any]:
    """Return run.json; InputError if it is damaged."""
    info: dict[str, Any] = read_json(folder / INFO_FILE)
    check(info, {**INFO, "training_images_sha256": str}, str(folder / INFO_FILE))
    return info


def _check_size(info: Path, system: System, shape: tuple[int, int, int], weights: Mapping[str, Tensor]) -> None:
    """Raise InputError for settings that ask for a larger network than the file holds, before memory is taken."""
    # every layer has a tensor of its own
    if not system.own_parts and (depth := int(system.settings().get("depth", 1))) > len(weights):
        raise InputError(
            f"{info} asks for {depth:,} layers, {WEIGHTS} holds {len(weights):,} tensors; train anew."
        )
    # whose norms would be computed, and add to the size
    plain = system.with_settings({"spectral": False} if "spectral" in system.settings() else {})
    try:
        with torch.device("meta"):
            model, _ = plain.build(shape, seed=0)
        needed = sum(tensor.numel() for tensor in model.state_dict().values())
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes beyond 64 bits
        if system.own_parts:
            return  # which need not know how to be built without memory
        reason = shown(_first_line(error), 160)[1:-1]
        raise InputError(f"{info} asks for a network that cannot be built ({reason}); train anew.") from None
    held = sum(tensor.numel() for tensor in weights.values())
    if needed > held:
        raise InputError(f"{info} asks for a network of {needed:,} values, {WEIGHTS} holds {held:,}; train anew.")


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
    """Raise InputError if training cannot go on in a folder, or begin in it."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give another --out.")
    if _begun(folder) and not resume:
        raise InputError(
            f"{folder} exists and is not empty; give another folder (out, --out), or go on in this one "
            "(resume=True, --resume)."
        )
    if _begun(folder) and not (folder / INFO_FILE).is_file():
        raise InputError(f"{folder} is not a run folder: it has no {INFO_FILE}; give another --out.")


def _check_same(folder: Path, info: dict[str, Any], recipe: Recipe) -> None:
    """Raise InputError if what a folder holds cannot be trained on with this recipe and these settings."""
    before = _read_info(folder)
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


def _sha256(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(":.")
