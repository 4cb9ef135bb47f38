"""Samples side by side: a row per system, in the layout of the paper's Figures 4, 10 and 11."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from entropic_ae import runs
from entropic_ae.errors import InputError
from entropic_ae.experiments.cells import Cell
from entropic_ae.experiments.drawing import save_picture
from entropic_ae.pictures import comparison
from entropic_ae.runs.labels import taken
from entropic_ae.storage.run_folder import WEIGHTS

__all__ = ["check_picture", "draw_gallery"]

_IMAGES = 8  # per block


def check_picture(out: Path) -> None:
    """Raise InputError unless a file is a PNG or PDF by its name."""
    if out.suffix.lower() not in (".png", ".pdf"):
        raise InputError(f"a picture of systems is a PNG or PDF file, got {out}; give FILE.png or FILE.pdf.")


def draw_gallery(cells: Iterable[Cell], run_folder: Path, out: Path, *, real: bool = True) -> Path:
    """Draw reconstructions, samples and interpolations of trained cells, a row each, below the ground truth.

    Each system's samples are from its recipe's density, named in its label. The interpolation is spherical, from
    the first test image to the second.

    Arguments:
        cells: of one data set.
        run_folder: folder of their run folders; a cell without one is left out.
        out: a PNG or PDF file; an existing one is replaced.
        real: show the test images and their reconstructions; False shows only samples, for data that must not be
            published.

    Returns: the file.

    Raises: InputError if ``out`` has another suffix, or no cell has a run folder.
    """
    check_picture(out)
    found = [cell for cell in cells if (run_folder / cell.run_name / WEIGHTS).is_file()]
    if not found:
        raise InputError(f"{run_folder} has no run of these cells; run the table with this --runs first.")
    rows: dict[str, list[Tensor | None]] = {}
    for cell in found:
        run = runs.load(run_folder / cell.run_name, device=cell.execution.device)
        density = run.system.recipe.density
        samples = run.sample(_IMAGES if real else 2 * _IMAGES, density=density)
        blocks: list[Tensor | None] = [samples]
        if real:
            some = run.data.test.at(slice(_IMAGES))
            test, labels = some.images, taken(run, some)
            rows.setdefault("ground truth", [test, None, None])
            ends: dict[str, Any] = {} if labels is None else {"labels": labels[:1], "end_labels": labels[1:2]}
            between = run.interpolate(test[:1], test[1:2], steps=_IMAGES, **ends)[0]
            blocks = [run.reconstruct(test, labels=labels), samples, between]
        alone = sum(other.recipe == cell.recipe for other in found) == 1
        rows[f"{cell.recipe if alone else cell.label} ({density})"] = blocks
    headings = ["reconstructions", "random samples", "interpolations"] if real else ["random samples"]
    save_picture(comparison(rows, headings), out)
    return out
