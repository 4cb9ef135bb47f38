"""Several runs side by side: a table, overlaid curves, and notes on what is not comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from entropic_ae.report.charts import PALETTE, Chart, Key, Line, lines
from entropic_ae.report.folder import Contents
from entropic_ae.report.tables import fixed, frechet_text, withheld_text
from entropic_ae.report.view import Drawn, drawn_real, drawn_samples, judged
from entropic_ae.storage.run_folder import FLOOR
from entropic_ae.verdict.command import setting_text

__all__ = ["Comparison", "Row", "compare", "differing_settings"]

_STYLES = ("solid", "dashed", "dotted")
_CURVES = {
    "validation_squared_error": "squared error of the validation images",
    "entropy": "entropy of the validation codes, nats",
}


@dataclass(frozen=True)
class Row:
    """A row of the tables, for a run; ``distances`` has a text for each column of ``Comparison.spaces``."""

    anchor: str
    name: str
    recipe: str
    data: str
    seed: str
    settings: str
    error: str
    divergence: str
    distances: dict[str, list[str]]
    grades: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Several runs, ready for the page.

    Attributes:
        rows: one per run.
        spaces: the columns of Frechet distances, by feature space.
        notes: what is not comparable.
        curves: one line per run.
        keys: their legend.
        real: the held-out images, one picture for all runs that show the same.
        samples: one picture per run, titled with the run's name, by density.
    """

    rows: list[Row]
    spaces: dict[str, list[str]]
    notes: list[str]
    curves: list[Chart]
    keys: list[Key]
    real: list[Drawn]
    samples: dict[str, list[Drawn]]


