"""The systems by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from entropic_ae.bottlenecks import BatchNorm, Identity
from entropic_ae.recipes.recipe import Recipe
from entropic_ae.terms import NegativeEntropy, SquaredError

__all__ = ["AE", "BN_AE", "EAE", "RECIPES"]

AE = Recipe(
    name="ae",
    summary="plain autoencoder",
    reference="the baseline AE of Ghosh et al. (2019) and of the paper's Table 1",
    bottleneck=partial(Identity),
    terms=(SquaredError(),),
)

BN_AE = replace(
    AE,
    name="bn-ae",
    summary="batch norm without affine shift at the bottleneck, no regulariser",
    reference="section 5.2 of the paper",
    bottleneck=partial(BatchNorm),
)

EAE = replace(
    BN_AE,
    name="eae",
    summary="entropic autoencoder: batch norm at the bottleneck, entropy of the codes raised",
    reference="equation (2) of the paper",
    terms=(SquaredError(), NegativeEntropy(0.0516)),
    settings={
        "digits": {"entropy": 0.3},
    },
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (AE, BN_AE, EAE)}
