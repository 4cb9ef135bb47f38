"""What all constructors do: a recipe on a preset, with the arguments that are given."""

from __future__ import annotations

from collections.abc import Mapping

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.networks import Shape
from entropic_ae.recipes.presets import PRESETS, preset_for
from entropic_ae.recipes.recipe import Recipe
from entropic_ae.recipes.settings import configure
from entropic_ae.terms import Objective

__all__ = ["Built", "build"]

Built = tuple[Autoencoder, Objective]


def build(
    recipe: Recipe,
    shape: Shape,
    latent_dim: int | None,
    width: int | None,
    depth: int | None,
    weights: Mapping[str, float | None],
    preset: str | None,
    seed: int,
    classes: int | None = None,
) -> Built:
    """Build a system at a shape; what is None is left to the preset, by default that of the nearest image size."""
    changes = {"latent_dim": latent_dim, "width": width, "depth": depth, **weights}
    given = {name: value for name, value in changes.items() if value is not None}
    return configure(recipe, PRESETS.find(preset or preset_for(shape)), given).build(
        shape, seed=seed, classes=classes
    )
