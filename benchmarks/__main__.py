"""``python -m benchmarks [NAME ...]``: measure, and write ``results/performance/NAME.json``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import accelerator, densities, entropy, frechet, memory, sampling, startup, training
from entropic_ae.files import write_json
from entropic_ae.provenance import git_commit, machine, versions

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = "training, entropy, densities, sampling, frechet, startup, memory; all of these unless given; or gpu"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--peers", type=Path, help="the Python of pythae's environment: tests/peers says how")
    parser.add_argument("--dry", action="store_true", help="gpu: on the CPU, with little of everything")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "performance")
    options = parser.parse_args()
    known: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
        "training": partial(training.measure, peers=options.peers),
        "entropy": entropy.measure,
        "densities": densities.measure,
        "sampling": sampling.measure,
        "frechet": frechet.measure,
        "startup": startup.measure,
        "memory": memory.measure,
        "gpu": partial(accelerator.measure, dry=options.dry),
    }
    if unknown := [name for name in options.names if name not in known]:
        sys.exit(f"no benchmark '{unknown[0]}'; expected {', '.join(known)}.")
    for name in options.names or [name for name in known if name != "gpu"]:
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
