"""The paper's Table 1 from measured cells: means and spreads over seeds, ranks, and tests of its statements."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from entropic_ae.errors import InputError
from entropic_ae.experiments.budgets import ends_by_rule, length_text, lengths_text
from entropic_ae.experiments.cells import has_transport, read_cells
from entropic_ae.experiments.published import PUBLISHED
from entropic_ae.recipes import RECIPES, compared
from entropic_ae.recipes.recipe import Scalar
from entropic_ae.storage.run_folder import FLOOR, GIVEN

__all__ = ["mean_text", "render", "spread_of", "spread_text", "statements"]

_IMAGES = ("reconstructions", "interpolations")
_DENSITIES = ("prior", "marginals", "gaussian", "copula", "mixture", "second-stage")
# The columns of the paper, each with its systems; the two-stage VAE's prior is that of its second stage.
_PAPER = {
    density: [name for name, figures in PUBLISHED["celeba"].items() if {density, also} & {*figures}]
    for density, also in (("prior", "second-stage"), ("gaussian", ""), ("mixture", ""))
}
_OURS = ("eae", "t-eae")  # of which the statements are, without and with a transport
_ONE_IDEA = (*_OURS, "eae-linear", "2seae")  # which are not compared with one another
_LITTLE, _MUCH = 0.25, 1.5  # shares of the real images' variance; samples outside this range are reported

Members = list[dict[str, Any]]


def render(out: Path, *, brief: bool = False) -> str:
    """Return the cells of a folder as Markdown: a row per system, mean ± deviation over seeds and (rank).

    The table is followed by the protocol, missing cells, collapsed systems, and ``statements``. It has a column of
    optimiser steps where a rule decides how many there are.

    Arguments:
        out: a folder of result files.
        brief: leave out reconstructions, interpolations, published numbers, unusual variances, and each system's
            own settings.

    Raises: InputError if the folder has no cells, cells of different protocols, or duplicate cells.
    """
    rows = _rows(out)
    cells = [cell for members in rows.values() for cell in members]
    measured = [name for cell in cells for name in cell["metrics"]["distances"] if name not in GIVEN]
    columns = [name for name in dict.fromkeys([*_IMAGES, *_DENSITIES, *measured]) if name in measured]
    columns = [column for column in columns if not (brief and column in _IMAGES)]
    values = {column: _column(rows, column) for column in columns}
    ranks = {column: _ranks(values[column]) for column in columns}
    is_open = any(map(ends_by_rule, cells))
    published = {} if brief else PUBLISHED.get(cells[0]["data"], {})
    head = ["system", "seeds", "reconstruction error", "entropy gap (nats)", *columns]
    head += ["optimiser steps, ended by"] * is_open
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
        if is_open:
            row.append(lengths_text([m["training"] for m in members if "training" in m]))
        if published:
            row.append(_published(published.get(_recipe(members), {})))
        lines.append("| " + " | ".join(row) + " |")
    diverged = [cell for cell in read_cells(out) if "diverged" in cell]
    notes = [
        *_missing(rows, diverged),
        *_diverged(diverged),
        *_collapsed(rows),
        *([] if brief else _odd(rows)),
        *statements(out),
    ]
    return "\n".join([*lines, "", _protocol_text(cells), *notes])


def _name(label: str, rows: Mapping[str, Members]) -> str:
    """Return the recipe's name without its settings, if no other row has the same recipe."""
    recipe = _recipe(rows[label])
    return recipe if sum(_recipe(members) == recipe for members in rows.values()) == 1 else label


