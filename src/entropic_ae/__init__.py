"""Deterministic autoencoders that generate.

Batch normalisation without affine shift fixes the mean and the variance of the codes; a nearest-neighbour
entropy term pushes them to the maximum-entropy distribution under those constraints, N(0, I); so images are
decoded from N(0, I) with no sampling step in training.

Names are imported when they are first used, so that ``import entropic_ae`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from entropic_ae.version import __version__

if TYPE_CHECKING:
    from entropic_ae.autoencoder import Autoencoder, Trace
    from entropic_ae.bottlenecks import (
        BOTTLENECKS,
        BatchNorm,
        Bottleneck,
        Code,
        Codes,
        ConstantVariancePosterior,
        Cube,
        GaussianPosterior,
        Identity,
        L1Norm,
        Sphere,
        Whitening,
    )
    from entropic_ae.data import DATASETS, ImageData, Split, load_images
    from entropic_ae.densities import DENSITIES, Copula, Density, Gaussian, Marginals, Mixture, Prior, SecondStage
    from entropic_ae.errors import InputError
    from entropic_ae.estimators import cube_entropy, knn_entropy, mmd2, sphere_entropy
    from entropic_ae.evaluation import evaluate
    from entropic_ae.features import FEATURES, load_features
    from entropic_ae.generation import decode, encode, encode_posterior, interpolate, reconstruct, sample
    from entropic_ae.metrics import (
        active_codes,
        diagnose,
        entropy_gap,
        frechet_distance,
        kernel_distance,
        reconstruction_error,
        sliced_wasserstein,
        spread,
    )
    from entropic_ae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
    from entropic_ae.pictures import image_grid, save_images
    from entropic_ae.recipes import PRESETS, RECIPES, Preset, Recipe, System, configure
    from entropic_ae.report import write_report
    from entropic_ae.runs import Run, load, train
    from entropic_ae.scikit import EntropicAutoencoder
    from entropic_ae.terms import (
        TERMS,
        CodeMemory,
        CodeNorm,
        DecoderDecay,
        DecoderGradient,
        GaussianLikelihood,
        KullbackLeibler,
        MaximumMeanDiscrepancy,
        NegativeEntropy,
        Objective,
        SquaredError,
        Term,
    )
    from entropic_ae.training import Settings, fit


_EXPORTS = {
    "autoencoder": ("Autoencoder", "Trace"),
    "bottlenecks": (
        *("BOTTLENECKS", "BatchNorm", "Bottleneck", "Code", "Codes", "ConstantVariancePosterior"),
        *("Cube", "GaussianPosterior", "Identity", "L1Norm", "Sphere", "Whitening"),
    ),
    "data": ("DATASETS", "ImageData", "Split", "load_images"),
    "densities": ("DENSITIES", "Copula", "Density", "Gaussian", "Marginals", "Mixture", "Prior", "SecondStage"),
    "errors": ("InputError",),
    "estimators": ("cube_entropy", "knn_entropy", "mmd2", "sphere_entropy"),
    "evaluation": ("evaluate",),
    "features": ("FEATURES", "load_features"),
    "generation": ("decode", "encode", "encode_posterior", "interpolate", "reconstruct", "sample"),
    "metrics": (
        *("active_codes", "diagnose", "entropy_gap", "frechet_distance", "kernel_distance"),
        *("reconstruction_error", "sliced_wasserstein", "spread"),
    ),
    "networks": ("ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"),
    "pictures": ("image_grid", "save_images"),
    "recipes": ("PRESETS", "RECIPES", "Preset", "Recipe", "System", "configure"),
    "report": ("write_report",),
    "runs": ("Run", "load", "train"),
    "scikit": ("EntropicAutoencoder",),
    "terms": (
        *("TERMS", "CodeMemory", "CodeNorm", "DecoderDecay", "DecoderGradient", "GaussianLikelihood"),
        *("KullbackLeibler", "MaximumMeanDiscrepancy", "NegativeEntropy", "Objective", "SquaredError", "Term"),
    ),
    "training": ("Settings", "fit"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "BOTTLENECKS",
    "DATASETS",
    "DENSITIES",
    "FEATURES",
    "PRESETS",
    "RECIPES",
    "TERMS",
    "Autoencoder",
    "BatchNorm",
    "Bottleneck",
    "Code",
    "CodeMemory",
    "CodeNorm",
    "Codes",
    "ConstantVariancePosterior",
    "ConvDecoder",
    "ConvEncoder",
    "Copula",
    "Cube",
    "DecoderDecay",
    "DecoderGradient",
    "Density",
    "EntropicAutoencoder",
    "Gaussian",
    "GaussianLikelihood",
    "GaussianPosterior",
    "Identity",
    "ImageData",
    "InputError",
    "KullbackLeibler",
    "L1Norm",
    "MLPDecoder",
    "MLPEncoder",
    "Marginals",
    "MaximumMeanDiscrepancy",
    "Mixture",
    "NegativeEntropy",
    "Objective",
    "Preset",
    "Prior",
    "Recipe",
    "Run",
    "SecondStage",
    "Settings",
    "Sphere",
    "Split",
    "SquaredError",
    "System",
    "Term",
    "Trace",
    "Whitening",
    "__version__",
    "active_codes",
    "configure",
    "cube_entropy",
    "decode",
    "diagnose",
    "encode",
    "encode_posterior",
    "entropy_gap",
    "evaluate",
    "fit",
    "frechet_distance",
    "image_grid",
    "interpolate",
    "kernel_distance",
    "knn_entropy",
    "load",
    "load_features",
    "load_images",
    "mmd2",
    "reconstruct",
    "reconstruction_error",
    "sample",
    "save_images",
    "sliced_wasserstein",
    "sphere_entropy",
    "spread",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
