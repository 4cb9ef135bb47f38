"""The pictures of a run folder, and the removal of what belonged to earlier weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropic_ae.distributed import is_first, sharers
from entropic_ae.errors import InputError, warn
from entropic_ae.export import FORMATS, exported
from entropic_ae.pictures import above, save_images
from entropic_ae.runs.labels import taken
from entropic_ae.storage.files import write_text
from entropic_ae.storage.run_folder import (
    INTERPOLATIONS,
    REAL,
    RECONSTRUCTIONS,
    RunFolder,
    samples_file,
)

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["draw", "draw_again", "files_of_weights"]

_SAMPLES, _REBUILT = 64, 32  # images of a picture


def draw(run: Run, densities: Sequence[str]) -> None:
    """Write the pictures of a run: the implementation of ``Run.draw``."""
    if run.origin is not None:
        raise InputError(
            f"{run.name} is read-only: nothing is written into its folder; load it with out=FOLDER, or "
            "entropic-ae pull."
        )
    kept = is_first(sharers()) and run.is_current("its pictures are not drawn")
    held_out = run.data.test.images[:_SAMPLES]
    some = run.data.test.at(slice(_REBUILT))
    test, labels = some.images, taken(run, some)
    pictures = [(REAL, held_out, 8)]
    pictures += [(samples_file(name), run.sample(_SAMPLES, density=name), 8) for name in densities]
    pictures.append((RECONSTRUCTIONS, above(test, run.reconstruct(test, labels=labels), 16), 16))
    if pairs := min(8, len(test) // 2):
        ends: dict[str, Any] = (
            {} if labels is None else {"labels": labels[:pairs], "end_labels": labels[pairs : 2 * pairs]}
        )
        rows = run.interpolate(test[:pairs], test[pairs : 2 * pairs], steps=10, **ends)
        pictures.append((INTERPOLATIONS, rows.flatten(0, 1), 10))
    for name, images, columns in pictures:
        if kept:
            save_images(images, run.folder / name, columns=columns, overwrite=True)


def files_of_weights(folder: Path) -> list[Path]:
    """Return the files in a run folder that hold for its weights only: metrics, pictures, report and exports."""
    return RunFolder(folder).of_weights() + [path for to in FORMATS for path in exported(folder / to, to)]


def draw_again(run: Run) -> None:
    """Draw the pictures of a run's weights and transport, and remove pictures and metrics of earlier ones."""
    drawn, weights = run.files.drawn, run.weights_sha256()
    if drawn.is_file() and drawn.read_bytes() == weights.encode():
        return
    stale = files_of_weights(run.folder)
    if not run.files.has_transport():  # one of earlier weights would be ignored
        stale.append(run.files.transport)
    if removed := sorted(path.name for path in stale if path.name != samples_file("prior") and path.exists()):
        warn(f"{', '.join(removed)} in {run.folder} belonged to earlier weights or codes and are removed.")
    for path in stale:
        path.unlink(missing_ok=True)
    run.draw("prior")
    write_text(drawn, weights)
