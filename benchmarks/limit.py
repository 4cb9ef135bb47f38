"""Training from a set whose pixels are more than the memory that the process may use: the kernel enforces it.

It takes Linux and root, which may make control groups. Pages of a mapped file count for the group that reads them
first, and so the set's leave the memory before.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.memory import SIDE, apart

IMAGES, LIMIT = 100_000, 900 << 20  # bytes, of which PyTorch and the library take about half
GROUPS = {  # the file of the limit, by where a control group is made
    "/sys/fs/cgroup/memory": "memory.limit_in_bytes",
    "/sys/fs/cgroup": "memory.max",
}


def measure(
    rounds: int,  # noqa: ARG001  # once each: memory does not swing
    *,
    images: int = IMAGES,
    limit: int = LIMIT,
) -> Iterator[dict[str, Any]]:
    """Yield a row of an epoch without the limit and one with it."""
    with tempfile.TemporaryDirectory() as folder:
        apart("write", folder, images)
        apart("load", folder)
        row = {"task": "train", "images": images, "pixels_mib": 3 * SIDE**2 * images / 2**20}
        free = apart("train", folder)
        yield {**row, **free}
        with group_of(limit) as group:
            for path in Path(folder).rglob("*"):
                if path.is_file():
                    _forget(path)
            found = apart("train", folder, group=group)
        exceeded = row["pixels_mib"] > limit / 2**20  # not in a dry run
        if exceeded and found["resident_mib"] > 0.8 * free["resident_mib"]:
            sys.exit(f"the limit did not hold: {found['resident_mib']:.0f} MiB were resident.")
        yield {**row, "limit_mib": limit / 2**20, **found}


def _forget(path: Path) -> None:
    """Let the kernel drop what it has of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def group_of(limit: int) -> Iterator[Path]:
    """Yield a control group of so many bytes."""
    for parent, file in GROUPS.items():
        group = Path(parent) / f"entropic-ae-{os.getpid()}"
        try:
            group.mkdir()
            (group / file).write_text(str(limit))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            with suppress(OSError):
                group.rmdir()
        return
    sys.exit("limit needs control groups, which Linux lets root make.")
