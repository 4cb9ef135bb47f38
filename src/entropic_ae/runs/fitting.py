"""Densities of a run: read from its folder, or fitted to the codes of all training images or of one label."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from entropic_ae.densities import DENSITIES, Density
from entropic_ae.distributed import in_turn
from entropic_ae.errors import InputError
from entropic_ae.storage.run_folder import density_file
from entropic_ae.storage.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["Fitted", "already_fitted", "default_density", "fitted"]

Fitted = MutableMapping[tuple[str, int | None, str], Density]
"""Densities that are not saved, by name, label and digest of the weights."""

_LEAST = 2  # codes of a label, for any density


def default_density(run: Run, label: int | None = None) -> str:
    """Return the default density: the recipe's, or for a label that the model does not take, its first fitted."""
    recipe = run.system.recipe
    if label is None or recipe.conditional or DENSITIES.find(recipe.density).needs_codes:
        return recipe.density
    return next((name for name in recipe.densities if DENSITIES.find(name).needs_codes), "gaussian")


def already_fitted(run: Run, name: str, label: int | None, kept: Fitted) -> Density | None:
    """Return a density that was fitted to the codes of the weights in memory, or needs no codes; else None."""
    kind, prior = DENSITIES.find(name), run.model.bottleneck.prior()
    if not kind.needs_codes:
        return kind.fit(torch.empty(0), prior)
    weights = run.weights_sha256()
    if (name, label, weights) in kept:
        return kept[name, label, weights]
    tensors, metadata = read_tensors(run.folder / density_file(name, label))
    if metadata.get("weights") == weights:
        with suppress(KeyError):  # a parameter is missing or of another model
            return kind.from_state(tensors, prior)
    return None


def fitted(run: Run, name: str, label: int | None, kept: Fitted) -> Density:
    """Return a density by name: the implementation of ``Run.density``.

    Arguments:
        run: the run.
        name: of the density.
        label: fit to the codes of this label only; None takes all codes.
        kept: densities that are not saved, by name, label and digest of the weights.
    """
    kind, prior = DENSITIES.find(name), run.model.bottleneck.prior()
    if not kind.needs_codes:
        if label is not None:
            raise InputError(
                f"the density '{name}' is not fitted to codes, so it has no images of one label; give another, "
                f"such as {default_density(run, label)}."
            )
        return kind.fit(torch.empty(0), prior)
    with in_turn():
        if (density := already_fitted(run, name, label, kept)) is not None:
            return density
        try:
            codes, std = run.codes
        except InputError as error:
            of = "" if label is None else f" of label {label}"
            raise InputError(
                f"{run.name} holds no density '{name}'{of} that fits its weights, and to fit one its training "
                f"images are needed: {error}"
            ) from None
        if label is not None:
            chosen = _of_label(run, label)
            codes, std = codes[chosen], None if std is None else std[chosen]
        settings = run.system.recipe.densities.get(name, {})
        device = next(run.model.parameters()).device  # a density that needs training is trained there
        density = kind.fit(codes.to(device), prior, std=std, seed=run.info.seed, **settings)
        weights = run.weights_sha256()
        if run.origin is None and run.is_current(f"the density '{name}' of its codes is not saved"):
            write_tensors(run.folder / density_file(name, label), density.state(), {"weights": weights})
        else:
            kept[name, label, weights] = density
        return density


def _of_label(run: Run, label: int) -> Tensor:
    """Return which training images have a label, (N,) bool; InputError if they are too few for a density."""
    labels = run.data.train.labels
    if labels is None:
        raise InputError(f"the images of {run.info.data} have no labels, got label {label}; sample without one.")
    chosen = labels == label
    if not chosen.any():
        known = labels.unique().tolist()
        raise InputError(
            f"{run.info.data} has no training images of label {label}; its labels are "
            f"{', '.join(map(str, known[:20]))}{', ...' if len(known) > 20 else ''}."
        )
    if (count := int(chosen.sum())) < _LEAST:
        raise InputError(
            f"label {label} has {count} training image, and a density needs at least {_LEAST}; sample another "
            "label, or without one."
        )
    return chosen
