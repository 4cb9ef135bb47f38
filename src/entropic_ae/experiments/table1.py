"""The paper's Table 1 from measured cells: means and spreads over seeds, ranks, and what of the paper holds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.experiments.published import PUBLISHED
from entropic_ae.experiments.sweep import read_cells
from entropic_ae.recipes import RECIPES
from entropic_ae.recipes.recipe import Scalar

__all__ = ["mean_text", "render", "statements"]

_IMAGES = ("reconstructions", "interpolations")
_DENSITIES = ("prior", "gaussian", "mixture", "second-stage")
_PAPER = ("prior", "gaussian", "mixture")  # its columns

Members = list[dict[str, Any]]


def render(out: Path, *, brief: bool = False) -> str:
    """Return the cells of a folder as Markdown: a row a system, mean ± deviation over seeds and (rank).

    Below it: the protocol, the cells that are missing, what has collapsed, and ``statements``.

    Arguments:
        out: a folder of result files.
        brief: leave out reconstructions, interpolations, published figures, and settings of a system's own.

    Raises: InputError if the folder has no cells, cells measured in different ways, or one twice.
    """
    rows = _rows(out)
    cells = [cell for members in rows.values() for cell in members]
    columns = [c for c in (*_IMAGES, *_DENSITIES) if any(c in cell["metrics"]["distances"] for cell in cells)]
    columns = [column for column in columns if not (brief and column in _IMAGES)]
    values = {column: _column(rows, column) for column in columns}
    ranks = {column: _ranks(values[column]) for column in columns}
    published = {} if brief else PUBLISHED.get(cells[0]["data"], {})
    head = ["system", "seeds", "reconstruction error", "entropy gap (nats)", *columns]
    head += ["paper's FID: prior / gaussian / mixture"] * bool(published)
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    for label, members in rows.items():
        gaps = [m["metrics"]["codes"]["corrected_gap"] for m in members]
        row = [
            _name(label, rows) if brief else label,
            str(len(members)),
            mean_text([m["metrics"]["reconstruction_error"] for m in members]),
            mean_text([gap for gap in gaps if gap is not None]),
        ]
        row += [
            mean_text(values[c][label]) + (f" ({ranks[c][label]})" if values[c][label] else "") for c in columns
        ]
        if published:
            row.append(_published(published.get(_recipe(members), {})))
        lines.append("| " + " | ".join(row) + " |")
    diverged = [cell for cell in read_cells(out) if "diverged" in cell]
    notes = [*_missing(rows, diverged), *_diverged(diverged), *_collapsed(rows), *statements(out)]
    return "\n".join([*lines, "", _protocol_text(cells), *notes])


def _name(label: str, rows: Mapping[str, Members]) -> str:
    """Return the recipe's name alone, if no other row has the same."""
    recipe = _recipe(rows[label])
    return recipe if sum(_recipe(members) == recipe for members in rows.values()) == 1 else label


def statements(out: Path) -> list[str]:
    """Say which of the paper's statements about its Table 1 hold for the cells of a folder, as Markdown lines.

    Means over seeds are compared; a difference is called within the spread if it is smaller than the standard
    deviations over seeds of the two added in quadrature. Of several rows of ``eae`` the first is meant. Empty if
    it was not measured.
    """
    rows = _rows(out)
    ours = next((label for label, members in rows.items() if _recipe(members) == "eae"), None)
    if ours is None or len(rows) == 1:
        return []
    alone = len(rows[ours]) == 1
    lines = ["", f"The paper's statements, at this budget{' (one seed, the spread is unknown)' * alone}:", ""]
    for density in _PAPER:
        column = {label: values for label, values in _column(rows, density).items() if values}
        # with the entropic systems apart: they are one idea, with or without a second stage
        others = [label for label in column if _recipe(rows[label]) not in ("eae", "eae-linear", "2seae")]
        if not others or ours not in column:
            continue
        ahead = [label for label in others if statistics.mean(column[label]) <= statistics.mean(column[ours])]
        holds = "holds" if not ahead else "does not hold"
        text = f"`eae` ahead of every other system with {density} sampling: **{holds}**"
        rivals = ahead or [min(others, key=lambda label: statistics.mean(column[label]))]
        said = ", ".join(f"{_name(label, rows)} {_compared(column[label], column[ours])}" for label in rivals)
        lines.append(f"- {text} ({_name(ours, rows)} {mean_text(column[ours])}; {said}).")
    prior, mixture = _column(rows, "prior"), _column(rows, "mixture")
    both = [label for label in rows if prior[label] and mixture[label]]
    not_ahead = [label for label in both if statistics.mean(mixture[label]) >= statistics.mean(prior[label])]
    said = (
        "**holds**"
        if not not_ahead
        else f"**does not hold** for {', '.join(_name(label, rows) for label in not_ahead)}"
    )
    lines.append(f"- Mixture ahead of prior sampling for all: {said}.")
    return lines


def _compared(other: Sequence[float], ours: Sequence[float]) -> str:
    spread = sum(statistics.variance(values) for values in (other, ours) if len(values) > 1) ** 0.5
    within = abs(statistics.mean(other) - statistics.mean(ours)) < spread
    return mean_text(other) + (", within the spread" if within else "")


