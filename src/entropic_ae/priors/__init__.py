"""Distributions over codes, and normal scores of codes."""

from entropic_ae.priors.alphabet import Alphabet, UniformLevels, check_levels, level_values
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
    "Alphabet",
    "CodePrior",
    "IndependentPrior",
    "Laplace",
    "Normal",
    "Uniform",
    "UniformLevels",
    "UniformSphere",
    "as_prior",
    "check_levels",
    "level_values",
    "normal_cdf",
    "normal_quantile",
    "rank_scores",
]
