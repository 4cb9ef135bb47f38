"""Contenders timed in turns: on a shared machine only the ratio of two neighbouring times means anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import duration, markdown, plain, ratio, where
from entropic_ae.storage.files import read_json

Contender = Callable[[], float]  # returns the seconds that it took


def timed(work: Callable[..., Any], *arguments: Any) -> Contender:
    """Return a contender that calls a function."""

    def seconds() -> float:
        started = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - started

    return seconds


def interleave(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Return each contender's times over rounds, in each of which all have a turn, another one first."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(contenders[name]())
    return times


def compared(times: Mapping[str, list[float]], ours: str) -> dict[str, Any]:
    """Return the median time of each contender and, against ours, the median and quartiles of paired ratios.

    A ratio above 1 says how many times longer the other took. One that had fewer turns is paired with the first.
    """
    found: dict[str, Any] = {"rounds": len(times[ours]), "seconds": {}, "ratios": {}}
    for name, values in times.items():
        found["seconds"][name] = statistics.median(values)
        if name == ours:
            continue
        ratios = [other / own for other, own in zip(values, times[ours], strict=False)]
        low, middle, high = (
            statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        )
        found["ratios"][name] = {"median": middle, "quartiles": [low, high]}
    return found


def render_speed(path: Path) -> str:
    """Return a benchmark as a table: the library's times, and the others' relative to them."""
    found = read_json(path)
    rows = found["rows"]
    described = list(dict.fromkeys(name for row in rows for name in row if name not in PAIRED))
    others = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    head = [*described, "entropic-ae", *(f"{name}, times as long" for name in others)]
    lines = [
        [
            *(plain(row.get(name)) for name in described),
            duration(row["seconds"]["entropic-ae"]),
            *(ratio(row["ratios"][name]) if name in row["ratios"] else "-" for name in others),
        ]
        for row in rows
    ]
    most, fewest = (choose(row["rounds"] for row in rows) for choose in (max, min))
    rounds = f"{most}" if fewest == most else f"{fewest} to {most}"
    return (
        f"{markdown(head, lines)}\n\nMedians of {rounds} rounds in which all contenders took turns, "
        f"with quartiles of the ratios. {where(found)}"
    )


PAIRED = ("rounds", "seconds", "ratios", "log_likelihood")  # results in a row, beside the description of the task
