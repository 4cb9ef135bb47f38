"""Which share of the images' variance is a good reconstruction: a study on the runs of the tables.

``python tools/shares.py results/table1/mnist ... --out results/measures/shares.json`` reads the cells of the
folders and the test images of their data sets (``ENTROPIC_AE_DATA``), and trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from scipy.stats import spearmanr

from entropic_ae.data import load_images
from entropic_ae.experiments.cells import read_cells
from entropic_ae.metrics import total_variance
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

__all__ = ["main", "measure", "render_shares"]

BOUNDS = (0.2, 0.3)  # of the verdict: good, fair


def measure(folder: Path) -> dict[str, Any]:
    """Return the share of the variance that each run of a folder leaves, beside its reconstructions' distance."""
    cells = [cell for cell in read_cells(folder) if "metrics" in cell]
    name = cells[0]["cell"]["data"]
    variance = total_variance(load_images(name).test.images)
    runs = [
        {
            "label": cell["label"],
            "seed": cell["cell"]["seed"],
            "share": cell["metrics"]["reconstruction_error"] / variance,
            "distance": cell["metrics"]["distances"]["reconstructions"]["frechet"],
        }
        for cell in cells
    ]
    rank = spearmanr([run["share"] for run in runs], [run["distance"] for run in runs])
    return {"data": name, "variance": variance, "runs": runs, "rank_correlation": float(rank.statistic)}


def render_shares(path: Path) -> str:
    """Return the study as Markdown: runs by their share, with their reconstructions' distance by the lowest."""
    from benchmarks.tables import markdown

    good, fair = BOUNDS
    groups = {
        f"up to {100 * good:.0f} %": (0.0, good),
        f"{100 * good:.0f} to {100 * fair:.0f} %": (good, fair),
        f"more than {100 * fair:.0f} %": (fair, float("inf")),
    }
    lines = []
    for study in read_json(path)["studies"]:
        lowest = min(run["distance"] for run in study["runs"])
        cells = []
        for low, high in groups.values():
            found = [run["distance"] / lowest for run in study["runs"] if low < run["share"] <= high]
            cells.append(f"{min(found):.1f} to {max(found):.1f} ({len(found)})" if found else "-")
        lines.append([study["data"], f"{study['variance']:.0f}", *cells, f"{study['rank_correlation']:.2f}"])
    return str(markdown(["data", "variance", *groups, "rank correlation"], lines))


def main() -> None:
    """Measure the folders that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of the cells of table1")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    options = parser.parse_args()
    studies = [measure(folder) for folder in options.folders]
    where = {"machine": machine(), "versions": versions(), "git_commit": git_commit()}
    write_json(options.out, {"studies": studies, **where})


if __name__ == "__main__":
    main()
