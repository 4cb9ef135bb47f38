"""Record two proofs by others: scikit-learn's ``check_estimator``, and onnxruntime against PyTorch.

``SCIPY_ARRAY_API=1 python tools/conformance.py`` writes ``check_estimator.json``, what each check said of
``EntropicAutoencoder``, and ``onnx.json``, the largest difference of each exported graph over batches of several
sizes: of every recipe, and of ``eae`` with every other bottleneck, trained on digits in little. Without the
variable scikit-learn skips its check of the array API. A check that fails ends it with status 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sklearn.utils.estimator_checks import check_estimator

import entropic_ae as eae
from entropic_ae.densities import DENSITIES
from entropic_ae.export.onnx import BATCHES
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import read_json, write_json

ROOT = Path(__file__).parent.parent
SETTINGS = {"width": 8, "epochs": 3}
SECOND_STAGE = {"second-stage.hidden": 32, "second-stage.epochs": 3}


def checks() -> dict[str, Any]:
    """Return how many of scikit-learn's checks came to what, and each by its name."""
    found = check_estimator(eae.EntropicAutoencoder(hidden=8, epochs=2), on_fail=None, on_skip=None)
    rows = [
        {"check": row["check_name"], "status": row["status"], "expected_to_fail": row["expected_to_fail"]}
        | ({"reason": str(row["exception"])} if row["exception"] else {})
        for row in found
    ]
    return {"outcomes": dict(Counter(row["status"] for row in rows)), "checks": rows}


def differences() -> Iterator[dict[str, Any]]:
    """Yield a row a system: of each of its graphs the largest difference from PyTorch, in images or codes."""
    systems: list[tuple[str, dict[str, Any]]] = [(recipe, {}) for recipe in eae.RECIPES]
    systems += [("eae", {"bottleneck": name}) for name in ("whitening", "l1-norm", "sphere", "cube")]
    for recipe, own in systems:
        second = SECOND_STAGE if "second-stage" in eae.RECIPES[recipe].densities else {}
        densities = [name for name in DENSITIES if second or name != "second-stage"]
        with tempfile.TemporaryDirectory() as folder:
            changes = {**SETTINGS, **second, **own}
            run = eae.train(recipe, "digits", set=changes, out=Path(folder) / "run", device="cpu")
            written = run.export("onnx", out=Path(folder) / "onnx", densities=densities)
        yield {
            "recipe": recipe,
            "settings": own,
            "differences": {path.stem: difference for path, difference in written.items()},
        }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "conformance", help="folder of the files")
    out = parser.parse_args().out
    packages = {**versions(), **{name: version(name) for name in ("scikit-learn", "onnx", "onnxruntime")}}
    where = {"machine": machine(), "versions": packages, "git_commit": git_commit()}
    checked = checks()
    write_json(out / "check_estimator.json", {**checked, **where})
    rows = list(differences())
    write_json(out / "onnx.json", {"batches": BATCHES, "settings": SETTINGS, "rows": rows, **where})
    if checked["outcomes"].get("failed"):
        sys.exit(f"{checked['outcomes']['failed']} of scikit-learn's checks failed; {out} has their reasons.")


def render_checks(path: Path) -> str:
    """Return in a sentence what scikit-learn's checks of the estimator came to."""
    found = read_json(path)
    others = [
        f"{row['check']} {row['status']} ({row['reason']})" for row in found["checks"] if row["status"] != "passed"
    ]
    passed = f"{found['outcomes']['passed']} passed"
    library = f"scikit-learn {found['versions']['scikit-learn']}"
    return f"Of the {len(found['checks'])} checks of {library}, {'; '.join([passed, *others])}."


def render_parity(path: Path) -> str:
    """Return the largest differences of exported graphs from PyTorch: a row a system."""
    from benchmarks.tables import markdown  # for pages only: a script of tools/ does not find it

    found = read_json(path)
    names = list(dict.fromkeys(name for row in found["rows"] for name in row["differences"]))
    lines = [
        [
            " ".join([f"`{row['recipe']}`", *(f"{name}={value}" for name, value in row["settings"].items())]),
            *(f"{row['differences'][name]:.1e}" if name in row["differences"] else "-" for name in names),
        ]
        for row in found["rows"]
    ]
    largest = max(difference for row in found["rows"] for difference in row["differences"].values())
    *others, last = found["batches"]
    libraries = ", ".join(f"{name} {found['versions'][name]}" for name in ("torch", "onnxruntime"))
    return (
        f"{markdown(['', *names], lines)}\n\nThe largest difference from PyTorch in images and codes, over "
        f"batches of {', '.join(map(str, others))} and {last}: {largest:.1e}. {libraries}."
    )


if __name__ == "__main__":
    main()
