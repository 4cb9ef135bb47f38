"""Measure a run and keep the results in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from entropic_ae import evaluation, generation
from entropic_ae.bottlenecks import Transported
from entropic_ae.data import ImageData, count_copies
from entropic_ae.densities import DENSITIES
from entropic_ae.distributed import is_first, sharers
from entropic_ae.errors import InputError, warn
from entropic_ae.features import check_features, load_features, takes_weights
from entropic_ae.pictures import above, image_grid, save_images
from entropic_ae.priors import as_prior
from entropic_ae.randomness import generator
from entropic_ae.runs.fitting import default_density
from entropic_ae.storage.files import sha256, write_json
from entropic_ae.storage.run_folder import MAP, neighbours_file
from entropic_ae.verdict import Verdict, verdict

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["judged", "measure"]

_UNTRAINED = "random"
_MAPPED = 1000  # codes of the map
_COLUMNS = 5  # of samples above their nearest training images, to be seen on a phone
_SECOND = "pixels"  # feature space beside the usual one: no single one is to be trusted


def measure(
    run: Run,
    *,
    features: str | Sequence[str] | None,
    n: int,
    seed: int,
    split: str,
    densities: Sequence[str] | None,
    weights: str | Path | None,
    samples_only: bool,
    train_on_samples: bool,
    compile: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Measure a run: the implementation of ``Run.evaluate``, with the same arguments, results and errors."""
    evaluation.check_split(split)
    evaluation.check_number(n)
    if isinstance(densities, str):
        densities = [densities]
    densities = tuple(run.system.recipe.densities) if densities is None else densities
    for density in densities:
        DENSITIES.find(density)
    if run.origin is None:
        run.files.read_metrics(run.weights_sha256())  # raises for a damaged file before anything is computed
    data = run.load_data(None)  # a limit would change the classifier and the floor
    copies = count_copies(data)
    # data of the same name may exist here; and copies used to be spread over the splits
    if run.origin is not None or copies.repeated:
        run.check_trained_on(data)
    if copies.repeated and is_first(sharers()):
        warn(f"{copies}.")
    learnt = _train_on_samples(run, data, n, seed, split, tell) if train_on_samples else {}
    device = str(next(run.model.parameters()).device)
    spaces = []
    names = _spaces(run, data, features, samples_only=samples_only)
    for name in names:
        tell(f"the feature space {name}" + " (trained the first time)" * (name == "classifier"))
        takes = weights if len(names) == 1 or takes_weights(name) else None
        spaces.append(load_features(name, data, weights=takes, device=device))
    pictures: dict[str, Tensor] = {}
    with run.model.compiled() if compile else nullcontext():
        fitted = {}
        for density in densities:
            tell(f"the density {density}")
            fitted[density] = run.density(density)
        results = evaluation.evaluate_in(
            run.model,
            data,
            fitted,
            spaces,
            n=n,
            seed=seed,
            split=split,
            batch_size=run.system.preset.training.batch_size,
            samples_only=samples_only,
            trained_on=run.info.limit,
            tell=tell,
            show=lambda name, drawn, nearest: pictures.update({name: above(drawn, nearest, _COLUMNS)}),
        )
    for space, result in zip(spaces, results.values(), strict=True):
        result.update(learnt)
        if copies.repeated:
            result["copies"] = copies._asdict()
        if space.accuracy is not None:
            result["classifier_accuracy"] = space.accuracy
        result["weights_sha256"] = run.weights_sha256()
    for name, images in pictures.items():
        row = next(iter(results.values()))["distances"][name]
        row["neighbours"]["picture_sha256"] = _digest(image_grid(images, _COLUMNS))
    if not samples_only and run.origin is None:
        _keep(run, data, results, pictures, seed=seed, split=split, tell=tell)
    first, *others = results.values()
    return {**first, "also": {one["features"]: one for one in others}} if others else first


