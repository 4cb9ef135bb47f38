"""Sample-based estimators of entropy and discrepancy: pure, differentiable functions of tensors."""

from entropic_ae.estimators.discrepancy import energy_distance, knn_divergence, mmd2
from entropic_ae.estimators.discrete import MOST_STATES, discrete_entropy, groups_of, joint_usage, usage_entropy
from entropic_ae.estimators.entropy import cube_entropy, distinct_codes, knn_entropy, sphere_entropy
from entropic_ae.estimators.frechet import gaussian_frechet, square_root_of
from entropic_ae.estimators.information import mutual_information
from entropic_ae.estimators.normality import (
    cramer_wold,
    epps_pulley,
    matricial_free_energy,
    norm_transport,
    sliced_transport,
)

__all__ = [
    "MOST_STATES",
    "cramer_wold",
    "cube_entropy",
    "discrete_entropy",
    "distinct_codes",
    "energy_distance",
    "epps_pulley",
    "gaussian_frechet",
    "groups_of",
    "joint_usage",
    "knn_divergence",
    "knn_entropy",
    "matricial_free_energy",
    "mmd2",
    "mutual_information",
    "norm_transport",
    "sliced_transport",
    "sphere_entropy",
    "square_root_of",
    "usage_entropy",
]
