"""The plan of a training: what was asked for is completed, checked and built before a run folder exists."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.data import (
    DATASETS,
    Copies,
    Given,
    ImageData,
    LeftOutWarning,
    count_copies,
    fingerprint,
    load_images,
)
from entropic_ae.errors import InputError, warn
from entropic_ae.features import check_features, feature_network
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.recipes import PRESETS, RECIPES, SIZES, Recipe, System, fitted, recipe_for, system_for
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.registry import imported
from entropic_ae.runs.labels import described, known_labels
from entropic_ae.runs.loading import read_info
from entropic_ae.runs.overview import Overview, overview_of
from entropic_ae.runs.starting import Start, like_run, start_of
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.storage.run_info import RunInfo
from entropic_ae.terms import Objective
from entropic_ae.training import Execution, check_training

__all__ = ["Asked", "Plan", "completed", "planned"]

_OF_WEIGHTS = ("width", "latent_dim")  # fitted settings that decide whether weights fit


@dataclass(frozen=True)
class Asked:
    """What is to be trained: the arguments of ``train`` that another run can give, too.

    Attributes:
        recipe, data, preset, image_size, value_range, limit, size: as for ``train``.
        changes: settings to change.
        named: whether the preset was named.
        same_data: whether the images are those of the other run.
    """

    recipe: str | Recipe | None
    data: str | Path | Given | None
    changes: Mapping[str, Scalar]
    preset: str | None
    image_size: int | None
    value_range: tuple[float, float] | None
    limit: int | None
    size: str | None
    named: bool = False
    same_data: bool = False


@dataclass(frozen=True)
class Plan:
    """A training whose parts are built and checked."""

    recipe: Recipe
    folder: Path
    images: ImageData
    copies: Copies
    system: System
    model: Autoencoder
    objective: Objective
    overview: Overview
    info: RunInfo
    labels: tuple[Tensor, Tensor] | None


def completed(
    asked: Asked,
    start_from: str | Path | None,
    like: str | Path | None,
    out: str | Path | None,
    resume: bool,
) -> tuple[Asked, Start | None]:
    """Return what is asked for with what another run gives, and that run.

    Raises: InputError for an unknown name, if two runs are given, or a recipe or data are missing.
    """
    if start_from is not None and like is not None:
        raise InputError("train takes one other run, got two; give start_from (--from) or like (--like).")
    asked = replace(asked, named=asked.preset is not None, same_data=asked.data is None)
    start = None
    if start_from is not None:
        start = start_of(start_from, asked.recipe, out, resume)
    elif like is not None:
        start = like_run(like)
    if start is not None:
        info, recipe = start.info, recipe_for(asked.recipe or start.info.recipe)
        preset = asked.preset or info.preset
        asked = replace(
            asked,
            recipe=recipe,
            preset=preset,
            changes=start.settings(recipe, preset, asked.changes, same_data=asked.same_data),
            image_size=info.image_size if asked.image_size is None else asked.image_size,
        )
        if asked.same_data:
            limit = info.limit if like is not None and asked.limit is None else asked.limit
            value_range = asked.value_range or info.value_range
            asked = replace(asked, data=start.data, value_range=value_range, limit=limit)
    if asked.recipe is None or asked.data is None:
        one = asked.recipe or asked.data
        got = f", got only {one}" if isinstance(one, str) else ""
        raise InputError(
            f"train expects RECIPE and DATA, such as eae mnist{got}; give both, or a run to start from "
            "(start_from, --from) or to train alike (like, --like)."
        )
    names = isinstance(asked.recipe, str) and isinstance(asked.data, str)
    if names and asked.recipe not in RECIPES and asked.data in RECIPES:
        raise InputError(
            f"train expects RECIPE and then DATA, got {asked.recipe} and then {asked.data}, which is a recipe; "
            f"write {shlex.join(['train', str(asked.data), str(asked.recipe)])}."
        )
    if asked.preset is not None:
        PRESETS.find(asked.preset)
    if asked.size is not None:
        SIZES.find(asked.size)
    return replace(asked, recipe=recipe_for(asked.recipe)), start


def planned(
    asked: Asked,
    start: Start | None,
    execution: Execution,
    *,
    seed: int,
    out: str | Path | None,
    resume: bool,
    progress: bool,
) -> Plan:
    """Return the plan: the images are loaded, the model is built, and all that can be checked is.

    Arguments:
        asked, start: the result of ``completed``.
        execution: devices and precision.
        seed, out, resume, progress: as for ``train``.

    Raises: InputError for anything that cannot work.
    """
    assert asked.recipe is not None
    assert asked.data is not None
    recipe = recipe_for(asked.recipe)
    with warnings.catch_warnings():
        if progress:  # the overview tells it
            warnings.simplefilter("ignore", LeftOutWarning)
        images = load_images(
            asked.data, image_size=asked.image_size, limit=asked.limit, value_range=asked.value_range
        )
    _note_of_name(asked.data)
    folder = Path(out) if out is not None else Path("runs") / f"{recipe.name}-{images.name}-{seed}"
    before = read_info(RunFolder(folder)) if resume and RunFolder(folder).is_begun else None
    if progress and resume and before is None:
        print(f"{folder} holds no run yet, so training starts from the beginning", file=sys.stderr, flush=True)
    own = _fitted(asked, images, recipe, execution, before, start)
    changes: dict[str, Any] = {**own, **asked.changes}
    system = system_for(recipe, images, changes, preset=asked.preset)
    features: dict[str, Scalar] = {}
    if "features" not in changes and system.preset.features != PRESETS[system.preset.name].features:
        features["features"] = system.preset.features  # chosen for the images
    changes |= features
    model, objective = system.build(images.shape, seed=seed, classes=images.classes)
    if start is not None:
        start.give(model, system, images.shape)
    check_features(system.preset.features)
    objective.prepare(lambda name: feature_network(name, images), images.train.images)
    labels = known_labels(images) if recipe.conditional else None
    parts = (model, objective, images.train.images, images.validation.images, system.preset.training)
    check_training(*parts, execution, labels)
    copies = count_copies(images)
    content: dict[str, Any] = {
        "recipe": recipe.name,
        "preset": system.preset.name,
        "data": images.name,
        "source": images.source,
        "image_size": asked.image_size,
        "limit": asked.limit,
        "seed": seed,
        **({} if start is None or start.record is None else {"start_from": start.record}),
        "precision": execution.precision,
        "compiled": execution.compile,
        **({} if (size := asked.size or (before and before.size)) is None else {"size": size}),
        "overrides": changes,
        "fitted": [*own, *features],
        "summary": recipe.summary,
        "reference": recipe.reference,
        "density": recipe.density,
        "expanded": system.describe(),
        "shape": list(images.shape),
        **({} if images.white is None else {"white": images.white}),
        **({} if (classes := described(images)) is None else {"classes": classes}),
        "training_images": len(images.train.images),
        "training_images_sha256": fingerprint(images.train.images),
        "device": str(execution.target),
        "processes": execution.processes,
        "machine": machine(),
        "versions": versions(),
        "git_commit": git_commit(),
        "imports": imported(),
    }
    if asked.value_range is not None:
        content["value_range"] = [float(value) for value in asked.value_range]
    overview = overview_of(images, copies, system, model, execution.target, chosen="width" in own)
    info = RunInfo.of(content)
    return Plan(recipe, folder, images, copies, system, model, objective, overview, info, labels)


def _note_of_name(data: str | Path | Given) -> None:
    """Warn if the name of a registered data set is also that of a folder or a file here, which is not read."""
    if isinstance(data, str) and data in DATASETS and Path(data).exists():
        warn(f"{data} is the registered data set of that name; for what lies here, write .{os.sep}{data}.")


def _fitted(
    asked: Asked,
    images: ImageData,
    recipe: Recipe,
    execution: Execution,
    before: RunInfo | None,
    start: Start | None,
) -> dict[str, Scalar]:
    """Return the settings that fit device and images, or those of the run that is resumed or taken over.

    Of a run whose images were others, only the width and the length of a code are taken over.
    """
    if before is not None and asked.size not in (None, before.size):
        raise InputError(
            f"the run was trained with {'no size' if before.size is None else f'size {before.size}'}, got "
            f"{asked.size}; leave the size out to resume it, or give another --out."
        )
    other = before or (start.info if start is not None else None)
    found = fitted(
        recipe,
        images,
        asked.changes,
        preset=asked.preset,
        named=asked.named,
        size=asked.size or (other.size if other is not None else None),
        gpu=execution.target.type != "cpu",
        processes=execution.processes,
    )
    if other is None or (before is None and asked.size is not None):
        return found
    recorded = other.expanded.settings
    if before is None and not asked.same_data:
        recorded = {name: recorded[name] for name in _OF_WEIGHTS if name in recorded}
    if before is not None:  # one of an earlier version may lack a setting, whose default it then has
        return {name: recorded[name] for name in before.fitted or found if name in recorded}
    return {name: recorded.get(name, value) for name, value in found.items()}