def statements(out: Path, systems: Sequence[str] = _OURS) -> list[str]:
    """Test the paper's statements about its Table 1 on the cells of a folder; return Markdown lines.

    ``eae`` is compared with the systems of the paper's column, and with all systems without a transport; ``t-eae``
    with all systems. Their variants, ``eae-linear`` and ``2seae``, are left out, and of ``t-eae`` also ``eae``. In
    the paper's prior column, a two-stage system draws its codes from the second stage. Means over seeds are
    compared; a difference up to the standard deviations over seeds of both, added in quadrature, is within the
    spread. With one seed it is the standard error of the distance over draws of the images, which is less, as
    another training differs too. Two densities of one system are compared seed by seed, by the deviation of the
    differences, but not for systems with a transport, which is fitted so that they do not differ. The first of
    several rows of a system is used. The result is empty if none of ``systems`` was measured.

    Arguments:
        out: a folder of result files.
        systems: ``eae``, ``t-eae`` or both, of which the statements are.
    """
    rows = _rows(out)
    named = [(name, label) for name in systems if (label := _first(rows, name)) is not None]
    if not named or len(rows) == 1:
        return []
    alone = [_name(label, rows) for label, members in rows.items() if len(members) == 1]
    lone = " (one seed, of which the spread is that of the draws alone)" if len(alone) == len(rows) else ""
    if alone and not lone:
        lone = f" (of one seed, with the spread of the draws alone: {', '.join(alone)})"
    measured = len({_recipe(members) for members in rows.values()} & {*compared()})
    among = f", among the {measured} of {len(compared())} systems measured" * (measured < len(compared()))
    lines = [
        "",
        f"The paper's statements, at this budget{among}{lone}:",
        "",
    ]
    for name, label in named:
        lines += _leads(rows, name, label)
    own = {label: members for label, members in rows.items() if not has_transport(members[0])}
    prior, mixture = _drawn(own, "prior"), _drawn(own, "mixture")
    both = [
        label for label in own if prior[label].values and len(prior[label].values) == len(mixture[label].values)
    ]
    if both:
        whole = "all" + " without a transport" * (len(own) < len(rows))
        said = _ahead_for_all([(_name(label, rows), mixture[label], prior[label]) for label in both])
        lines.append(
            f"- Mixture ahead of prior sampling for {whole} (in the paper, but for CV-VAE on CelebA): {said}."
        )
    return lines


def _first(rows: Mapping[str, Members], recipe: str) -> str | None:
    return next((label for label, members in rows.items() if _recipe(members) == recipe), None)


def _leads(rows: Mapping[str, Members], recipe: str, ours: str) -> list[str]:
    """Return for each density of the paper whether the row ``ours`` is ahead; of what, says ``statements``."""
    lines = []
    if collapsed := {name for member in rows[ours] for name in member["metrics"]["collapse"]["collapsed"]}:
        parts = ", ".join(sorted(collapsed))
        lines += [f"`{recipe}` itself has collapsed ({parts}), so these say nothing of it:", ""]
    mapped = any(has_transport(members[0]) for members in rows.values())
    for density, names in _PAPER.items():
        own = _drawn(rows, density)[ours]
        if not own.values:
            continue
        rivals = _rivals(rows, density, recipe)
        groups = {"all other systems here": rivals}
        if recipe == "eae":
            groups = {
                "the paper's column": [rival for rival in rivals if rival.recipe in names],
                f"all other systems here{' without a transport' * mapped}": rivals,
            }
        verdicts = [f"of {group}, {_verdict(own, members)}" for group, members in groups.items() if members]
        if verdicts:
            shown = f"`{_name(ours, rows)}` ({mean_text(own.values)}) ahead with {density} sampling"
            lines.append(f"- {shown}: {'; '.join(verdicts)}.")
    return lines


