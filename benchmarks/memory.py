"""Memory: sets of images that are decoded and trained on, and the entropy of many codes; a process for each.

A process is watched from outside (Linux), its children with it. Its peak is that of its own pages; what was
resident counts those of mapped files too, which the kernel may drop.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.tables import duration, markdown, mebibytes, plain, where
from entropic_ae.storage.files import read_json

IMAGES = (20_000, 200_000)
SIDE = 64
CODES = ((10_000, 64), (100_000, 64), (10_000, 16), (100_000, 16), (1_000_000, 16))


def measure(
    rounds: int,  # noqa: ARG001  # once each: memory does not swing
    *,
    images: tuple[int, ...] = IMAGES,
    codes: tuple[tuple[int, int], ...] = CODES,
) -> Iterator[dict[str, Any]]:
    """Yield a row a task: its peak memory beyond mapped files, in MiB, that with them, and its seconds."""
    for count in images:
        with tempfile.TemporaryDirectory() as folder:
            pixels = 3 * SIDE**2 * count
            yield {"task": "write", "images": count, **apart("write", folder, count)}
            yield {"task": "load", "images": count, "pixels_mib": pixels / 2**20, **apart("load", folder)}
            yield {"task": "train", "images": count, **apart("train", folder)}
    for count, dim in codes:
        yield {"task": "entropy", "codes": count, "dimensions": dim, **apart("entropy", "", count, dim)}


def apart(task: str, folder: str, *sizes: int, group: Path | None = None) -> dict[str, Any]:
    """Return what a task took in a process of its own, under a control group if one is given."""
    command = [sys.executable, "-m", "benchmarks.memory", task, folder, *map(str, sizes)]
    cache = {"HF_HOME": folder, "ENTROPIC_AE_CACHE": folder} if folder else {}
    if group:  # by a shell, so that it is inside before it has any memory
        command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *command]
    most = 0
    with subprocess.Popen(command, env={**os.environ, **cache}, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, sum(_kib("RssAnon", one) for one in _with_children(process.pid)))
            time.sleep(0.01)
        printed = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with status {process.returncode}.")
    return {"peak_mib": most / 1024, **json.loads(printed.splitlines()[-1])}


def _write(folder: str, count: str) -> None:
    """Write smooth random images as a file of parquet."""
    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    source = np.random.default_rng(0)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", kind)])
    with pyarrow.parquet.ParquetWriter(Path(folder) / "set.parquet", schema) as writer:
        for start in range(0, int(count), 1000):
            rows = []
            for _ in range(min(1000, int(count) - start)):
                stream = io.BytesIO()
                coarse = Image.fromarray(source.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                coarse.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(stream, "jpeg")
                rows.append({"bytes": stream.getvalue(), "path": None})
            writer.write_table(pyarrow.table({"image": pyarrow.array(rows, kind)}, schema))


def _load(folder: str) -> Any:
    from entropic_ae.data import load_images

    return load_images(Path(folder) / "set.parquet")


def _unpack(folder: str) -> None:
    """Write each image of the set to a file of its own."""
    import pyarrow.parquet

    files = Path(folder) / "images"
    files.mkdir()
    numbers = itertools.count()
    for batch in pyarrow.parquet.ParquetFile(Path(folder) / "set.parquet").iter_batches(1000):
        for image in batch.column("image").to_pylist():
            (files / f"{next(numbers)}.jpg").write_bytes(image["bytes"])


def _folder(folder: str) -> None:
    from entropic_ae.data import load_images

    load_images(Path(folder) / "images")


def _stream(folder: str, side: str) -> None:
    """Read the set as a stream of the Hub, whose place the file takes."""
    import datasets

    from entropic_ae.data import load_images

    rows = datasets.load_dataset("parquet", data_files=str(Path(folder) / "set.parquet"), streaming=True)
    with (
        patch("entropic_ae.data.streaming.hub_revision", lambda _: "one"),
        patch("datasets.load_dataset", lambda *_, **__: rows),
    ):
        load_images("hf-stream:some/set", image_size=int(side))


def _train(folder: str) -> None:
    """Train for one epoch on the whole set, with small networks."""
    from entropic_ae.recipes import PRESETS, RECIPES, configure
    from entropic_ae.training import fit

    data = _load(folder)
    system = configure(RECIPES["eae"], PRESETS["celeba"], {"width": 4, "epochs": 1})
    model, objective = system.build(data.shape)
    fit(model, objective, data.train.images, data.validation.images[:1000], system.preset.training, device="cpu")


def _entropy(_: str, count: str, dim: str) -> None:
    from entropic_ae.estimators import knn_entropy

    z = torch.randn(int(count), int(dim), generator=torch.Generator().manual_seed(0))
    knn_entropy(z)


def _features(size: str, dim: str) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    return [torch.randn(int(size), int(dim), generator=source) for _ in range(2)]


def _coverage(_: str, size: str, dim: str) -> dict[str, float]:
    from entropic_ae.metrics import fidelity_coverage

    return fidelity_coverage(*_features(size, dim))


def _prdc(_: str, size: str, dim: str) -> dict[str, float]:
    from prdc import compute_prdc

    return {
        name: float(value)
        for name, value in compute_prdc(*(x.numpy() for x in _features(size, dim)), nearest_k=5).items()
    }


TASKS: dict[str, Callable[..., Any]] = {
    "write": _write,
    "load": _load,
    "stream": _stream,
    "unpack": _unpack,
    "folder": _folder,
    "train": _train,
    "entropy": _entropy,
    "coverage": _coverage,
    "prdc": _prdc,
}


def _with_children(process: int) -> Iterator[int]:
    """Yield a process and all that it has started."""
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in task.read_text().split():
                yield from _with_children(int(child))


def _kib(what: str, process: int | str = "self") -> int:
    """Return a line of a process's status in KiB; 0 of one that has ended.

    ``RssAnon`` is its own resident memory, without pages of files; ``VmHWM`` the most that was ever resident.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1])
    return 0


def main() -> None:
    """Do one task in this process; print what was resident, what the imports had taken before, times, values."""
    import entropic_ae.data
    import entropic_ae.training.loop  # noqa: F401

    task, *arguments = sys.argv[1:]
    before = _kib("RssAnon")
    started, used = time.perf_counter(), time.process_time()
    found = TASKS[task](*arguments)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - used}
    values = {"values": found} if isinstance(found, dict) else {}
    print(json.dumps({"resident_mib": _kib("VmHWM") / 1024, "at_start_mib": before / 1024, **took, **values}))


if __name__ == "__main__":
    main()


def render_memory(path: Path) -> str:
    """Return the benchmark of memory: a row a task."""
    found = read_json(path)
    lines = [
        [
            row["task"],
            plain(row.get("images") or row.get("codes")),
            plain(row.get("dimensions")),
            mebibytes(row.get("pixels_mib")),
            mebibytes(row.get("limit_mib")),
            mebibytes(row["peak_mib"]),
            mebibytes(row["resident_mib"]),
            mebibytes(row["at_start_mib"]),
            duration(row["seconds"]),
        ]
        for row in found["rows"]
    ]
    head = [
        "task",
        "images or codes",
        "dimensions",
        "pixels",
        "limit",
        "peak",
        "with mapped files",
        "at start",
        "time",
    ]
    return f"{markdown(head, lines)}\n\n{where(found)}"
