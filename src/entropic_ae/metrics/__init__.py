"""Metrics: pure functions of features, codes and images; none depends on a batch size."""

from entropic_ae.metrics.codes import active_codes, entropy_gap
from entropic_ae.metrics.coverage import FidelityReference, fidelity_coverage
from entropic_ae.metrics.diagnostics import LEVEL, diagnose, least_codes, sliced_wasserstein
from entropic_ae.metrics.distances import kernel_distance, sliced_distance
from entropic_ae.metrics.frechet import FrechetEstimate, FrechetReference, frechet_distance
from entropic_ae.metrics.images import psnr, reconstruction_error, spread, ssim, total_variance
from entropic_ae.metrics.intervals import Interval, interval
from entropic_ae.metrics.labels import knn_accuracy, linear_probe_accuracy
from entropic_ae.metrics.neighbours import CopyReference, NearCopies, Neighbours, near_copies, nearest_neighbours
from entropic_ae.metrics.tails import LEAST_REFERENCE, p_values, tail_surprise

__all__ = [
    "LEAST_REFERENCE",
    "LEVEL",
    "CopyReference",
    "FidelityReference",
    "FrechetEstimate",
    "FrechetReference",
    "Interval",
    "NearCopies",
    "Neighbours",
    "active_codes",
    "diagnose",
    "entropy_gap",
    "fidelity_coverage",
    "frechet_distance",
    "interval",
    "kernel_distance",
    "knn_accuracy",
    "least_codes",
    "linear_probe_accuracy",
    "near_copies",
    "nearest_neighbours",
    "p_values",
    "psnr",
    "reconstruction_error",
    "sliced_distance",
    "sliced_wasserstein",
    "spread",
    "ssim",
    "tail_surprise",
    "total_variance",
]