class _Drawn(NamedTuple):
    """Distances of one system in one column: a value for each seed, and its standard error over draws."""

    values: list[float]
    errors: list[float]

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; of a single one the standard error, which is 0 in old results."""
        return spread_of(self.values) if len(self.values) > 1 else self.errors[0]


def _ahead_for_all(pairs: Sequence[tuple[str, _Drawn, _Drawn]]) -> str:
    """Report whether the first is ahead of the second in every named pair, and name the exceptions."""
    behind, near = [], []
    for name, first, second in pairs:
        leads = [other - one for one, other in zip(first.values, second.values, strict=True)]  # paired by run
        lead = statistics.mean(leads)
        spread = spread_of(leads) if len(leads) > 1 else math.hypot(first.spread, second.spread)
        if abs(lead) <= spread:
            near.append(name)
        elif lead < 0:
            behind.append(name)
    within = f"within the spread for {', '.join(near)}" if near else ""
    if behind:
        return f"**does not hold** for {', '.join(behind)}" + f"; {within}" * bool(near)
    return f"**holds**, {within}" if near else "**holds**"


class _Rival(NamedTuple):
    """A system that ``eae`` or ``t-eae`` is compared with in a column."""

    name: str
    recipe: str
    drawn: _Drawn


def _rivals(rows: Mapping[str, Members], density: str, recipe: str) -> list[_Rival]:
    """Return the systems of a column that ``recipe`` is compared with, the best first."""
    second = _drawn(rows, "second-stage")
    found = []
    for label, drawn in _drawn(rows, density).items():
        other, name = _recipe(rows[label]), _name(label, rows)
        if other in _ONE_IDEA or (has_transport(rows[label][0]) and recipe == "eae"):
            continue
        two_stages = other in RECIPES and RECIPES[other].density == "second-stage"
        if density == "prior" and two_stages and second[label].values:
            found.append(_Rival(f"the second stage of {name}", other, second[label]))
        elif drawn.values:
            found.append(_Rival(name, other, drawn))
    return sorted(found, key=lambda rival: statistics.mean(rival.drawn.values))


def _verdict(own: _Drawn, rivals: Sequence[_Rival]) -> str:
    """Report whether a system is ahead of its rivals; name those that are ahead of it or within the spread."""
    ahead, near = [], []
    for rival in rivals:
        lead = statistics.mean(rival.drawn.values) - statistics.mean(own.values)
        if abs(lead) <= math.hypot(rival.drawn.spread, own.spread):
            near.append(rival.name)
        elif lead < 0:
            ahead.append(f"{rival.name} {mean_text(rival.drawn.values)}")
    if not ahead and not near:
        return f"**holds** (next: {rivals[0].name} {mean_text(rivals[0].drawn.values)})"
    said = [f"ahead: {', '.join(ahead)}"] * bool(ahead) + [f"within the spread: {', '.join(near)}"] * bool(near)
    return f"**{'does not hold' if ahead else 'within the spread'}** ({'; '.join(said)})"


def _rows(out: Path) -> dict[str, Members]:
    """Return the cells of a folder by label, in order; InputError unless they have one protocol."""
    cells = [cell for cell in read_cells(out) if "diverged" not in cell]
    if not cells:
        raise InputError(f"{out} has no results; run the table first.")
    protocols = {_protocol(cell) for cell in cells}
    if len(protocols) > 1:
        raise InputError(
            f"the results in {out} were measured in {len(protocols)} different ways (data, limit, n, features and "
            "their weights, split or shared settings); keep each in a separate folder."
        )
    rows: dict[str, Members] = {}
    for cell in sorted(cells, key=_order):
        members = rows.setdefault(cell["label"], [])
        if any(cell["cell"]["seed"] == member["cell"]["seed"] for member in members):
            raise InputError(f"{out} holds {cell['label']}, seed {cell['cell']['seed']}, twice; remove one.")
        members.append(cell)
    return rows


def _column(rows: Mapping[str, Members], name: str) -> dict[str, list[float]]:
    return {label: drawn.values for label, drawn in _drawn(rows, name).items()}


def _drawn(rows: Mapping[str, Members], name: str) -> dict[str, _Drawn]:
    """Return what was measured of a column, by label; nothing for systems without it."""
    distances = {label: [m["metrics"]["distances"] for m in members] for label, members in rows.items()}
    there = {label: [d[name] for d in found if name in d] for label, found in distances.items()}
    return {
        label: _Drawn([one["frechet"] for one in found], [one.get("frechet_error", 0.0) for one in found])
        for label, found in there.items()
    }


def _ranks(column: Mapping[str, Sequence[float]]) -> dict[str, int]:
    """Return the rank of each system by its mean, from 1; systems that are the same in a column share a rank."""
    means = {label: statistics.mean(values) for label, values in column.items() if values}
    return {label: 1 + sum(other < mean for other in {*means.values()}) for label, mean in means.items()}


def _published(figures: Mapping[str, float]) -> str:
    # the paper's prior column holds the two-stage VAE's second stage
    prior = figures.get("prior", figures.get("second-stage"))
    shown = [prior, figures.get("gaussian"), figures.get("mixture")]
    return " / ".join("-" if figure is None else f"{figure:.2f}" for figure in shown)


def _protocol_text(cells: Members) -> str:
    data, features, n, images, test, split = _protocol(cells[0])[:6]
    settings = cells[0]["expanded"]["settings"]
    commits = Counter((cell.get("git_commit") or "unknown")[:7] for cell in cells)
    counted = ", ".join(f"{name} ({count})" for name, count in sorted(commits.items()))
    floor = mean_text([cells[0]["metrics"]["distances"][FLOOR]["frechet"]])
    precision = cells[0]["cell"].get("precision", "32")
    said = ("epochs", "batch_size", "width", "latent_dim", "stop_after", "stop_rate")
    more = "".join(f", {name} {value}" for name, value in cells[0]["cell"]["shared"].items() if name not in said)
    return (
        f"{data}, {images:,} training images, {length_text(cells[0])}, "
        f"batch {settings['batch_size']}, width {settings.get('width', '-')}, D = {settings['latent_dim']}"
        f"{'' if precision == '32' else f', precision {precision}'}{more}. "
        f"Reconstruction error: squared, summed over an image, on {test:,} {split} images. "
        f"Entropy gap: entropy of {test:,} draws from N(0, I) less that of the {split} codes, by the same "
        f"estimate. Last columns: Frechet distance in {features} features to the {split} images, from {n:,} "
        f"images each ({test:,} reconstructions); real held-out images are at {floor}. Mean ± standard deviation "
        f"over seeds, and rank. Commits: {counted}."
    )


def _missing(rows: Mapping[str, Members], diverged: Members) -> list[str]:
    """Report the systems and seeds missing from a complete table; diverged cells do not count as missing."""
    seeds = {member["cell"]["seed"] for members in rows.values() for member in members}
    begun = {_recipe(members) for members in rows.values()} | {cell["cell"]["recipe"] for cell in diverged}
    gaps = [name for name in compared() if name not in begun]
    for label, members in rows.items():
        there = {cell["cell"]["seed"] for cell in (*members, *diverged) if cell["label"] == label}
        lacking = sorted(seeds - there)
        gaps += [f"{_name(label, rows)} (seed {', '.join(map(str, lacking))})"] * bool(lacking)
    return ["", f"Missing: {', '.join(gaps)}."] if gaps else []


def _diverged(diverged: Members) -> list[str]:
    said = "; ".join(f"{cell['label']}, seed {cell['cell']['seed']}: {cell['diverged']}" for cell in diverged)
    return ["", f"Diverged: {said}"] if diverged else []


def _collapsed(rows: Mapping[str, Members]) -> list[str]:
    """Report systems with images without variety, or dead codes, by the smallest spread or number over seeds."""
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


def _odd(rows: Mapping[str, Members]) -> list[str]:
    """Report samples that vary much less or more than the real images, with the range over seeds."""
    found = []
    for label, members in rows.items():
        said = []
        for what in members[0]["metrics"]["collapse"]["spread"]:
            shares = sorted(member["metrics"]["collapse"]["spread"][what] for member in members)
            if shares[0] < _LITTLE or shares[-1] > _MUCH:
                ends = dict.fromkeys(f"{share:.2f}" for share in (shares[0], shares[-1]))
                said.append(f"{what} {' to '.join(ends)}")
        if said:
            found.append(f"{_name(label, rows)} ({', '.join(said)})")
    if not found:
        return []
    return ["", f"Much less or more varied than the real images (share of their variance): {'; '.join(found)}."]


def _protocol(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the protocol that all cells of a table must share."""
    metrics = cell["metrics"]
    shared = sorted((name, str(value)) for name, value in cell["cell"]["shared"].items())
    return (
        *(cell["data"], metrics["features"], metrics["n"], cell["training_images"], metrics["real_images"]),
        # classifiers of the same name may differ if they were trained on different machines
        *(metrics["split"], cell["cell"]["limit"], metrics.get("features_sha256")),
        *(cell["cell"].get("precision", "32"), *shared),
    )


