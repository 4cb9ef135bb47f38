"""Tables for people, made of run folders' JSON, never of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["distance_rows"]


def distance_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table of distances: what, images, Frechet distance, kernel distance.

    Arguments:
        metrics: what ``evaluate`` measured in one feature space.
    """
    return [
        (
            name,
            f"{row['images']:,}",
            f"{row['frechet']:.2f}",
            f"{row['kernel']:.4f} ± {row['kernel_std']:.4f}",
        )
        for name, row in metrics["distances"].items()
    ]
