"""The README is short, its links lead somewhere, and all tables are those of ``results/``."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXTRAS = ("nicegui", "ray", "tensorboard", "wandb", "mlflow", "onnxscript")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) <= 120
    first = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(first[1].splitlines()) <= 12


def test_local_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.skipif(not all(map(find_spec, EXTRAS)), reason="needs all extras")
def test_every_dependency_has_its_licence_listed():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "licences.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_tables_are_those_of_the_results():
    tool = runpy.run_path(str(ROOT / "tools" / "update_docs.py"))
    assert "<!-- leaders: " in README
    for page in tool["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert tool["with_tables"](text) == text, page.name


def test_a_table_of_one_seed_has_the_standard_errors_of_its_draws(tmp_path):
    leaders = runpy.run_path(str(ROOT / "tools" / "update_docs.py"))["KINDS"]["leaders"]
    results = ROOT / "results" / "table1"
    for path in results.glob("mnist-converged/*-0-*.json"):
        shutil.copy(path, tmp_path)
    (cell,) = (json.loads(path.read_text()) for path in tmp_path.glob("t-eae-0-*.json"))
    distances = cell["metrics"]["distances"]
    said = [f"{distances[name]['frechet']:.2f} ± {distances[name]['frechet_error']:.2f}"
            for name in ("reconstructions", "prior", "mixture")]  # fmt: skip
    table = leaders(tmp_path)
    assert f"| `t-eae` | prior | {cell['metrics']['reconstruction_error']:.2f} | {' | '.join(said)} |" in table
    assert "One seed, distances ± their standard error over draws of the images;" in table
    assert "Mean ± standard deviation over 3 seeds;" in leaders(results / "mnist-leaders")
