"""The tables of objectives in training: images, codes, and which is ahead of the entropy at equal error."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.experiments.cells import read_cells
from entropic_ae.experiments.objectives import CONTROL, ENTROPY
from entropic_ae.experiments.table1 import mean_text, spread_of
from entropic_ae.metrics import LEVEL
from entropic_ae.storage.files import read_json
from entropic_ae.storage.run_folder import FLOOR

__all__ = ["at_error", "render_objectives"]

_DISTANCES = {"prior": "prior", "copula": "through a copula", "mixture": "through a mixture"}
_LED = {"prior": "lead of the prior", "mixture": "lead through a mixture"}  # compared at equal error

Point = tuple[float, float]  # reconstruction error, and distance of samples
Leads = Mapping[str, Sequence[float]]  # of each row by its name, seed by seed


def at_error(curve: Sequence[Point], error: float) -> float:
    """Return the least distance that a curve reaches with at most so large a reconstruction error.

    Arguments:
        curve: errors and distances, in the order of the weights; between two weights they are interpolated.
        error: one below all errors of the curve counts as the least of these.

    >>> at_error([(4.0, 20.0), (6.0, 10.0), (8.0, 14.0)], 5.0)
    15.0
    >>> at_error([(4.0, 20.0), (6.0, 10.0), (8.0, 14.0)], 9.0)  # of a lower weight
    10.0
    """
    error = max(error, min(one for one, _ in curve))
    found = [distance for one, distance in curve if one <= error]
    for (a, x), (b, y) in pairwise(curve):
        if min(a, b) <= error < max(a, b):
            found.append(x + (error - a) / (b - a) * (y - x))
    return min(found)


class _Row:
    """A contender with the metrics of its seeds."""

    def __init__(self, content: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]) -> None:
        self.objective: str = content["objective"]
        self.bottleneck: str = content["bottleneck"]
        self.refused: str | None = content["refused"]
        self.times: Mapping[str, Any] = content["times"] or {}
        found = {seed: cells[name] for seed, name in content["cells"].items() if name in cells}
        self.metrics = {seed: cell["metrics"] for seed, cell in found.items() if "metrics" in cell}
        self.diverged = [seed for seed, cell in found.items() if "diverged" in cell]
        own: Mapping[str, Any] = next((cell["cell"]["own"] for cell in found.values()), {})
        weights = [name for name in content["common"] if name in own and _is_weight(name, content["common"])]
        self.factor = own[weights[0]] / content["common"][weights[0]] if weights else None
        self.rate: float | None = own.get("learning_rate")

    def values(self, of: Callable[[Mapping[str, Any]], float | None]) -> list[float]:
        """Return a measure of each seed that has it."""
        return [value for one in self.metrics.values() if (value := of(one)) is not None]

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.objective} | {self.bottleneck}"

    @property
    def told(self) -> str:
        """Both names in a sentence."""
        return f"{self.objective} ({self.bottleneck})"


def _is_weight(name: str, common: Mapping[str, Any]) -> bool:
    return isinstance(common[name], float) and "." not in name


def render_objectives(out: Path) -> str:
    """Return the results of ``run_objectives`` as Markdown: images, codes and times, and what is ahead.

    Raises: InputError if the folder has none.
    """
    if not (out / "objectives.json").is_file():
        raise InputError(f"{out} has no objectives.json; run entropic-ae objectives first.")
    content = read_json(out / "objectives.json")
    cells = {cell["name"]: cell for cell in read_cells(out / "cells")}
    rows = [_Row(one, cells) for one in content["contenders"]]
    measured = [row for row in rows if row.metrics]
    if not measured:
        raise InputError(f"{out} has no cell with metrics: all diverged.")
    leads = {name: _leads(measured, content["curves"], cells, _distance(name)) for name in _LED}
    first = cells[next(iter(next(row for row in content["contenders"] if row["cells"])["cells"].values()))]
    return "\n".join(
        [
            *_of_images(measured, leads),
            "",
            _protocol(first, content, len(next(iter(measured)).metrics)),
            "",
            *_of_curves(content["curves"], cells),
            "",
            *_of_codes(measured),
            "",
            _of_times(measured),
            "",
            *_said(rows, measured, leads, content["factors"]),
        ]
    )


def _error(metrics: Mapping[str, Any]) -> float:
    return float(metrics["reconstruction_error"])


def _distance(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda metrics: float(metrics["distances"][name]["frechet"])


def _leads(
    rows: Iterable[_Row],
    points: Iterable[Mapping[str, Any]],
    cells: Mapping[str, Mapping[str, Any]],
    distance: Callable[[Mapping[str, Any]], float],
) -> Leads:
    """Return by how much each row is nearer than the entropy at its reconstruction error, seed by seed."""
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        for seed, name in point["cells"].items():
            if "metrics" in (cell := cells.get(name, {})):
                curve = curves.setdefault((point["bottleneck"], seed), [])
                curve.append((_error(cell["metrics"]), distance(cell["metrics"])))
    return {
        row.name: [
            at_error(curves[row.bottleneck, seed], _error(metrics)) - distance(metrics)
            for seed, metrics in row.metrics.items()
            if row.objective != ENTROPY and (row.bottleneck, seed) in curves
        ]
        for row in rows
    }


def _of_images(rows: Iterable[_Row], leads: Mapping[str, Leads]) -> list[str]:
    head = ["objective", "bottleneck", "factor", "reconstruction error", *_DISTANCES.values(), *_LED.values()]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (len(head) - 2)}"]
    for row in rows:
        scale = f"{row.factor:.2g}" if row.factor is not None else f"rate {row.rate:g}"
        shown = [mean_text(row.values(_distance(name))) for name in _DISTANCES]
        shown += [mean_text(leads[name][row.name]) for name in _LED]
        cells = [row.name, scale, mean_text(row.values(_error)), *shown]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _of_curves(points: Iterable[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The entropy at all factors, from which leads are counted."""
    head = ["the entropy, factor", "bottleneck", "reconstruction error", *_DISTANCES.values()]
    lines = [f"| {' | '.join(head)} |", f"| ---: | --- |{' ---: |' * (len(head) - 2)}"]
    for point in points:
        measured = [cells[name]["metrics"] for name in point["cells"].values() if "metrics" in cells.get(name, {})]
        shown = [mean_text([of(one) for one in measured]) for of in (_error, *map(_distance, _DISTANCES))]
        of_all = "" if len(measured) == (n := len(point["cells"])) else f" ({len(measured)} of {n} seeds)"
        lines.append(f"| {point['factor']:g}{of_all} | {point['bottleneck']} | {' | '.join(shown)} |")
    return lines


