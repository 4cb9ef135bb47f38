"""``python -m benchmarks [NAME ...]``: measure, and write ``results/performance/NAME.json``.

What measures no speed, ``spaces`` and ``ranking``, is written to ``results/measures``.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import write_json

ROOT = Path(__file__).parent.parent
NAMES = (
    *("training", "entropy", "neighbours", "densities", "sampling", "startup", "memory", "reading", "coverage"),
    *("export", "evaluate", "limit", "frechet", "spaces", "ranking", "networks", "transports"),
)
MODULES = {**{name: name for name in NAMES}, "gpu": "accelerator"}
APART = ("evaluate", "limit", "frechet", "gpu", "spaces", "ranking")  # of what not every machine has
MEASURES = ("spaces", "ranking")  # whose results are no times
ROUNDS = 7
GPU_ROUNDS = 3  # of a GPU that nobody else uses times swing little
DRY: dict[str, dict[str, Any]] = {
    "training": {"images": 200, "width": 2},
    "entropy": {"sizes": ((100, 4),)},
    "neighbours": {"sizes": ((500, 4, 100),)},
    "densities": {"sizes": (("bent", 500, 2, 3), ("clustered", 500, 2, 3))},
    "sampling": {"n": 20, "width": 2, "compiles": False},  # for which a machine needs a C++ compiler
    "frechet": {"features": 100, "dim": 16, "images": 4},
    "startup": {"commands": 2},
    "export": {"densities": ("prior",)},
    "evaluate": {"data": "digits", "width": 2, "n": 50},
    "spaces": {"data": ("digits",), "sizes": (60,)},
    "ranking": {"data": ("digits",), "sizes": (60, 120), "spaces": ("random",), "settings": {"epochs": 1}},
    "memory": {"images": (200,), "codes": ((1000, 4),)},
    "reading": {"images": (200,)},
    "coverage": {"size": 100, "dim": 8},
    "networks": {"sides": (8,), "width": 2, "batch": 2},
    "limit": {"images": 200, "limit": 2 << 30},
    "transports": {"sizes": ((2, 3, 2),), "fitted": 500, "mapped": 20},
    "gpu": {"dry": True},
}


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    usual = [name for name in MODULES if name not in APART]
    apart = "gpu, which needs one; limit, as root; frechet, with PYTHONPATH=.venv/fid; the others with data"
    names = f"{', '.join(usual)}: these unless given; {apart}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    rounds = f"turns of each contender; {ROUNDS} unless given, of gpu {GPU_ROUNDS}"
    parser.add_argument("--rounds", type=int, help=rounds)
    parser.add_argument(
        "--peers", type=Path, help="the Python of pythae's environment, which tests/peers says how to make"
    )
    parser.add_argument(
        "--older", type=Path, help="a checkout of an older version, for export and evaluate to compare with"
    )
    parser.add_argument("--dry", action="store_true", help="one round of little, on the CPU, to see that it works")
    parser.add_argument("--out", type=Path, help="folder of the results; with --dry in runs/ unless given")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MODULES]:
        sys.exit(f"no benchmark '{unknown[0]}'; expected {', '.join(MODULES)}.")
    if options.rounds is not None and options.rounds < 1:
        sys.exit(f"--rounds must be at least 1, got {options.rounds}.")
    if "gpu" in options.names and not options.dry and not torch.cuda.is_available():
        sys.exit("gpu needs a GPU, and PyTorch sees none; --dry tries it on the CPU.")
    packages = versions()
    if options.peers is not None:
        from benchmarks.training import peer_versions

        packages |= peer_versions(options.peers)
    for name in options.names or usual:
        usual_rounds = 1 if options.dry else GPU_ROUNDS if name == "gpu" else ROUNDS
        own = DRY.get(name, {}) if options.dry else {}
        if name in ("training", "gpu"):
            own = {**own, "peers": options.peers}
        if name in ("export", "evaluate"):
            own = {**own, "older": options.older}
        if name == "ranking":
            own = {**own, "folder": (options.out or ROOT / "runs") / "ranking"}
        kind = "measures" if name in MEASURES else "performance"
        out = options.out or ROOT / ("runs" if options.dry else "results") / kind
        measure = import_module(f"benchmarks.{MODULES[name]}").measure
        where = {"machine": machine(), "threads": torch.get_num_threads()}
        rows = []
        for row in measure(options.rounds or usual_rounds, **own):
            print(name, row, file=sys.stderr, flush=True)
            rows.append(row)
            result = {"rows": rows, **where, "versions": packages, "git_commit": git_commit()}
            write_json(out / f"{name}.json", result)  # row by row: the last may take an hour
        print(out / f"{name}.json")


if __name__ == "__main__":
    main()
