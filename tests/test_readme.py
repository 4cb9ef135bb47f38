"""The README is short, its links lead somewhere, and all tables are those of ``results/``."""

import re
import runpy
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
