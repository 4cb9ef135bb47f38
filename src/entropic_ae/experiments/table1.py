"""The table of systems on one protocol: a JSON file a cell, written whole, so that a sweep can go on."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from entropic_ae import runs
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.files import read_json, write_json
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.recipes.recipe import Scalar

__all__ = ["Cell", "parse_system", "render", "run_cells"]

_COLUMNS = ("reconstructions", "interpolations", "prior", "gaussian", "mixture")


@dataclass(frozen=True)
class Cell:
    """One system on one data set with one seed: everything that decides what is measured.

    Attributes:
        recipe, data, seed, limit: as for ``train``.
        own: settings of this system alone, which its label shows.
        shared: settings of the whole table.
        n, features: as for ``evaluate``.
    """

    recipe: str
    data: str
    seed: int
    own: Mapping[str, Scalar] = field(default_factory=dict)
    shared: Mapping[str, Scalar] = field(default_factory=dict)
    limit: int | None = None
    n: int = 10_000
    features: str | None = None

    @property
    def label(self) -> str:
        """The system in a table, as in ``eae entropy=0.3``."""
        return " ".join([self.recipe, *(f"{name}={value}" for name, value in self.own.items())])

    @property
    def name(self) -> str:
        """A file name that changes with any of the attributes."""
        content = json.dumps(asdict(self), sort_keys=True)
        return f"{self.recipe}-{self.seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def parse_system(text: str) -> tuple[str, dict[str, Scalar]]:
    """Read a recipe with settings of its own.

    >>> parse_system("eae:entropy=0.3:entropy.k=2")
    ('eae', {'entropy': '0.3', 'entropy.k': '2'})
    """
    recipe, *pairs = text.strip().split(":")
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"expected RECIPE:NAME=VALUE, got '{text}'; for example eae:entropy=0.3.")
    return recipe, {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def run_cells(
    cells: Iterable[Cell],
    out: Path,
    run_folder: Path,
    *,
    device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Train and measure each cell that is not yet in ``out``; what was interrupted is resumed.

    Arguments:
        cells: a changed setting makes another cell, so an old one is never taken for it.
        out: where a JSON file a cell is written.
        run_folder: where the run folders lie.
        device: auto, cpu or cuda.
        tell: called with progress.
    """
    cells = list(cells)
    _check_cells(cells, out)
    for i, cell in enumerate(cells, 1):
        path = out / f"{cell.name}.json"
        if path.exists():
            tell(f"{i}/{len(cells)} {cell.label}, seed {cell.seed}: measured already")
            continue
        tell(f"{i}/{len(cells)} {cell.label}, seed {cell.seed}: training")
        folder = run_folder / cell.name
        started = time.perf_counter()
        run = runs.train(
            cell.recipe,
            cell.data,
            set={**cell.shared, **cell.own},
            seed=cell.seed,
            limit=cell.limit,
            out=folder,
            device=device,
            resume=folder.is_dir(),
        )
        trained = time.perf_counter()
        tell(f"{i}/{len(cells)} {cell.label}, seed {cell.seed}: measuring")
        metrics = run.evaluate(features=cell.features, n=cell.n)
        write_json(
            path,
            {
                "cell": asdict(cell),
                "label": cell.label,
                "data": run.info["data"],
                "expanded": run.info["expanded"],
                "training_images": run.info["training_images"],
                "metrics": metrics,
                "training_seconds": round(trained - started, 1),
                "evaluation_seconds": round(time.perf_counter() - trained, 1),
                "machine": machine(),
                "versions": versions(),
                "git_commit": git_commit(),
            },
        )


def _check_cells(cells: Iterable[Cell], out: Path) -> None:
    """Raise InputError before anything is trained: a name is unknown, or ``out`` holds another protocol."""
    protocols = {_shared(asdict(cell)) for cell in cells}
    for cell in cells:
        if cell.recipe not in RECIPES:
            raise unknown_name("recipe", cell.recipe, RECIPES)
        settings = {k: v for k, v in {**cell.shared, **cell.own}.items() if k != "image_size"}
        configure(RECIPES[cell.recipe], PRESETS.get(cell.data, PRESETS["mnist"]), settings)
    for path in out.glob("*.json"):
        protocols.add(_shared(read_json(path)["cell"]))
    if len(protocols) > 1:
        raise InputError(
            f"{out} holds results of another protocol (data, limit, n, features or shared settings), which one "
            "table cannot show beside these; give another --out."
        )


def _shared(cell: Mapping[str, Any]) -> str:
    return json.dumps({k: cell[k] for k in ("data", "limit", "n", "features", "shared")}, sort_keys=True)


def render(out: Path) -> str:
    """Return the cells of a folder as a Markdown table, a row a system, mean ± deviation over seeds.

    Raises: InputError if the folder has no cells, or cells measured in different ways.
    """
    cells = [read_json(path) for path in sorted(out.glob("*.json"))]
    if not cells:
        raise InputError(f"{out} has no results; run the table first.")
    protocols = {_protocol(c) for c in cells}
    if len(protocols) > 1:
        raise InputError(
            f"the results in {out} were measured in {len(protocols)} different ways (data, limit, n, features or "
            "shared settings); keep each in a folder of its own."
        )
    rows: dict[str, list[dict[str, Any]]] = {}
    for cell in sorted(cells, key=_order):
        members = rows.setdefault(cell["label"], [])
        if any(cell["cell"]["seed"] == member["cell"]["seed"] for member in members):
            raise InputError(f"{out} holds {cell['label']}, seed {cell['cell']['seed']}, twice; remove one.")
        members.append(cell)
    head = ("system", "seeds", "reconstruction error", "entropy gap (nats)", *_COLUMNS)
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    for label, members in rows.items():
        metrics = [member["metrics"] for member in members]
        values = [
            label,
            str(len(members)),
            _mean([m["reconstruction_error"] for m in metrics]),
            _mean([m["codes"]["corrected_gap"] for m in metrics if m["codes"]["corrected_gap"] is not None]),
            *(_mean([m["distances"][column]["frechet"] for m in metrics]) for column in _COLUMNS),
        ]
        lines.append("| " + " | ".join(values) + " |")
    floor = _mean([cells[0]["metrics"]["distances"]["held-out images"]["frechet"]])
    data, features, n, images, test = protocols.pop()[:5]
    settings = cells[0]["expanded"]["settings"]
    lines += [
        "",
        f"{data}, {images:,} training images, {settings['epochs']} epochs, batch {settings['batch_size']}, "
        f"width {settings.get('width', '-')}, D = {settings['latent_dim']}. "
        f"Reconstruction error: squared, summed over an image, on {test:,} test images. "
        f"Entropy gap: entropy of {test:,} draws from N(0, I) less that of the test codes, by the same estimate. "
        f"Last five columns: Frechet distance in {features} features to the test images, from {n:,} images each "
        f"({test:,} reconstructions); real held-out images are at {floor}.",
    ]
    return "\n".join(lines)


def _protocol(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what all the cells of a table must share."""
    metrics = cell["metrics"]
    shared = sorted((name, str(value)) for name, value in cell["cell"]["shared"].items())
    return (
        *(cell["data"], metrics["features"], metrics["n"], cell["training_images"], metrics["test_images"]),
        *(cell["cell"]["limit"], *shared),
    )


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


def _mean(values: list[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
