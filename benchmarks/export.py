"""The export of an 8 x 8 model as ONNX: CPU time and wall time, in a process of its own, with an older version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pairs import compared

ROOT = Path(__file__).parent.parent
CLOCKS = ("CPU", "wall")
SCRIPT = """
import json, sys, tempfile, time

import torch
import entropic_ae as eae
from entropic_ae.densities import DENSITIES
from entropic_ae.export import export_model

model, _ = eae.configure(eae.RECIPES["eae"], eae.PRESETS["digits"]).build((1, 8, 8), seed=0)
model.eval()
codes = torch.randn(500, model.bottleneck.latent_dim, generator=torch.Generator().manual_seed(0))
densities = {name: DENSITIES[name].fit(codes, model.bottleneck.prior()) for name in json.loads(sys.argv[1])}
with tempfile.TemporaryDirectory() as out:
    started = time.process_time(), time.perf_counter()
    files = export_model(model, (1, 8, 8), out, densities=densities)
    taken = time.process_time() - started[0], time.perf_counter() - started[1]
print(json.dumps({"graphs": len(files), "CPU": taken[0], "wall": taken[1]}))
"""


def measure(
    rounds: int, *, older: Path | None = None, densities: tuple[str, ...] = ("prior", "gaussian", "mixture")
) -> Iterator[dict[str, Any]]:
    """Yield a row a clock: the seconds of an export, with the comparison by onnxruntime, on one thread.

    Imports of PyTorch and of this library are not included, those of the exporter are.

    Arguments:
        rounds: turns of each.
        older: the root of a checkout of an older version (``git worktree add PATH COMMIT``), which takes turns.
        densities: those of which a sampler is exported.
    """
    roots = checkouts(older)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    for root in roots.values():
        _export(root, densities)  # leaves compiled modules
    for turn in range(rounds):
        for name in list(roots) if turn % 2 else reversed(roots):
            found[name].append(_export(roots[name], densities))
    for clock in CLOCKS:
        times = {name: [one[clock] for one in taken] for name, taken in found.items()}
        graphs = int(found["entropic-ae"][0]["graphs"])
        yield {"clock": clock, "graphs": graphs, **compared(times, "entropic-ae")}


def checkouts(older: Path | None) -> dict[str, Path]:
    """Return the roots of this checkout and of an older one, if there is one, by their names in results."""
    roots = {"entropic-ae": ROOT}
    if older is not None:
        command = ["git", "-C", str(older), "rev-parse", "--short=7", "HEAD"]
        commit = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
        roots[f"commit {commit}"] = older
    return roots


def _export(root: Path, densities: tuple[str, ...]) -> dict[str, float]:
    """Return the times of an export by the source of a checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(root.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(densities)]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=env)
    times: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return times
