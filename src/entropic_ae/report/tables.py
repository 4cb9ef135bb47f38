"""Tables and formatted numbers from the JSON of run folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from entropic_ae.storage.run_folder import FLOOR

__all__ = [
    "accuracy_text",
    "closer_text",
    "distance_rows",
    "few_text",
    "fixed",
    "frechet_text",
    "kernel_text",
    "multiple",
    "multiple_rows",
    "multiple_text",
    "p_value",
    "withheld_text",
]

_FIDELITY = ("precision", "density")
_SIGMAS = 1.96  # standard errors, half of a 95 % interval


def distance_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return the rows of a table of distances: name, Frechet distance, times the floor, kernel distance, images.

    With a standard error, a Frechet distance has half of its 95 % interval behind it. A dash stands for a distance
    that is withheld.

    Arguments:
        metrics: the result of ``evaluate`` in one feature space.

    >>> row = {"images": 10000, "frechet": 3.14159, "frechet_error": 0.05, "kernel": 0.01, "kernel_std": 0.002}
    >>> distance_rows({"distances": {"prior": row, "held-out images": row | {"frechet": 0.1}}})[0]
    ('prior', '3.14 ± 0.10', '31', '0.0100 ± 0.0039', '10,000')
    """
    return [
        (
            name,
            frechet_text(metrics, name),
            multiple_text(multiple(metrics, name)),
            kernel_text(metrics, name),
            f"{row['images']:,}",
        )
        for name, row in metrics["distances"].items()
    ]


def kernel_text(metrics: Mapping[str, Any], name: str) -> str:
    """Return the kernel distance of a row, with half of its 95 % interval; a dash where it is withheld.

    Results without a standard error of the Frechet distance are from a version that wrote the deviation over
    subsets; they keep it.

    >>> row = {"kernel": 0.01, "kernel_std": 0.002}
    >>> metrics = {"distances": {"old": row, "prior": {**row, "frechet_error": 0.1}}}
    >>> kernel_text(metrics, "old"), kernel_text(metrics, "prior")
    ('0.0100 ± 0.0020', '0.0100 ± 0.0039')
    """
    if "kernel_withheld" in metrics:
        return "-"
    row = metrics["distances"][name]
    half = row["kernel_std"] * (_SIGMAS if "frechet_error" in row else 1)
    return f"{row['kernel']:.4f}" + (f" ± {half:.4f}" if half else "")


def frechet_text(metrics: Mapping[str, Any], name: str) -> str:
    """Return the Frechet distance of a row, with half of its 95 % interval; a dash where it is withheld.

    >>> frechet_text({"distances": {"prior": {"frechet": 2.0}}, "withheld": {"like_real": []}}, "prior")
    '-'
    """
    row = metrics["distances"][name]
    if "withheld" in metrics:
        return "-"
    half = f" ± {_SIGMAS * row['frechet_error']:.2f}" if "frechet_error" in row else ""
    return f"{row['frechet']:.2f}{half}"


def closer_text(metrics: Mapping[str, Any], name: str, measure: str) -> str:
    """Return a measure of fidelity or coverage of a row, a dash where there is none.

    Precision and density go with the Frechet distance: where it does not tell blurred images from real ones, these
    may call blurred ones the better, and are withheld.

    >>> metrics = {"distances": {"prior": {"precision": 0.9, "recall": 0.8}}, "withheld": {"like_real": []}}
    >>> closer_text(metrics, "prior", "precision"), closer_text(metrics, "prior", "recall")
    ('-', '0.80')
    """
    row = metrics["distances"][name]
    if measure not in row or (measure in _FIDELITY and "withheld" in metrics):
        return "-"
    return f"{row[measure]:.2f}"