def _rows(out: Path) -> dict[str, Members]:
    """Return the cells of a folder by label, in order, after checking that they make one table."""
    cells = [cell for cell in read_cells(out) if "diverged" not in cell]
    if not cells:
        raise InputError(f"{out} has no results; run the table first.")
    protocols = {_protocol(cell) for cell in cells}
    if len(protocols) > 1:
        raise InputError(
            f"the results in {out} were measured in {len(protocols)} different ways (data, limit, n, features and "
            "their weights, split or shared settings); keep each in a folder of its own."
        )
    rows: dict[str, Members] = {}
    for cell in sorted(cells, key=_order):
        members = rows.setdefault(cell["label"], [])
        if any(cell["cell"]["seed"] == member["cell"]["seed"] for member in members):
            raise InputError(f"{out} holds {cell['label']}, seed {cell['cell']['seed']}, twice; remove one.")
        members.append(cell)
    return rows


def _column(rows: Mapping[str, Members], name: str) -> dict[str, list[float]]:
    distances = {label: [m["metrics"]["distances"] for m in members] for label, members in rows.items()}
    return {label: [d[name]["frechet"] for d in found if name in d] for label, found in distances.items()}


def _ranks(column: Mapping[str, Sequence[float]]) -> dict[str, int]:
    """Return the place of each system by its mean, from 1."""
    means = {label: statistics.mean(values) for label, values in column.items() if values}
    return {label: 1 + sum(other < mean for other in means.values()) for label, mean in means.items()}


def _published(figures: Mapping[str, float]) -> str:
    # the paper's prior column holds the two-stage VAE's second stage
    prior = figures.get("prior", figures.get("second-stage"))
    shown = [prior, figures.get("gaussian"), figures.get("mixture")]
    return " / ".join("-" if figure is None else f"{figure:.2f}" for figure in shown)


def _protocol_text(cells: Members) -> str:
    data, features, n, images, test, split = _protocol(cells[0])[:6]
    settings = cells[0]["expanded"]["settings"]
    floor = mean_text([cells[0]["metrics"]["distances"]["held-out images"]["frechet"]])
    return (
        f"{data}, {images:,} training images, {settings['epochs']} epochs, batch {settings['batch_size']}, "
        f"width {settings.get('width', '-')}, D = {settings['latent_dim']}. "
        f"Reconstruction error: squared, summed over an image, on {test:,} {split} images. "
        f"Entropy gap: entropy of {test:,} draws from N(0, I) less that of the {split} codes, by the same "
        f"estimate. Last columns: Frechet distance in {features} features to the {split} images, from {n:,} "
        f"images each ({test:,} reconstructions); real held-out images are at {floor}. Mean ± standard deviation "
        "over seeds, and rank."
    )


def _missing(rows: Mapping[str, Members], diverged: Members) -> list[str]:
    """Name the systems and seeds that a complete table would have besides; what diverged is not missing."""
    seeds = {member["cell"]["seed"] for members in rows.values() for member in members}
    begun = {_recipe(members) for members in rows.values()} | {cell["cell"]["recipe"] for cell in diverged}
    gaps = [name for name in RECIPES if name not in begun]
    for label, members in rows.items():
        there = {cell["cell"]["seed"] for cell in (*members, *diverged) if cell["label"] == label}
        lacking = sorted(seeds - there)
        gaps += [f"{_name(label, rows)} (seed {', '.join(map(str, lacking))})"] * bool(lacking)
    return ["", f"Missing: {', '.join(gaps)}."] if gaps else []


def _diverged(diverged: Members) -> list[str]:
    said = "; ".join(f"{cell['label']}, seed {cell['cell']['seed']}: {cell['diverged']}" for cell in diverged)
    return ["", f"Diverged: {said}"] if diverged else []


def _collapsed(rows: Mapping[str, Members]) -> list[str]:
    """Say which systems made images without variety, or dead codes, with the least spread or number over seeds."""
    found = []
    for label, members in rows.items():
        collapses = [member["metrics"]["collapse"] for member in members]
        said = []
        for what in dict.fromkeys(name for collapse in collapses for name in collapse["collapsed"]):
            if what == "codes":
                least = min(collapse["active_codes"] for collapse in collapses)
                said.append(f"{least} of {collapses[0]['latent_dim']} codes active")
            else:
                said.append(f"{what} {min(collapse['spread'][what] for collapse in collapses):.2f}")
        if said:
            found.append(f"{_name(label, rows)} ({', '.join(said)})")
    shown = "; ".join(found) + "" if found else "none"
    return ["", f"Collapsed (with the least share of the real images' variance): {shown}."]


def _protocol(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what all the cells of a table must share."""
    metrics = cell["metrics"]
    shared = sorted((name, str(value)) for name, value in cell["cell"]["shared"].items())
    return (
        *(cell["data"], metrics["features"], metrics["n"], cell["training_images"], metrics["real_images"]),
        # a classifier that was trained on another machine may be another one, though it has the same name
        *(metrics["split"], cell["cell"]["limit"], metrics.get("features_sha256"), *shared),
    )


def _recipe(members: Members) -> str:
    return str(members[0]["cell"]["recipe"])


def _order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort by recipe in the registry's order, then by settings as numbers, then by seed."""
    names = list(RECIPES)
    recipe = cell["cell"]["recipe"]
    own = [(name, *_number(value)) for name, value in cell["cell"]["own"].items()]
    return names.index(recipe) if recipe in names else len(names), recipe, own, cell["cell"]["seed"]


def _number(value: Scalar) -> tuple[float, str]:
    """Make numbers sort as numbers, before words."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), str(value)


def mean_text(values: Sequence[float]) -> str:
    """Return mean ± standard deviation of values, for a table; a dash for none.

    >>> mean_text([1.0, 2.0]), mean_text([])
    ('1.50 ± 0.71', '-')
    """
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
