"""The evaluation protocol: reconstructions, interpolations and samples of each density against held-out images."""

from entropic_ae.evaluation.labelled import classification_accuracy_score, labelled_samples
from entropic_ae.evaluation.plane import map_codes, map_methods
from entropic_ae.evaluation.protocol import SPLITS, check_number, check_split, evaluate, evaluate_in

__all__ = [
    "SPLITS",
    "check_number",
    "check_split",
    "classification_accuracy_score",
    "evaluate",
    "evaluate_in",
    "labelled_samples",
    "map_codes",
    "map_methods",
]
