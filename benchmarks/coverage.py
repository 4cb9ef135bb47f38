"""Fidelity and coverage against prdc, where that is installed: processor time and memory, a process for each.

The features are standard normal, and drawing them is counted for both. Precision, recall, density and coverage are
checked to be equal; the clipped forms are ours alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks.memory import apart
from benchmarks.pairs import compared, interleave

SIZE, DIM = 10_000, 2048


def measure(rounds: int, *, size: int = SIZE, dim: int = DIM) -> Iterator[dict[str, Any]]:
    """Yield the one row: processor seconds, paired ratios, and the highest peaks of memory in MiB."""
    tasks = {"entropic-ae": "coverage", **({"prdc": "prdc"} if find_spec("prdc") else {})}
    peaks = dict.fromkeys(tasks, 0.0)
    values: dict[str, dict[str, float]] = {}

    def contender(name: str) -> float:
        found = apart(tasks[name], "", size, dim)
        peaks[name] = max(peaks[name], found["peak_mib"])
        values[name] = found["values"]
        return float(found["cpu_seconds"])

    times = interleave({name: lambda name=name: contender(name) for name in tasks}, rounds)
    for name, value in values.get("prdc", {}).items():
        assert abs(values["entropic-ae"][name] - value) < 1e-9, (name, values)
    memory = {f"peak of {name}, MiB": round(peak) for name, peak in peaks.items()}
    yield {"features": size, "dimensions": dim, **memory, **compared(times, "entropic-ae")}
