"""How long commands take to start, in CPU time and wall time, against importing PyTorch alone."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pairs import compared
from benchmarks.tables import duration, markdown, ratio, where
from entropic_ae.storage.files import read_json

PYTORCH = "import torch"
CLOCKS = ("cpu", "wall")
SMALL = ["--set", "width=4", "--epochs", "1", "--limit", "200", "--device", "cpu"]


def measure(rounds: int, *, commands: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield a row a command: its seconds and those to its first line, with ratios to importing PyTorch.

    The commands draw from a run with the smallest networks and end with their first picture. Training is of two
    minibatches, and includes its pictures.

    Arguments:
        rounds: turns of each.
        commands: how many to measure; default: all.
    """
    with tempfile.TemporaryDirectory() as place:
        run = str(Path(place) / "run")
        library = [sys.executable, "-m", "entropic_ae"]
        _timed([*library, "train", "eae", "digits", *SMALL, "--out", run])
        lines = {
            "import entropic_ae": [sys.executable, "-c", "import entropic_ae"],
            "from entropic_ae import knn_entropy": [sys.executable, "-c", "from entropic_ae import knn_entropy"],
            "import pytorch_lightning": [sys.executable, "-c", "import pytorch_lightning"],
            "entropic-ae --help": [*library, "--help"],
            "entropic-ae recipes": [*library, "recipes"],
            **{
                f"entropic-ae {name}": [*library, name, run]
                for name in ("sample", "reconstruct", "interpolate", "report")
            },
            "entropic-ae train": [*library, "train", "eae", "digits", *SMALL, "--out"],
        }
        for name, command in list(lines.items())[:commands]:
            times: dict[str, dict[str, list[float]]] = {clock: {name: [], PYTORCH: []} for clock in CLOCKS}
            first = []
            if command[-1] != "--out":
                _timed(command)  # leaves compiled modules and what else the first start writes
            for turn in range(rounds):
                own = [*command, f"{place}/{turn}"] if command[-1] == "--out" else command
                both = [(name, own), (PYTORCH, [sys.executable, "-c", PYTORCH])]
                for who, given in both if turn % 2 else reversed(both):
                    found = _timed(given)
                    for clock in CLOCKS:
                        times[clock][who].append(found[clock])
                    if who == name and "first line" in found:
                        first.append(found["first line"])
            row = {clock: compared(times[clock], PYTORCH) for clock in CLOCKS}
            yield {
                "command": name,
                "rounds": rounds,
                **row,
                **({"first_line": statistics.median(first)} if first else {}),
            }


def _timed(command: list[str]) -> dict[str, float]:
    """Return the CPU time and the wall time of a command, and the wall time to its first line, if it has one."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = {}
    # as for an installed package, compiled modules are kept
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env) as process:
        assert process.stdout is not None
        if process.stdout.readline():
            found["first line"] = time.perf_counter() - started
        process.stdout.read()
    assert process.returncode == 0, command
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["wall"] = time.perf_counter() - started
    return found | {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def render_startup(path: Path) -> str:
    """Return the benchmark as a table."""
    found = read_json(path)
    head = ["command", "CPU time", "times that of import torch", "wall time", "times that", "to the first line"]
    lines = []
    for row in found["rows"]:
        name = row["command"]
        cells = [
            cell
            for clock in CLOCKS
            for cell in (duration(row[clock]["seconds"][name]), ratio(row[clock]["ratios"][name]))
        ]
        lines.append([f"`{name}`", *cells, duration(row["first_line"]) if "first_line" in row else "-"])
    rounds = max(row["rounds"] for row in found["rows"])
    return (
        f"{markdown(head, lines)}\n\nMedians of {rounds} rounds in which both took turns, with quartiles of the "
        f"ratios. {where(found)}"
    )
