"""Memory of reading a folder with a file an image, and a set of the Hub as a stream; a process for each.

A file takes the Hub's place, so no network is in the time of the stream.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.memory import SIDE, TASKS, apart

IMAGES = (20_000, 200_000)
KEPT = 32  # the side of what is kept of each image


def measure(
    rounds: int,  # noqa: ARG001  # once each: memory does not swing
    *,
    images: tuple[int, ...] = IMAGES,
) -> Iterator[dict[str, Any]]:
    """Yield a row a set: its peak memory beyond mapped files, in MiB, that with them, and its seconds."""
    for count in images:
        with tempfile.TemporaryDirectory() as folder:
            TASKS["write"](folder, count)
            pixels = 3 * KEPT**2 * count / 2**20
            yield {"task": "stream", "images": count, "pixels_mib": pixels, **apart("stream", folder, KEPT)}
            TASKS["unpack"](folder)
            pixels = 3 * SIDE**2 * count / 2**20
            yield {"task": "folder", "images": count, "pixels_mib": pixels, **apart("folder", folder)}
