"""The whole of ``evaluate``: CPU and wall time of the command, in turns with an older version on the same weights.

Each version measures what it measures by default: this one in two feature spaces, with fidelity, coverage,
near-copies and the map of the codes.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.export import CLOCKS, checkouts
from benchmarks.pairs import compared


def measure(
    rounds: int, *, older: Path | None = None, data: str = "mnist", width: int = 16, n: int = 5000
) -> Iterator[dict[str, Any]]:
    """Yield a row a clock: the seconds of ``entropic-ae evaluate``, imports included, on one thread.

    The run is one short epoch of ``bn-ae``, by the older version if there is one: how good it is makes no
    difference to the time. Feature spaces are trained beforehand.

    Arguments:
        rounds: turns of each.
        older: the root of a checkout of an older version (``git worktree add PATH COMMIT``), which takes turns.
        data: a data set's name.
        width: of the networks.
        n: samples of each density.
    """
    roots = checkouts(older)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        small = [
            "--set",
            f"width={width}",
            "--limit",
            "200",
            "--epochs",
            "1",
            "--device",
            "cpu",
            "--out",
            str(run),
        ]
        _call([*roots.values()][-1], "train", "bn-ae", data, *small)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
        for turn in range(-1, rounds):
            for name in list(roots) if turn % 2 else reversed(roots):
                copy = Path(place) / "copy"
                shutil.copytree(run, copy)
                taken = _call(roots[name], "evaluate", str(copy), "--n", str(n), "--device", "cpu")
                shutil.rmtree(copy)
                if turn >= 0:  # the first leaves compiled modules and weights of feature spaces
                    found[name].append(taken)
    for clock in CLOCKS:
        times = {name: [one[clock] for one in taken] for name, taken in found.items()}
        yield {"clock": clock, "data": data, "width": width, "samples": n, **compared(times, "entropic-ae")}


def _call(root: Path, *command: str) -> dict[str, float]:
    """Return the times of a command by the source of a checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(root.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "entropic_ae", *command], stdout=subprocess.DEVNULL, check=True, env=env)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "CPU": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