def _parts(row: _Row) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for metrics in row.metrics.values():
        for name, nats in metrics["diagnostics"].get("parts", {}).items():
            found.setdefault(name, []).append(nats)
    return found


def _left(row: _Row) -> str:
    """Return the part with the most nats of those that the tests of all seeds find."""
    tests = [one["diagnostics"].get("p_values", {}) for one in row.metrics.values()]
    parts = {
        name: statistics.fmean(nats)
        for name, nats in _parts(row).items()
        if all(p_values.get(name, 1.0) <= LEVEL for p_values in tests)
    }
    return max(parts, key=parts.__getitem__) if parts else "none told"


def _of_codes(rows: Sequence[_Row]) -> list[str]:
    names = [*dict.fromkeys(name for row in rows for name in _parts(row))]
    head = ["objective", "bottleneck", "divergence", *names, "left, mainly", "term, ms", "step, ms"]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (1 + len(names))} --- | ---: | ---: |"]
    for row in rows:
        parts = _parts(row)
        cells = [row.name, mean_text(row.values(lambda metrics: metrics["diagnostics"].get("divergence")))]
        cells += [mean_text(parts.get(name, [])) for name in names]
        cells += [_left(row), *(f"{row.times[name]:.1f}" if row.times else "-" for name in ("term", "step"))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _of_times(rows: Sequence[_Row]) -> str:
    times = next((row.times for row in rows if row.times), None)
    where = (
        "" if times is None else f" on {times['device']}, {times['threads']} thread{'s' * (times['threads'] > 1)}"
    )
    return (
        "Codes of the test images: divergence from N(0, I) and its parts, in nats; `left, mainly` is the largest "
        f"part that the tests of all seeds find. Times: medians of a batch{where}; of the objective and its "
        "gradient on codes alone, and of a whole step of training."
    )


def _protocol(cell: Mapping[str, Any], content: Mapping[str, Any], seeds: int) -> str:
    settings, metrics = cell["expanded"]["settings"], cell["metrics"]
    rates = ", ".join(f"{rate:g}" for rate in content["rates"])
    factors = ", ".join(f"{factor:g}" for factor in content["factors"])
    return (
        f"{content['data']}, {cell['training_images']:,} training images, {settings['epochs']} epochs, batch "
        f"{settings['batch_size']}, width {settings.get('width', '-')}, D = {settings['latent_dim']}, learning "
        f"rate {rates}, {seeds} seed{'s' * (seeds > 1)}. Reconstruction error: squared, summed over an image. "
        f"Then Frechet distances in {metrics['features']} features of {metrics['n']:,} samples of the prior: "
        "without a transport, and through two that are fitted to the codes after training, a copula and a mixture "
        f"of {settings['mixture.components']} Gaussians; real held-out images are at "
        f"{metrics['distances'][FLOOR]['frechet']:.2f}. The factor is that on the weights of the common scale, of "
        f"{factors} the best on validation images by successive halving; `{CONTROL}` has as many learning rates. "
        "Mean ± standard deviation over seeds. A lead is the rule of what follows: the least distance that the "
        "entropy behind the same bottleneck reaches, at any weight and with at most the row's reconstruction "
        "error, less the row's distance, seed by seed; without a transport, and through the mixture, for which no "
        "row's weight was searched: that lead is the least that it can have."
    )


def _ahead(rows: Sequence[_Row], leads: Leads, what: str) -> list[str]:
    """Return sentences that name what is ahead of the entropy, as near, and behind, with the leads."""
    if all(len(found) < 2 for found in leads.values()):
        return [f"- {what}: one seed has no spread, so no row is called ahead or behind."]
    ahead: list[str] = []
    near: list[str] = []
    behind: list[str] = []
    for row in rows:
        found = leads[row.name]
        if found:
            lead = statistics.fmean(found)
            place = near if abs(lead) <= spread_of(found) else ahead if lead > 0 else behind
            place.append(f"{row.told} {mean_text(found)}")
    return [
        f"- {what}, ahead of the entropy at equal reconstruction error: {', '.join(ahead) or 'no row'}.",
        f"- {what}, within the spread over seeds: {', '.join(near) or 'no row'}.",
        f"- {what}, behind: {', '.join(behind) or 'no row'}.",
    ]


def _said(
    rows: Sequence[_Row], measured: Sequence[_Row], leads: Mapping[str, Leads], factors: Sequence[float]
) -> list[str]:
    lines = _ahead(measured, leads["prior"], "From the prior") + _ahead(
        measured, leads["mixture"], "Through a mixture"
    )
    ends = {min(factors), max(factors)} if len(factors) > 1 else set()
    at_end = [
        row.told
        for row in measured
        if row.factor is not None and any(abs(row.factor / end - 1) < 0.05 for end in ends)
    ]
    if at_end:
        lines.append(f"- Best at an end of the factors, so that one beyond may be better: {', '.join(at_end)}.")
    lines += [f"- {row.told} diverged with seed {', '.join(row.diverged)}." for row in rows if row.diverged]
    lines += [
        f"- {row.told} diverged with all weights of the search."
        for row in rows
        if row.refused is None and not row.metrics and not row.diverged
    ]
    lines += [f"- Refused: {row.told}. {row.refused}" for row in rows if row.refused is not None]
    return lines
