"""Make an example of a trained run: its weights in half precision, and what was measured of them.

``python tools/example.py RUN NAME`` copies the run folder into the library, halves its weights, fits its transport
and the densities to the new ones, measures them (``ENTROPIC_AE_DATA`` has the images) and draws samples. Pictures
of real images and the checkpoint are left out.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from entropic_ae import runs
from entropic_ae.errors import InputError
from entropic_ae.pictures import save_images
from entropic_ae.storage.examples import example_folder
from entropic_ae.storage.run_folder import (
    INFO_FILE,
    LOG,
    METRICS_FILE,
    TRANSPORT,
    WEIGHTS,
    density_file,
    samples_file,
)
from entropic_ae.storage.tensors import unpack_tensors, write_tensors

__all__ = ["LIMIT", "main", "make"]

LIMIT = 1_000_000  # bytes of a file
DENSITIES = ("prior", "gaussian", "mixture")
SAMPLES = 64  # of a picture
PLACE = Path(__file__).parents[1] / "src" / "entropic_ae" / "examples"


def make(source: Path, target: Path, n: int) -> None:
    """Write the example; InputError, and nothing written, if one of its files is too large.

    Arguments:
        source: a run folder.
        target: the folder of the example, replaced.
        n: images that are measured.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / source.name
        folder.mkdir()
        for file in (INFO_FILE, LOG):
            shutil.copyfile(source / file, folder / file)
        tensors, metadata = unpack_tensors((source / WEIGHTS).read_bytes())
        halved = {name: one.half() if one.is_floating_point() else one for name, one in tensors.items()}
        write_tensors(folder / WEIGHTS, halved, metadata)
        run = runs.load(folder, device="cpu")
        if kind := run.system.recipe.transport:
            run.fit_transport(kind, **run.system.recipe.transport_settings)
        run.evaluate(n=n, densities=DENSITIES)
        for name in DENSITIES:
            save_images(run.sample(SAMPLES, density=name), folder / samples_file(name), columns=8)
        kept = (INFO_FILE, LOG, METRICS_FILE, WEIGHTS, TRANSPORT, *map(density_file, DENSITIES))
        kept += tuple(map(samples_file, DENSITIES))
        files = [folder / name for name in kept if (folder / name).is_file()]
        for file in files:
            if file.stat().st_size > LIMIT:
                size = f"{file.stat().st_size:,} bytes, expected at most {LIMIT:,}"
                raise InputError(f"{file.name} has {size}; train a narrower run.")
        shutil.rmtree(target, ignore_errors=True)
        for file in files:
            to = target / file.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


def main() -> None:
    """Make the example that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--n", type=int, default=5000)
    given = parser.parse_args()
    try:
        make(given.run, PLACE / given.name, given.n)
    except InputError as error:
        sys.exit(str(error))
    total = sum(path.stat().st_size for path in example_folder(given.name).rglob("*") if path.is_file())
    print(f"{given.name}: {total:,} bytes")


if __name__ == "__main__":
    main()