def multiple(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return the Frechet distance of a row by that of real images; None where either is not known well enough.

    >>> multiple({"distances": {"prior": {"frechet": 2.0}, "held-out images": {"frechet": 0.5}}}, "prior")
    4.0
    """
    real = metrics["distances"].get(FLOOR, {})
    floor = real.get("frechet")
    if not floor or "withheld" in metrics or floor < _SIGMAS * real.get("frechet_error", 0.0):
        return None
    return float(metrics["distances"][name]["frechet"] / floor)


def multiple_text(value: float | None) -> str:
    """Return a multiple of the floor with two digits or as a whole number; a dash for None.

    >>> multiple_text(1.0), multiple_text(9.96), multiple_text(1234.5), multiple_text(None)
    ('1.0', '10', '1,234', '-')
    """
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def multiple_rows(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the multiples of the floor in several feature spaces: name, their mean, and each.

    The mean is a dash where one of them is withheld, or a space has no such row.

    Arguments:
        results: of ``evaluate``, one a feature space; the rows are those of the first.

    >>> pixels = {"distances": {"prior": {"frechet": 2.0}, "held-out images": {"frechet": 0.5}}}
    >>> inception = {"distances": {"prior": {"frechet": 8.0}, "held-out images": {"frechet": 1.0}}}
    >>> multiple_rows([pixels, inception])
    [('prior', '6.0', '4.0', '8.0'), ('held-out images', '1.0', '1.0', '1.0')]
    """
    rows = []
    for name in results[0]["distances"]:
        each = [multiple(one, name) if name in one["distances"] else None for one in results]
        known = [value for value in each if value is not None]
        mean = sum(known) / len(known) if len(known) == len(each) else None
        rows.append((name, multiple_text(mean), *map(multiple_text, each)))
    return rows


def accuracy_text(share: float, n: int) -> str:
    """Return the share of right answers on n images, and its 95 % interval.

    The interval is Wilson's, "Probable inference, the law of succession, and statistical inference", 1927,
    https://doi.org/10.1080/01621459.1927.10502953, which holds for few images and for shares near 0 and 1, too.

    >>> accuracy_text(0.9, 60), accuracy_text(1.0, 6)
    ('90.0 % (79.9 to 95.3)', '100.0 % (61.0 to 100.0)')
    """
    of_error = _SIGMAS**2 / n
    middle = (share + of_error / 2) / (1 + of_error)
    half = math.sqrt(share * (1 - share) * of_error + of_error**2 / 4) / (1 + of_error)
    return f"{100 * share:.1f} % ({100 * max(0.0, middle - half):.1f} to {100 * min(1.0, middle + half):.1f})"


def few_text(metrics: Mapping[str, Any]) -> str | None:
    """Return that the images are few for their features; None if they are not, or distances are withheld.

    >>> few_text({"features": "pixels", "number": 54, "dimensions": 64})
    '54 images of each kind are few for pixels features of 64 dimensions: compare only with the held-out images'
    """
    if "withheld" in metrics or "dimensions" not in metrics or metrics["number"] > metrics["dimensions"]:
        return None
    return (
        f"{metrics['number']:,} images of each kind are few for {metrics['features']} features of "
        f"{metrics['dimensions']:,} dimensions: compare only with the {FLOOR}"
    )


def withheld_text(metrics: Mapping[str, Any]) -> str | None:
    """Return why distances are withheld, and how many images it would take; None if they are not.

    >>> withheld = {"like_real": ["mean image"], "needed": 300}
    >>> withheld_text({"features": "pixels", "number": 54, "withheld": withheld})
    '54 images of each kind are too few: in pixels features, real images are no nearer than mean image; about 300 \
held-out and test images would do'
    """
    if "withheld" not in metrics:
        if "kernel_withheld" not in metrics:
            return None
        return (
            f"{metrics['number']:,} images of each kind are too few for kernel distances: in "
            f"{metrics['features']} features, real images are no nearer than "
            f"{' or '.join(metrics['kernel_withheld']['like_real'])}"
        )
    needed = metrics["withheld"]["needed"]
    remedy = f"about {needed:,} held-out and test images would do" if needed else "more images may not help"
    return (
        f"{metrics['number']:,} images of each kind are too few: in {metrics['features']} features, real images "
        f"are no nearer than {' or '.join(metrics['withheld']['like_real'])}; {remedy}"
    )


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with that many decimals, a dash for None.

    >>> fixed(-0.001), fixed(1234.5), fixed(None), fixed(math.nan)
    ('0.00', '1,234.50', '-', 'not finite')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not finite"
    return f"{round(value, digits) + 0:,.{digits}f}"  # + 0 turns -0.00 into 0.00


def p_value(value: float) -> str:
    """Return a p-value with three decimals, or "< 0.001".

    >>> p_value(0.0203), p_value(1e-9)
    ('0.020', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else fixed(value, 3)
