"""Recipes and presets: which bottleneck, terms and network go together, and at which sizes. Data only."""

from entropic_ae.recipes.presets import PRESETS, Preset, preset_for
from entropic_ae.recipes.recipe import Recipe, System, configure
from entropic_ae.recipes.systems import AE, BN_AE, EAE, RECIPES

__all__ = [
    "AE",
    "BN_AE",
    "EAE",
    "PRESETS",
    "RECIPES",
    "Preset",
    "Recipe",
    "System",
    "configure",
    "preset_for",
]
