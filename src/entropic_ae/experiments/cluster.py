"""Sweeps on a cluster: workers of Ray, each of which takes cells that no other worker has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.experiments.cells import Cell
from entropic_ae.experiments.sweep import run_cells, silent
from entropic_ae.registry import import_modules, imported

__all__ = ["run_on_ray"]

_FOLDERS = ("ENTROPIC_AE_DATA", "ENTROPIC_AE_CACHE")


def run_on_ray(
    cells: Iterable[Cell],
    out: Path,
    run_folder: Path,
    workers: int,
    *,
    address: str | None = None,
    later: float = 0,
    tell: Callable[[str], None] = silent,
) -> None:
    """Train and measure cells as ``run_cells`` does, by several workers of Ray at once.

    The workers share the work like processes of the same command, by files and locks: an interrupted sweep resumes
    with or without Ray. All workers must see the same folders. Each has the working directory,
    ``ENTROPIC_AE_DATA`` and ``ENTROPIC_AE_CACHE`` of this process, and imports the modules of its ``--import``. A
    worker has a GPU if Ray has any, else a core.

    Arguments:
        cells, out, run_folder, later, tell: as for ``run_cells``.
        workers: number of workers, at least 1.
        address: of a running cluster; by default Ray is started on this machine.

    Raises: InputError without Ray, for fewer than one worker, for an address without a cluster, for cuda if Ray
        has no GPU, or as ``run_cells``.
    """
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("Ray is not installed; pip install 'entropic-ae[cluster]'.") from None
    modules, here = imported(), Path.cwd()
    folders = {name: os.environ[name] for name in _FOLDERS if name in os.environ}
    cells, out, run_folder = list(cells), out.resolve(), run_folder.resolve()
    devices, quiet = {cell.execution.device for cell in cells}, tell is silent

    @ray.remote(num_cpus=1, max_retries=0)
    def work(number: int) -> None:
        os.chdir(here)
        os.environ.update(folders)
        import_modules(modules)
        said = silent if quiet else lambda text: print(f"worker {number}: {text}", file=sys.stderr)
        run_cells(cells, out, run_folder, later=later, tell=said)

    started_here = not ray.is_initialized()
    if started_here:
        try:
            ray.init(
                address=address, num_cpus=None if address else workers, include_dashboard=False, log_to_driver=True
            )
        except (ValueError, ConnectionError) as error:
            if address is None:
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"no cluster of Ray answers at '{address}' ({reason}); give --ray the HOST:PORT of one, or auto."
            ) from None
    try:
        gpus = ray.cluster_resources().get("GPU", 0)  # this machine may have none
        if "cuda" in devices and not gpus:
            raise InputError("device cuda was requested, but Ray has no GPU; use --device cpu.")
        tell(f"{workers} workers of Ray")
        own = work.options(num_gpus=int(gpus > 0 and devices != {"cpu"}))
        ray.get([own.remote(number) for number in range(workers)])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise
    finally:
        if started_here:
            ray.shutdown()
