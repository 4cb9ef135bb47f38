"""Write what ``results/`` and the package hold into the README and the pages of ``docs/``, between marks.

``python tools/update_docs.py`` rewrites the pages; with ``--check`` it only reports which are out of date. A mark
is ``<!-- KIND: PATH -->``; the text up to ``<!-- end of table -->`` is replaced. ``KINDS`` lists the kinds. Each
renderer takes the path and stands beside the code that writes the file, where that code can be imported.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

sys.path.extend(str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parent))

import anomaly
import conditional
import conformance
import folders
import fuzz
import networks
import own_folders
import photographs
import post_training
import quantised
import rounds
import running_averages
import schedules
import second_moments
import shares
import tables_of_formats as formats
import tables_of_pieces as pieces
import tables_of_records as records
import tables_of_sweeps as sweeps
import transports
from benchmarks.accelerator import render_gpu
from benchmarks.densities import render_likelihood
from benchmarks.memory import render_memory
from benchmarks.neighbours import render_neighbours
from benchmarks.networks import render_cost
from benchmarks.pairs import render_speed
from benchmarks.ranking import render_ranking
from benchmarks.spaces import render_spaces
from benchmarks.startup import render_startup
from benchmarks.training import render_pace
from tree import render_tree

from entropic_ae.experiments.objectives_table import render_objectives
from entropic_ae.experiments.studies import render_study
from entropic_ae.experiments.table1 import render, statements
from entropic_ae.experiments.tuning import render_tries

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
KINDS = {
    # folders of cells
    "table": render,
    "brief table": partial(render, brief=True),
    "comparison": sweeps.comparison,
    "leaders": sweeps.leaders,
    "labels from codes": sweeps.labels_from_codes,
    "statements": lambda path: "\n".join(statements(path)).strip(),
    "brief statements": lambda path: "\n".join(statements(path, ("eae",))).strip(),
    "tries": render_tries,
    "choice": sweeps.choice,
    "factors": sweeps.factors,
    "parts": sweeps.parts,
    "precisions": sweeps.precisions,
    "study": render_study,
    "objectives": render_objectives,
    # benchmarks
    "speed": render_speed,
    "pace": render_pace,
    "memory": render_memory,
    "neighbours": render_neighbours,
    "startup": render_startup,
    "likelihood": render_likelihood,
    "gpu": render_gpu,
    "cost": render_cost,
    "spaces": render_spaces,
    "ranking": render_ranking,
    # other records
    "checks": conformance.render_checks,
    "parity": conformance.render_parity,
    "damages": fuzz.render_damages,
    "anomaly": anomaly.render_anomaly,
    "anomaly notes": anomaly.render_anomaly_notes,
    "networks": networks.render_networks,
    "quantised": quantised.render_quantised,
    "rounds": rounds.render_rounds,
    "post-training": post_training.render_post_training,
    "second moments": second_moments.render_second_moments,
    "running averages": running_averages.render_running_averages,
    "transports": transports.render_transports,
    "shares": shares.render_shares,
    "labels": conditional.render_conditional,
    "photographs": photographs.render_photographs,
    "schedules": schedules.render_schedules,
    "effects": schedules.render_effects,
    "folders": folders.render_folders,
    "own folders": own_folders.render_own_folders,
    "supported": records.supported,
    "caption": records.caption,
    "versions": records.versions,
    "peers": records.peers,
    "agreement": partial(records.rows, name="agreement"),
    "deviations": partial(records.rows, name="deviations"),
    # the package
    "tree": render_tree,
    "terms": pieces.terms,
    "bottlenecks": pieces.bottlenecks,
    "densities": pieces.densities,
    "samplers": pieces.samplers,
    "data sets": pieces.data_sets,
    "formats": formats.formats,
}
MARK = re.compile(rf"(<!-- ({'|'.join(KINDS)}): (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the text with each marked part rendered from its file or folder."""
    return MARK.sub(lambda match: f"{match[1]}{KINDS[match[2]](ROOT / match[3])}\n{match[4]}", text)


def main() -> None:
    """Rewrite the pages that are out of date, or with ``--check`` name them and exit with status 1."""
    stale = []
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = with_tables(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: out of date; run tools/update_docs.py.")


if __name__ == "__main__":
    main()
