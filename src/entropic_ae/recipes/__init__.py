"""Recipes (bottleneck, terms, networks) and presets (sizes) as data."""

from entropic_ae.recipes.presets import PRESETS, Preset, preset_for
from entropic_ae.recipes.recipe import Recipe
from entropic_ae.recipes.resolve import by_preset, recipe_for, system_for, system_of
from entropic_ae.recipes.settings import System, changes_of, configure, differences, split_image_size
from entropic_ae.recipes.systems import (
    AE,
    AE_L2,
    BN_AE,
    CV_VAE,
    EAE,
    EAE_LINEAR,
    RAE,
    RAE_GP,
    RAE_L2,
    RAE_SN,
    RECIPES,
    TWO_STAGE_EAE,
    TWO_STAGE_VAE,
    VAE,
    WAE,
)

__all__ = [
    "AE",
    "AE_L2",
    "BN_AE",
    "CV_VAE",
    "EAE",
    "EAE_LINEAR",
    "PRESETS",
    "RAE",
    "RAE_GP",
    "RAE_L2",
    "RAE_SN",
    "RECIPES",
    "TWO_STAGE_EAE",
    "TWO_STAGE_VAE",
    "VAE",
    "WAE",
    "Preset",
    "Recipe",
    "System",
    "by_preset",
    "changes_of",
    "configure",
    "differences",
    "preset_for",
    "recipe_for",
    "split_image_size",
    "system_for",
    "system_of",
]
