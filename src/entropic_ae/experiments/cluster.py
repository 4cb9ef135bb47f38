"""Sweeps on a cluster: workers of Ray, each of which takes cells that no other has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from entropic_ae.errors import InputError
from entropic_ae.experiments.sweep import Cell, run_cells, silent
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
    tell: Callable[[str], None] = silent,
) -> None:
    """Train and measure cells as ``run_cells`` does, by several workers of Ray at once.

    The workers share the work as processes do that are given one command: by files and locks, so that a sweep goes
    on where it was interrupted, with or without Ray, and all of them must see the same folders: each works in this
    process's, with its ``ENTROPIC_AE_DATA`` and ``ENTROPIC_AE_CACHE``. A worker has a GPU where Ray has any, else
    a core. Modules that this process was told to ``--import`` are imported by each.

    Arguments:
        cells, out, run_folder, tell: as for ``run_cells``.
        workers: how many, at least 1.
        address: of a cluster that is running; Ray is started on this machine unless given.

    Raises: InputError without Ray, for fewer than one worker, for an address where none runs, for cuda where Ray
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
        said = silent if quiet else lambda text: print(f"worker {number}: {text}")
        run_cells(cells, out, run_folder, tell=said)

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
        gpus = ray.cluster_resources().get("GPU", 0)  # this process's machine need not have one
        if "cuda" in devices and not gpus:
            raise InputError("device cuda was asked for, but Ray has no GPU; use --device cpu.")
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