def _keep(
    run: Run,
    data: ImageData,
    results: Mapping[str, dict[str, Any]],
    pictures: Mapping[str, Tensor],
    *,
    seed: int,
    split: str,
    tell: Callable[[str], None],
) -> None:
    """Write results, pictures of neighbours, by density, and the map of the codes into the run's folder."""
    codes = None
    if split == "test":
        some = torch.randperm(len(data.test.images), generator=generator(seed))[:_MAPPED].sort().values
        codes = generation.encode(run.model, *data.test.at(some))  # by all processes; the first one writes
    if not (is_first(sharers()) and run.is_current("the metrics are not saved")):
        return
    if codes is not None:
        for name, images in pictures.items():
            save_images(images, run.folder / neighbours_file(name), columns=_COLUMNS, overwrite=True)
        tell("the map of the codes")
        _draw_map(run, data, some, codes, seed)
    for name, result in results.items():
        run.files.add_result(name + ("" if split == "test" else f" ({split})"), result)


def _train_on_samples(
    run: Run, data: ImageData, n: int, seed: int, split: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Return the classification accuracy score of samples of each label."""
    train, test = run.data.train, data.test if split == "test" else data.validation
    if train.labels is None or test.labels is None:
        raise InputError(f"to train on samples the images need labels, {data.name} has none; measure without it.")
    there = train.labels.unique().tolist()
    if run.model.labels is None:
        density = default_density(run, there[0])
        fitted = {}
        for label in there:
            tell(f"the density {density} of label {label}")
            fitted[label] = run.density(density, label=label)
    else:  # the decoder takes the label
        density = default_density(run)
        fitted = {there[0]: run.density(density)}
    tell("a classifier trained on samples, and one on real images")
    samples, real = evaluation.labelled_samples(run.model, fitted, train, n, seed)
    score = evaluation.classification_accuracy_score(samples, real, test)
    return {"classification_accuracy": {"density": density, "images": len(samples.images), **score}}


def _digest(picture: Tensor) -> str:
    """Return the digest of the pixels of a grid, (C, H, W), in the order of an image file.

    Evaluations in other features find other neighbours: it tells which result a picture belongs to.
    """
    return sha256(picture.permute(1, 2, 0).contiguous().numpy().tobytes())


def _draw_map(run: Run, data: ImageData, some: Tensor, codes: Tensor, seed: int) -> None:
    """Write the map of the codes of some test images; none of codes of one dimension, or of fewer than 3."""
    if len(codes) < 3 or codes.shape[1] < 2:
        return
    prior, labels = run.model.bottleneck.prior(), data.test.labels
    found = {
        "weights_sha256": run.weights_sha256(),
        "prior": as_prior(prior).title,
        "images": some.tolist(),
        "labels": None if labels is None else labels[some].tolist(),
        **evaluation.map_codes(codes, prior, seed=seed),
    }
    write_json(run.folder / MAP, found)


def judged(run: Run, results: Mapping[str, Mapping[str, Any]] | None = None) -> Verdict | None:
    """Return the verdict on a run: the implementation of ``Run.verdict``.

    Arguments:
        run: the run.
        results: by feature space; default: those of metrics.json for the weights in memory.
    """
    if results is None:
        results = run.files.read_metrics(run.weights_sha256())
    return verdict(
        run.info,
        run.files.read_log(),
        results,
        run.folder,
        transported=isinstance(run.model.bottleneck, Transported),
    )


def _spaces(run: Run, data: ImageData, features: str | Sequence[str] | None, *, samples_only: bool) -> list[str]:
    """Return the names of the feature spaces: those given, or the preset's and pixels.

    Where the preset's needs labels or an extra that are not there, and nobody asked for it, ``random`` takes its
    place.
    """
    if isinstance(features, str):
        return [features]
    if features:
        return [*dict.fromkeys(features)]
    usual = str(run.system.preset.features)
    if "features" not in run.info.overrides:
        try:
            check_features(usual, data)
        except InputError:
            usual = _UNTRAINED
    return [usual] if samples_only else [*dict.fromkeys([usual, _SECOND])]
