"""What metrics.json and map.json of a run folder hold, by which they are checked when they are read."""

from __future__ import annotations

from typing import Any

__all__ = ["COMPARED", "MAP_SCHEMA", "RESULT", "USAGE"]

_DIAGNOSTICS = {
    "verdict?": str,
    "error_from_own_codes?": float,
    "error_from_others_codes?": float,
    "labels?": {"information": float, "entropy": float, "null": [float, float, float], "p_value": float, "n": int},
    "minibatch?": ({"rms_change": float, "mean": float, "least_std": float, "largest_std": float}, None),
}
RESULT: dict[str, Any] = {
    "features": str,
    "features_sha256?": str,
    "n": int,
    "seed": int,
    "split?": str,
    "real_images": int,
    "reconstruction_error": float,
    "codes": {
        "n": int,
        "distinct?": int,
        "states?": int,
        "entropy": float,
        "maximum": (float, None),
        "gap": (float, None),
        "corrected_gap?": (float, None),
    },
    "distances": {
        "*": {
            "images": int,
            "frechet": float,
            "frechet_error?": float,
            "kernel": float,
            "kernel_std": float,
            "precision?": float,
            "recall?": float,
            "density?": float,
            "coverage?": float,
            "clipped_density?": float,
            "clipped_coverage?": float,
            "near_copies?": float,
            "neighbours?": {
                "samples": [int],
                "training_images": [int],
                "distances": [float],
                "held_out": [float],
                "picture_sha256?": str,
            },
        }
    },
    "blurred_error?": float,
    "psnr?": (float, None),
    "ssim?": float,
    "knn_accuracy?": float,
    "probe_accuracy?": float,
    "classification_accuracy?": {"density": str, "images": int, "samples": float, "real": float},
    "number?": int,
    "dimensions?": int,
    "variance?": float,
    "withheld?": {"like_real": [str], "needed": (int, None)},
    "kernel_withheld?": {"like_real": [str]},
    "collapse?": {"active_codes": int, "latent_dim": int, "spread": {"*": float}, "collapsed": [str]},
    "diagnostics?": _DIAGNOSTICS,
    "copies?": {"*": int},
    "classifier_accuracy?": float,
    "weights_sha256?": str,
}
_PARTS: dict[str, Any] = {
    "prior": str,
    "n": int,
    "dimensions": int,
    "dead": int,
    "divergence": float,
    "parts": {"*": float},
    "p_values": {"*": float},
    "distance": {"value": float, "null": [float, float, float], "n": int},
}
# Further diagnostics, if there are enough codes and at least one active dimension.
COMPARED: dict[str, Any] = {
    **_PARTS,
    "skewness": [float],
    "excess_kurtosis": [float],
    "correlation": {"rms": float, "largest": float},
}
# Those of codes of a finite alphabet.
USAGE: dict[str, Any] = {
    **_PARTS,
    "dependent": int,
    "usage": {
        "quantum": str,
        "tokens": int,
        "states": int,
        "unused": int,
        "entropy": [float],
        "perplexity": float,
        "group": int,
        "pairs": ({"mean": float, "largest": float}, None),
    },
}
MAP_SCHEMA: dict[str, Any] = {
    "weights_sha256": str,
    "prior": str,
    "images": [int],
    "labels": ([int], None),
    "method": str,
    "x": [float],
    "y": [float],
    "variance": float,
    "contours": {"*": [[[float]]]},
}
