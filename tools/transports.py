"""Transports of trained runs: the likelihood that they give to codes of test images, and what draws are like.

``python tools/transports.py RUN [RUN ...] --out results/measures/transports-mnist.json`` fits each of ``KINDS`` to
a copy of each run, which stays as it is. The runs of docs/transport.md are three of ``t-bn-ae`` that ``entropic-ae
table1 DATA --runs FOLDER`` keeps (docs/reproduce.md, "The leaders"). Distances are in features of the classifier
of all images of the data set, as in the tables. What the file holds already is kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.tables import markdown

import entropic_ae as eae
from entropic_ae.experiments.table1 import mean_text, spread_text
from entropic_ae.features import load_features
from entropic_ae.metrics import frechet_distance
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json
from entropic_ae.transports import MixtureTransport

__all__ = ["main", "measure", "render_transports"]

KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gaussian": ("gaussian", {}),
    "copula": ("copula", {}),
    "flow": ("flow", {}),
    "mixture, scales=1 shrinkage=0": ("mixture", {"scales": 1, "shrinkage": 0.0}),
    "mixture, scales=2 shrinkage=0": ("mixture", {"scales": 2, "shrinkage": 0.0}),
    "mixture, scales=1": ("mixture", {"scales": 1}),
    "mixture": ("mixture", {}),
    "mixture, scales=3": ("mixture", {"scales": 3}),
}
DECODED = "training codes, decoded"
SEED = 0


def measure(folder: Path, n: int, found: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the measures of each kind on a run: nats of test codes, components, and the distance of draws.

    Kinds that were found already are kept.
    """
    with tempfile.TemporaryDirectory() as copies:
        run = eae.load(shutil.copytree(folder, Path(copies, folder.name)))
        run.remove_transport()
        real = run.data.test.images
        space = load_features("classifier", eae.load_images(run.info.data))
        of_real, codes = space(real), run.encode(real)
        rows = dict(found)
        if DECODED not in rows:
            again = run.reconstruct(run.data.train.images)
            rows[DECODED] = {"prior": frechet_distance(of_real, space(again))}
        for name, (kind, settings) in KINDS.items():
            if name in rows:
                continue
            transport = run.fit_transport(kind, **settings)
            row = {"nats": transport.log_prob(codes).mean().item()}
            if isinstance(transport, MixtureTransport):
                row["components"] = transport.components
            samples = run.sample(n, density="prior", seed=SEED)
            rows[name] = row | {"prior": frechet_distance(of_real, space(samples))}
            run.remove_transport()
    return rows


def render_transports(path: Path) -> str:
    """Return a row for each kind as Markdown: mean ± standard deviation over runs.

    Beside each measure is its difference to that of ``mixture``, taken in each run: runs differ more than maps do.
    """
    of_runs = [found["kinds"] for found in read_json(path)["runs"].values()]
    lines = []
    for name in (*KINDS, DECODED):
        rows = [(kinds[name], kinds["mixture"]) for kinds in of_runs if name in kinds and "mixture" in kinds]
        if not rows:
            continue
        counts = sorted(int(row["components"]) for row, _ in rows if "components" in row)
        line = [f"`{name.replace(', ', '`, `', 1)}`" if name in KINDS else name, " ".join(map(str, counts))]
        for value in ("nats", "prior"):
            known = [(row[value], default[value]) for row, default in rows if value in row]
            differences = [mine - default for mine, default in known]
            line += [mean_text([mine for mine, _ in known]), mean_text(differences) if name != "mixture" else "0"]
        lines.append(line)
    beside = "less that of `mixture`"
    heads = ["transport", "components", "log likelihood of test codes, nats", beside, "Frechet, prior", beside]
    table = str(markdown(heads, lines))
    return f"{table}\n\n{spread_text([len(of_runs)])}; differences are taken between maps of one run."


def main() -> None:
    """Measure the runs that are not yet in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of one data set")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--n", type=int, default=10_000, help="samples; default: %(default)s")
    options = parser.parse_args()
    found = read_json(options.out) if options.out.exists() else {"n": options.n, "seed": SEED, "runs": {}}
    if found["n"] != options.n:
        sys.exit(f"{options.out} was measured with other settings; give another --out.")
    for folder in options.runs:
        known = found["runs"].get(folder.name, {}).get("kinds", {})
        if {*KINDS, DECODED} <= {*known}:
            continue
        info = eae.load(folder).info
        found["runs"][folder.name] = {
            "recipe": info.recipe,
            "data": info.data,
            "limit": info.limit,
            "run_seed": info.seed,
            "settings": info.expanded["settings"],
            "kinds": measure(folder, options.n, known),
        }
        found |= {"versions": versions(), "machine": machine(), "git_commit": git_commit()}
        write_json(options.out, found)


if __name__ == "__main__":
    main()
