"""Scripts in ``findings``: their form, and a row for each in the docs. Running them needs the network."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
PAGE = (ROOT / "docs" / "other-libraries.md").read_text(encoding="utf-8")
SECTIONS = ("Input:", "One would expect", "What happens:", "Seen")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_finding_states_its_case_and_stands_alone(script):
    text = script.read_text(encoding="utf-8")
    header, code = text.split("set -euo pipefail\n")
    assert header.startswith("#!/usr/bin/env bash\n# ")
    versions = header.splitlines()[1]
    assert re.search(r"\d+\.\d+.*Python 3\.\d+", header), versions
    places = [header.index(f"# {section}") for section in SECTIONS]
    assert places == sorted(places)
    assert max(map(len, header.splitlines())) <= 120
    assert os.access(script, os.X_OK)
    assert "mktemp -d" in code
    assert "==" in code  # pinned packages
    assert "entropic" not in code


def test_every_finding_has_one_row_and_every_row_a_script():
    assert re.findall(r"\| `([\w.-]+)` \|$", PAGE, re.MULTILINE) == re.findall(
        r"\| `([^`]+)` \|$", PAGE, re.MULTILINE
    )
    assert sorted(re.findall(r"\| `([\w.-]+)` \|$", PAGE, re.MULTILINE)) == [script.stem for script in SCRIPTS]
