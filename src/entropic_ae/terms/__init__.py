"""Terms of the objective: each sums over features and averages over the batch; Objective adds them up."""

from entropic_ae.registry import Registry
from entropic_ae.terms.codes import CodeNorm, KullbackLeibler, MaximumMeanDiscrepancy, NegativeEntropy
from entropic_ae.terms.decoder import DecoderDecay, DecoderGradient
from entropic_ae.terms.objective import CodeMemory, Objective
from entropic_ae.terms.reconstruction import GaussianLikelihood, SquaredError
from entropic_ae.terms.term import Term

__all__ = [
    "TERMS",
    "CodeMemory",
    "CodeNorm",
    "DecoderDecay",
    "DecoderGradient",
    "GaussianLikelihood",
    "KullbackLeibler",
    "MaximumMeanDiscrepancy",
    "NegativeEntropy",
    "Objective",
    "SquaredError",
    "Term",
]

_ROWS = (
    SquaredError,
    GaussianLikelihood,
    NegativeEntropy,
    KullbackLeibler,
    MaximumMeanDiscrepancy,
    CodeNorm,
    DecoderDecay,
    DecoderGradient,
)

TERMS: Registry[type[Term]] = Registry("term", {term.name: term for term in _ROWS})
