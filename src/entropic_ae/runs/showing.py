"""What a notebook shows of a run: a line, samples, and real images beside their reconstructions."""

from __future__ import annotations

import html
from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import Image

from entropic_ae import generation
from entropic_ae.densities import Density
from entropic_ae.errors import InputError, warn
from entropic_ae.pictures import comparison, data_url, picture
from entropic_ae.runs.fitting import Fitted, already_fitted
from entropic_ae.runs.labels import taken
from entropic_ae.verdict import Verdict, run_command

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["as_html", "show"]

_SAMPLES, _COLUMNS = 24, 8  # of the grid


def show(run: Run, n: int, density: str | Density | None, seed: int) -> Image.Image:
    """Draw real images, reconstructions and samples of a run: the implementation of ``Run.show``."""
    if n < 1:
        raise InputError(f"the number of images must be at least 1, got {n}.")
    heading = f"{run.info.recipe} on {run.info.data}"
    try:
        some = run.data.validation.at(slice(n))
    except InputError as error:  # the images are missing, or others
        sampled = run.sample(n, density=density, seed=seed)
        warn(f"real images and their reconstructions are not shown: {error}")
        return comparison({"sampled": [sampled]}, [f"{heading}, without its images"])
    real = some.images
    rows = {
        "real": [real],
        "reconstructed": [run.reconstruct(real, labels=taken(run, some))],
        "sampled": [run.sample(len(real), density=density, seed=seed)],
    }
    return comparison(rows, [f"{heading}, validation images"])


def as_html(run: Run, kept: Fitted) -> str:
    """Return a run as HTML: the implementation of ``Run._repr_html_``.

    Nothing is fitted, and no image is read: samples of a density that is not fitted yet are left out.
    """
    name = run.system.recipe.density
    shape = " x ".join(map(str, run.shape))
    lines = [
        f"<b>{html.escape(run.name)}</b>: {html.escape(run.info.recipe)} on {html.escape(run.info.data)}, images "
        f"{shape}, codes of {run.system.preset.latent_dim}"
    ]
    if not run.files.weights.is_file():
        return _page([*lines, "not trained yet: it has no weights"])
    density = already_fitted(run, name, None, kept)
    if density is None:
        lines.append(f"samples need the density '{html.escape(name)}', which <code>run.sample(1)</code> fits")
    else:
        drawn = picture(generation.sample(run.model, density, _SAMPLES, seed=0), _COLUMNS)
        lines.append(f'<img src="{data_url(drawn)}" alt="samples of the {html.escape(name, quote=True)}">')
    return _page(lines + _next(run))


def _next(run: Run) -> list[str]:
    """Return the verdict of a run that was measured and what to do next."""
    said: Verdict | None = None
    with suppress(InputError, OSError):  # metrics that are damaged say nothing
        said = run.verdict
    if said is None:
        command = run_command("evaluate", run.folder, run.info)
        return [f"next: measure it, <code>run.evaluate()</code> or <code>{html.escape(command)}</code>"]
    rows = "".join(
        f"<tr><td>{html.escape(one.subject)}</td><td><b>{html.escape(one.grade)}</b></td>"
        f'<td style="text-align: left">{html.escape(one.sentence)}</td></tr>'
        for one in said.findings
    )
    command = "" if said.command is None else f": <code>{html.escape(said.command)}</code>"
    return [f"<table>{rows}</table>", f"next: {html.escape(said.advice)}{command}"]


def _page(lines: list[str]) -> str:
    return "".join(f"<div>{line}</div>" for line in lines)
