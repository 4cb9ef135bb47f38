"""What the JSON of a run folder must look like, so that damage is told by its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError

__all__ = [
    "COMPARED",
    "INFO",
    "INFO_FILE",
    "METRICS_FILE",
    "PREFIX",
    "RESULT",
    "check",
    "check_run_folder",
    "is_shared",
    "shown",
]

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
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", None: "null"}


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


def check(value: Any, spec: Any, where: str) -> None:
    """Raise InputError if a value is not what a specification asks for; the sentence names the place.

    >>> check({"seed": "one"}, {"seed": int}, "run.json")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: run.json is damaged: seed is 'one', expected a whole number; make it anew.
    """
    if fault := _fault(value, spec, ""):
        raise InputError(f"{where} is damaged: {fault}; make it anew.")


def _fault(value: Any, spec: Any, place: str) -> str | None:
    """Return what is wrong first, or None."""
    if isinstance(spec, tuple):
        faults = [_fault(value, one, place) for one in spec]
        return None if None in faults else faults[0]
    if isinstance(spec, dict) and isinstance(value, dict):
        return _fault_of_dictionary(value, spec, place)
    if isinstance(spec, list) and isinstance(value, list) and len(spec) in (1, len(value)):
        wanted = spec if len(spec) > 1 else spec * len(value)
        pairs = enumerate(zip(value, wanted, strict=True))
        return next((f for i, (one, kind) in pairs if (f := _fault(one, kind, f"{place}[{i}]"))), None)
    if _is(value, spec):
        return None
    return f"{place or 'it'} is {shown(value)}, expected {_expected(spec)}"


def _fault_of_dictionary(value: dict[str, Any], spec: dict[str, Any], place: str) -> str | None:
    start = f"{place}." if place else ""
    if "*" in spec:
        pairs = value.items()
        return next((f for name, one in pairs if (f := _fault(one, spec["*"], start + _printable(name)))), None)
    for key, kind in spec.items():
        name = key.removesuffix("?")
        if name in value:
            if fault := _fault(value[name], kind, start + name):
                return fault
        elif name == key:
            return f"{start}{name} is missing"
    return None


def _is(value: Any, spec: Any) -> bool:
    if isinstance(spec, dict | list):
        return False
    if spec is None or isinstance(value, bool):
        return value is spec or (spec is bool and isinstance(value, bool))
    return isinstance(value, (int, float) if spec is float else spec)


def _expected(spec: Any) -> str:
    if isinstance(spec, dict):
        return "a dictionary"
    if isinstance(spec, list):
        return f"a list of {len(spec)}" if len(spec) > 1 else "a list"
    return _NAMES[spec]


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else shown(name)


def shown(value: Any, most: int = 40) -> str:
    """Return a value from a file as a sentence can hold it: short, on one line, whatever is in it.

    >>> shown("eae"), shown([1.0]), shown([[[]]]), shown("a" * 100, most=10)
    ("'eae'", '[1.0]', 'a list', "'aaaaaa...")
    """
    # what is nested may be nested too deep to be printed
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value)):
        return "a dictionary" if isinstance(value, dict) else "a list"
    text = repr(value[: most + 1] if isinstance(value, str | list) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
