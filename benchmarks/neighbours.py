"""The entropy of many codes by ``knn_entropy``, from a random part of them, against all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.pairs import compared, interleave, timed
from benchmarks.tables import duration, markdown, plain, ratio, where
from entropic_ae.estimators import knn_entropy
from entropic_ae.storage.files import read_json

SIZES = ((100_000, 16, 5000), (1_000_000, 16, 25_000))
ALL = 100_000  # more codes are not compared in full, which takes the square of the time


def measure(rounds: int, *, sizes: tuple[tuple[int, int, int], ...] = SIZES) -> Iterator[dict[str, Any]]:
    """Yield a row a size: seconds, and the ratio to all codes, of more than ``ALL`` extrapolated by the square."""
    knn_entropy(torch.arange(10_000.0)[:, None], queries=1)  # imports scikit-learn
    fewer: tuple[int, float] | None = None
    for n, dim, queries in sizes:
        z = torch.randn(n, dim, generator=torch.Generator().manual_seed(0))
        terms: dict[int | None, torch.Tensor] = {}

        def estimate(
            queries: int | None, z: torch.Tensor = z, terms: dict[int | None, torch.Tensor] = terms
        ) -> None:
            terms[queries] = knn_entropy(z, queries=queries, reduction="none")

        contenders = {"entropic-ae": timed(estimate, queries)}
        if n <= ALL:
            contenders["all codes"] = timed(estimate, None)
        found = compared(interleave(contenders, rounds), "entropic-ae")
        if n <= ALL:
            found["difference"] = (terms[queries].mean() - terms[None].mean()).item()
            fewer = n, found["seconds"]["all codes"]
        elif fewer is not None:
            found["extrapolated"] = fewer[1] * (n / fewer[0]) ** 2
        error = (terms[queries].std() / math.sqrt(queries) * math.sqrt(1 - queries / n)).item()
        yield {"codes": n, "dimensions": dim, "queries": queries, "standard_error": error, **found}


def render_neighbours(path: Path) -> str:
    """Return the benchmark as a table."""
    found = read_json(path)
    head = ["codes", "dimensions", "queries", "standard error", "difference from all codes", "entropic-ae"]
    lines = []
    for row in found["rows"]:
        difference = "-" if "difference" not in row else f"{row['difference']:+.3f}"
        if "all codes" in row["ratios"]:
            longer = ratio(row["ratios"]["all codes"])
        else:
            longer = f"{row['extrapolated'] / row['seconds']['entropic-ae']:.0f}, extrapolated"
        lines.append(
            [
                *(plain(row[name]) for name in ("codes", "dimensions", "queries")),
                f"{row['standard_error']:.3f} nats",
                difference,
                duration(row["seconds"]["entropic-ae"]),
                longer,
            ]
        )
    table = markdown([*head, "all codes, times as long"], lines)
    return (
        f"{table}\n\nMedians of {max(row['rounds'] for row in found['rows'])} rounds in which both took turns, "
        "with quartiles of the ratios. Extrapolated times are those of the fewer codes, times the square of the "
        f"ratio of their numbers. {where(found)}"
    )