def _recipe(members: Members) -> str:
    return str(members[0]["cell"]["recipe"])


def _order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a sort key: the recipe in the registry's order, then settings as numbers, then the seed."""
    names = list(RECIPES)
    recipe = cell["cell"]["recipe"]
    own = [(name, *_number(value)) for name, value in cell["cell"]["own"].items()]
    return names.index(recipe) if recipe in names else len(names), recipe, own, cell["cell"]["seed"]


def _number(value: Scalar) -> tuple[float, str]:
    """Return a sort key that sorts numbers by value, before words."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), str(value)


def spread_of(*groups: Sequence[float]) -> float:
    """Return the standard deviations of groups of values, added in quadrature; that of a single value is 0.

    >>> spread_of([1.0, 3.0], [5.0])
    1.4142135623730951
    """
    return sum(statistics.variance(values) for values in groups if len(values) > 1) ** 0.5


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


def spread_text(numbers: Iterable[int]) -> str:
    """Return what the values of a table are, from the number of seeds of each row.

    >>> spread_text([3, 1]), spread_text([1, 1])
    ('Mean ± standard deviation over 1 to 3 seeds', 'One seed')
    """
    least, most = min(numbers := [*numbers]), max(numbers)
    if most == 1:
        return "One seed"
    return f"Mean ± standard deviation over {most if least == most else f'{least} to {most}'} seeds"
