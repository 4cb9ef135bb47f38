"""Bottlenecks: how the encoder's output becomes a code, and the prior that the constraints imply."""

from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, Codes, Identity
from entropic_ae.bottlenecks.domains import Cube, Sphere
from entropic_ae.bottlenecks.moments import BatchNorm, L1Norm, Whitening
from entropic_ae.bottlenecks.noisy import NoisyBatchNorm, NoisySphere
from entropic_ae.bottlenecks.posteriors import ConstantVariancePosterior, GaussianPosterior
from entropic_ae.bottlenecks.quantised import Binary, Levels, Quantised
from entropic_ae.bottlenecks.transported import Transported
from entropic_ae.registry import Registry

__all__ = [
    "BOTTLENECKS",
    "BatchNorm",
    "Binary",
    "Bottleneck",
    "Code",
    "Codes",
    "ConstantVariancePosterior",
    "Cube",
    "GaussianPosterior",
    "Identity",
    "L1Norm",
    "Levels",
    "NoisyBatchNorm",
    "NoisySphere",
    "Quantised",
    "Sphere",
    "Transported",
    "Whitening",
]

BOTTLENECKS: Registry[type[Bottleneck]] = Registry(
    "bottleneck",
    {
        "identity": Identity,
        "batch-norm": BatchNorm,
        "l1-norm": L1Norm,
        "whitening": Whitening,
        "sphere": Sphere,
        "cube": Cube,
        "noisy-batch-norm": NoisyBatchNorm,
        "noisy-sphere": NoisySphere,
        "binary": Binary,
        "levels": Levels,
        "gaussian-posterior": GaussianPosterior,
        "constant-variance-posterior": ConstantVariancePosterior,
    },
)
