"""Tables and formatted numbers from the JSON of run folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["distance_rows", "fixed", "p_value"]


def distance_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table of distances: name, images, Frechet distance, kernel distance.

    Arguments:
        metrics: the result of ``evaluate`` in one feature space.

    >>> row = {"images": 10000, "frechet": 3.14159, "kernel": 0.01, "kernel_std": 0.002}
    >>> distance_rows({"distances": {"prior": row}})
    [('prior', '10,000', '3.14', '0.0100 ± 0.0020')]
    """
    return [
        (
            name,
            f"{row['images']:,}",
            f"{row['frechet']:.2f}",
            f"{row['kernel']:.4f}" + (f" ± {row['kernel_std']:.4f}" if row["kernel_std"] else ""),
        )
        for name, row in metrics["distances"].items()
    ]


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