def compare(runs: Sequence[Contents], anchors: Sequence[str], names: Sequence[str]) -> Comparison:
    """Compare runs side by side.

    Arguments:
        runs: the contents of their folders.
        anchors: the anchors of their sections on the page.
        names: their names on the page.
    """
    spaces = _spaces(runs)
    settings = differing_settings(runs)
    keys = [
        Key(name, PALETTE[i % len(PALETTE)], _STYLES[i // len(PALETTE) % len(_STYLES)])
        for i, name in enumerate(names)
    ]
    densities = dict.fromkeys(density for run in runs for density in run.densities)
    return Comparison(
        rows=[_row(*one, spaces) for one in zip(runs, anchors, names, settings, strict=True)],
        spaces=spaces,
        notes=_notes(runs),
        curves=[chart for column, title in _CURVES.items() if (chart := _overlay(runs, keys, column, title))],
        keys=[key for key, run in zip(keys, runs, strict=True) if run.log],
        real=_real(runs, names),
        samples={
            density: [_named(drawn_samples(run, density), name) for run, name in zip(runs, names, strict=True)]
            for density in densities
        },
    )


def differing_settings(runs: Sequence[Contents]) -> list[dict[str, Any]]:
    """Return for each run the settings in which it differs from another.

    A setting that some runs lack, such as those of another recipe, is included if any run has changed it.
    """
    own = [_described(run) for run in runs]
    names = dict.fromkeys(name for one in own for name in one)
    differing = []
    for name in names:
        values = [one[name] for one in own if name in one]
        changed = any(name in run.info.overrides for run in runs)
        if any(value != values[0] for value in values) or (len(values) < len(runs) and changed):
            differing.append(name)
    return [{name: one[name] for name in differing if name in one} for one in own]


def _described(run: Contents) -> dict[str, Any]:
    others = ("preset", "image_size", "limit", "precision")
    return {name: run.info[name] for name in others if name in run.info} | run.settings


def _row(run: Contents, anchor: str, name: str, settings: dict[str, Any], spaces: dict[str, list[str]]) -> Row:
    result = run.result or {}
    diagnostics = result.get("diagnostics", {})
    findings = found.findings if (found := judged(run)) is not None else ()
    return Row(
        anchor=anchor,
        name=name,
        recipe=run.info.recipe,
        data=run.info.data,
        seed=str(run.info.seed),
        settings=", ".join(f"{setting}={setting_text(value)}" for setting, value in settings.items())
        or "no setting differs",
        error=fixed(result.get("reconstruction_error"), 3),
        divergence=fixed(diagnostics.get("divergence")),
        distances={space: _distances(run.metrics.get(space), groups) for space, groups in spaces.items()},
        grades=", ".join(f"{one.subject} {one.grade}" for one in findings),
        verdict=diagnostics.get("verdict", "measured without diagnostics" if result else "not measured yet"),
    )


def _distances(result: dict[str, Any] | None, groups: Sequence[str]) -> list[str]:
    rows = {} if result is None else result["distances"]
    return [frechet_text(result or {}, group) if group in rows else "-" for group in groups]


def _real(runs: Sequence[Contents], names: Sequence[str]) -> list[Drawn]:
    """Return the pictures of held-out images, each once, with the names of its runs if not all have the same.

    Where no run has one, how to draw it.
    """
    shown: dict[str, list[str]] = {}
    drawn: dict[str, Drawn] = {}
    for run, name in zip(runs, names, strict=True):
        one = drawn_real(run)
        if one is not None:
            key = one.picture.uri if one.picture is not None else ""
            shown.setdefault(key, []).append(name)
            drawn.setdefault(key, one)
    if len(drawn) > 1:
        drawn.pop("", None)
    title = "real images, held out"
    return [
        replace(one, title=title if len(drawn) == 1 else f"{title}: {', '.join(shown[key])}")
        for key, one in drawn.items()
    ]


def _spaces(runs: Sequence[Contents]) -> dict[str, list[str]]:
    """Return the floor and the densities that any run was measured with, by feature space."""
    spaces: dict[str, list[str]] = {}
    for run in runs:
        for space, result in run.metrics.items():
            known = spaces.setdefault(space, [])
            groups = (name for name in result["distances"] if name == FLOOR or name in run.densities)
            known.extend(name for name in groups if name not in known)
    return spaces


def _notes(runs: Sequence[Contents]) -> list[str]:
    """Return notes on numbers of these runs that are not comparable."""
    notes = []
    data = {(run.info.data, *run.info.shape) for run in runs}
    if len(data) > 1:
        shown = ", ".join(sorted(f"{name} ({' x '.join(map(str, shape))})" for name, *shape in data))
        notes.append(f"The runs are on different data, {shown}: their errors and distances are not comparable.")
    measured = [run for run in runs if run.metrics]
    if len({tuple(sorted(run.metrics)) for run in measured}) > 1:
        notes.append("The runs were measured in different features: compare distances only within a column.")
    for space in dict.fromkeys(name for run in measured for name in run.metrics):
        notes += _notes_on_space(space, [run.metrics[space] for run in measured if space in run.metrics])
    return notes


def _notes_on_space(space: str, results: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    if len({one.get("features_sha256") for one in results}) > 1:
        notes.append(f"The {space} features are not the same network: distances in them are not comparable.")
    counts = sorted({(one.get("number", one["n"]), one["real_images"]) for one in results})
    if len(counts) > 1:
        shown = ", ".join(f"{n:,} against {real:,}" for n, real in counts)
        notes.append(
            f"Distances in {space} features depend on the numbers of images, which differ ({shown}): they are not "
            "comparable."
        )
    for why in dict.fromkeys(withheld_text(one) for one in results):
        if why is not None:
            notes.append(f"{why[0].upper()}{why[1:]}.")
    return notes


def _overlay(runs: Sequence[Contents], keys: Sequence[Key], column: str, title: str) -> Chart | None:
    series = [
        Line(key, run.log["epoch"], run.log[column])
        for run, key in zip(runs, keys, strict=True)
        if column in run.log
    ]
    if not series:
        return None
    ends = ", ".join(f"{line.key.label} ends at {line.y[-1]:.4g}" for line in series)
    return lines(title, series, text=f"{title}, by epoch: {ends}")


def _named(drawn: Drawn, name: str) -> Drawn:
    return Drawn(name, f"{name}: {drawn.text}", drawn.picture, drawn.command)
