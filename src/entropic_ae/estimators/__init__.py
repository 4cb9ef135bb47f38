"""Sample-based estimators of entropy and discrepancy: pure, differentiable functions of tensors."""

from entropic_ae.estimators.discrepancy import mmd2
from entropic_ae.estimators.entropy import cube_entropy, distinct_codes, knn_entropy, sphere_entropy
from entropic_ae.estimators.information import mutual_information

__all__ = ["cube_entropy", "distinct_codes", "knn_entropy", "mmd2", "mutual_information", "sphere_entropy"]
