"""``python -m benchmarks [NAME ...]``: measure, and write ``results/performance/NAME.json``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import densities, entropy, startup, training
from entropic_ae.files import write_json
from entropic_ae.provenance import git_commit, machine, versions

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="training, entropy, densities, startup; or all")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--peers", type=Path, help="the Python of pythae's environment: tests/peers says how")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "performance")
    options = parser.parse_args()
    known: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
        "training": partial(training.measure, peers=options.peers),
        "entropy": entropy.measure,
        "densities": densities.measure,
        "startup": startup.measure,
    }
    for name in options.names or known:
        if name not in known:
            sys.exit(f"no benchmark '{name}'; expected {', '.join(known)}.")
        rows = []
        for row in known[name](options.rounds):
            print(name, row, file=sys.stderr, flush=True)
            rows.append(row)
        where = {"machine": machine(), "threads": torch.get_num_threads()}
        result = {"rows": rows, **where, "versions": versions(), "git_commit": git_commit()}
        write_json(options.out / f"{name}.json", result)
        print(options.out / f"{name}.json")


if __name__ == "__main__":
    main()
