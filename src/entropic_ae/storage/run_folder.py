"""The run folder: its file names and what its JSON holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError

__all__ = ["COMPARED", "INFO", "INFO_FILE", "METRICS_FILE", "PREFIX", "RESULT", "check_run_folder", "is_shared"]

INFO_FILE, METRICS_FILE = "run.json", "metrics.json"
PREFIX = "hf:"  # of a run that is named by its place on the Hub
# A type is itself, and ``float`` any number; a tuple holds alternatives; a list of one gives its elements, of more
# its length too; a dictionary its keys: "*" stands for all, one that ends in "?" may be missing.
INFO: dict[str, Any] = {
    "recipe": str,
    "summary?": str,
    "preset": str,
    "data": str,
    "source": str,
    "image_size": (int, None),
    "limit": (int, None),
    "seed": int,
    "precision?": str,
    "overrides": {"*": (str, float, bool)},
    "expanded": {
        "encoder?": str,
        "bottleneck": str,
        "decoder?": str,
        "terms": [str],
        "densities": [str],
        "settings": {"*": (str, float, bool)},
    },
    "shape": [int, int, int],
    "training_images?": int,
    "device?": str,
    "machine?": {"*": (str, int)},
    "versions": {"*": str},
    "git_commit?": (str, None),
    "imports?": [str],
    "reference?": str,
    "density?": str,
}
_DIAGNOSTICS = {
    "verdict?": str,
    "error_from_own_codes?": float,
    "error_from_others_codes?": float,
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
        "entropy": float,
        "maximum": (float, None),
        "gap": (float, None),
        "corrected_gap?": (float, None),
    },
    "distances": {"*": {"images": int, "frechet": float, "kernel": float, "kernel_std": float}},
    "collapse?": {"active_codes": int, "latent_dim": int, "spread": {"*": float}, "collapsed": [str]},
    "diagnostics?": _DIAGNOSTICS,
    "classifier_accuracy?": float,
    "weights_sha256?": str,
}
# What diagnostics hold besides where there are codes enough and one of their dimensions is alive.
COMPARED: dict[str, Any] = {
    "prior": str,
    "n": int,
    "dimensions": int,
    "dead": int,
    "divergence": float,
    "parts": {"*": float},
    "p_values": {"*": float},
    "skewness": [float],
    "excess_kurtosis": [float],
    "correlation": {"rms": float, "largest": float},
    "distance": {"value": float, "null": [float, float, float], "n": int},
}


def is_shared(source: object) -> bool:
    """Return whether a run is named by its place on the Hub; ``./hf:x`` is a folder of that name.

    >>> is_shared("hf:owner/name"), is_shared("runs/eae-mnist-0")
    (True, False)
    """
    return str(source).startswith(PREFIX)


def check_run_folder(path: Path) -> None:
    """Raise InputError unless a folder has a run's settings.

    >>> check_run_folder(Path("run"))
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: run is not a run folder: it has no run.json; give the folder that train made.
    """
    if not (path / INFO_FILE).is_file():
        runs = sorted(file.parent.name for file in path.glob(f"*/{INFO_FILE}"))[:3]
        such = f", such as {', '.join(str(path / run) for run in runs)}" if runs else ""
        raise InputError(
            f"{path} is not a run folder: it has no {INFO_FILE}; give the folder that train made{such}."
        )
