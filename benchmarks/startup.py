"""How long it takes to import the library, and to be told how the command is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.pairs import compared, interleave, timed

COMMANDS = {
    "import entropic_ae": [sys.executable, "-c", "import entropic_ae"],
    "entropic-ae --help": [sys.executable, "-m", "entropic_ae", "--help"],
    "import entropic_ae, and its knn_entropy": [sys.executable, "-c", "from entropic_ae import knn_entropy"],
}
AGAINST = [sys.executable, "-c", "import torch"]


def measure(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row a command: its seconds, and those of importing PyTorch alone against it."""
    for name, command in COMMANDS.items():
        contenders = {
            "entropic-ae": timed(_run, command),
            "import torch": timed(_run, AGAINST),
        }
        yield {"command": name, **compared(interleave(contenders, rounds), "entropic-ae")}


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
