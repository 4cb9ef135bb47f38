"""Distributions over codes, and normal scores of codes."""

from entropic_ae.priors.distributions import (
    CodePrior,
    IndependentPrior,
    Laplace,
    Normal,
    Uniform,
    UniformSphere,
    as_prior,
)
from entropic_ae.priors.scores import normal_cdf, normal_quantile, rank_scores

__all__ = [
    "CodePrior",
    "IndependentPrior",
    "Laplace",
    "Normal",
    "Uniform",
    "UniformSphere",
    "as_prior",
    "normal_cdf",
    "normal_quantile",
    "rank_scores",
]
