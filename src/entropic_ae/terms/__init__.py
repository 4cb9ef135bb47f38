"""Terms of the objective: each sums over features and averages over the batch; Objective adds them up."""

from entropic_ae.registry import Registry
from entropic_ae.terms.codes import CodeNorm, KullbackLeibler, MaximumMeanDiscrepancy, NegativeEntropy
from entropic_ae.terms.consistency import CodeConsistency, ImageConsistency
from entropic_ae.terms.decoder import DecoderDecay, DecoderGradient
from entropic_ae.terms.discrete import NegativeDiscreteEntropy
from entropic_ae.terms.generated import FrechetLoss
from entropic_ae.terms.normality import (
    CodeLoss,
    CramerWold,
    EnergyDistance,
    KNNDivergence,
    KoLeo,
    MatricialFreeEnergy,
    NormTransport,
    SIGReg,
    SlicedWasserstein,
)
from entropic_ae.terms.objective import CodeMemory, Objective
from entropic_ae.terms.perception import FEATURE_NETWORKS, FeatureError, MultiScaleSimilarity
from entropic_ae.terms.reconstruction import AbsoluteError, GaussianLikelihood, SquaredError
from entropic_ae.terms.term import Term

__all__ = [
    "FEATURE_NETWORKS",
    "TERMS",
    "AbsoluteError",
    "CodeConsistency",
    "CodeLoss",
    "CodeMemory",
    "CodeNorm",
    "CramerWold",
    "DecoderDecay",
    "DecoderGradient",
    "EnergyDistance",
    "FeatureError",
    "FrechetLoss",
    "GaussianLikelihood",
    "ImageConsistency",
    "KNNDivergence",
    "KoLeo",
    "KullbackLeibler",
    "MatricialFreeEnergy",
    "MaximumMeanDiscrepancy",
    "MultiScaleSimilarity",
    "NegativeDiscreteEntropy",
    "NegativeEntropy",
    "NormTransport",
    "Objective",
    "SIGReg",
    "SlicedWasserstein",
    "SquaredError",
    "Term",
]

_ROWS = (
    SquaredError,
    AbsoluteError,
    MultiScaleSimilarity,
    FeatureError,
    GaussianLikelihood,
    NegativeEntropy,
    NegativeDiscreteEntropy,
    KullbackLeibler,
    MaximumMeanDiscrepancy,
    EnergyDistance,
    KNNDivergence,
    SlicedWasserstein,
    SIGReg,
    CramerWold,
    MatricialFreeEnergy,
    NormTransport,
    KoLeo,
    ImageConsistency,
    CodeConsistency,
    FrechetLoss,
    CodeNorm,
    DecoderDecay,
    DecoderGradient,
)

TERMS: Registry[type[Term]] = Registry("term", {term.name: term for term in _ROWS})
