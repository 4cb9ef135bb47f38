"""Resolve recipes by name or object, and presets by name or images."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from entropic_ae.data import DATASETS, ImageData
from entropic_ae.errors import InputError
from entropic_ae.recipes.presets import PRESETS, preset_for
from entropic_ae.recipes.recipe import Recipe, Scalar
from entropic_ae.recipes.settings import System, configure
from entropic_ae.recipes.systems import RECIPES
from entropic_ae.storage.json_schema import shown
from entropic_ae.storage.run_info import RunInfo

__all__ = ["by_preset", "recipe_for", "system_for", "system_of"]


def recipe_for(recipe: str | Recipe) -> Recipe:
    """Return the recipe registered under a name; a custom recipe object is returned unchanged.

    Raises: InputError for an unknown name, or a custom recipe that has the name of a built-in one.

    >>> from dataclasses import replace
    >>> recipe_for(replace(RECIPES["eae"], density="mixture"))
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: the recipe 'eae' is built in; give yours another name.
    """
    if not isinstance(recipe, Recipe):
        return RECIPES.find(recipe)
    if recipe.name in RECIPES.builtin and recipe is not RECIPES[recipe.name]:
        raise InputError(f"the recipe '{recipe.name}' is built in; give yours another name.")
    return recipe


def system_for(
    recipe: str | Recipe,
    images: ImageData,
    changes: Mapping[str, Scalar] | None = None,
    *,
    preset: str | None = None,
) -> System:
    """Combine a recipe with the preset for the images, and change settings.

    Arguments:
        recipe: a name in ``RECIPES``, or a custom recipe.
        images: select the preset: that of their data set, or else that of the closest image size.
        changes: settings by name. For data without a preset, ``features`` defaults to ``classifier`` if the images
            are grey and have labels, else to ``random``.
        preset: a name in ``PRESETS`` to use instead.

    Raises: InputError for an unknown name.

    >>> from entropic_ae.data import load_images
    >>> system_for("eae", load_images("digits"), {"entropy": 1}).settings()["entropy"]
    1.0
    """
    has_own = images.source in DATASETS and images.source in PRESETS
    features = "classifier" if images.classes and images.shape[0] == 1 else "random"
    chosen = PRESETS.find(preset or (images.source if has_own else preset_for(images.shape)))
    own: dict[str, Scalar] = {} if has_own else {"features": features}
    return configure(recipe_for(recipe), chosen, {**own, **(changes or {})})


def by_preset(recipe: Recipe) -> dict[str, dict[str, Scalar]]:
    """Return the settings of a recipe by the name of the preset, for all presets that it fits.

    >>> by_preset(RECIPES["eae"])["mnist"]["entropy"]
    0.0516
    """
    found = {}
    for name, preset in PRESETS.items():
        with suppress(InputError):  # custom networks may lack settings that the recipe has for a preset
            found[name] = configure(recipe, preset).settings()
    return found


def system_of(info: RunInfo, recipe: Recipe | None = None) -> System:
    """Rebuild the system named in run.json. Its parts may have changed since run.json was written.

    Arguments:
        info: content of run.json.
        recipe: recipe with the name in run.json, if it is not in ``RECIPES``.

    Raises: InputError for an unregistered name, a recipe with a different name, or settings that it does not have.

    >>> info = {"recipe": "eae", "preset": "digits", "data": "digits", "source": "digits", "shape": [1, 8, 8]}
    >>> system_of(RunInfo.of({**info, "overrides": {"entropy": 1}})).settings()["entropy"]
    1.0
    """
    if recipe is None and info.recipe not in RECIPES:
        raise RECIPES.unknown(info.recipe, ", or pass it: load(folder, recipe=...)")
    chosen = recipe_for(recipe or info.recipe)
    if chosen.name != info.recipe:
        raise InputError(
            f"expected the recipe of the run, {shown(info.recipe)}, got '{chosen.name}'; pass that recipe."
        )
    return configure(chosen, PRESETS.find(info.preset), info.overrides)
