"""A slice of ``tools/fuzz.py``, and what its last whole run found."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from entropic_ae.storage.files import read_json

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools" / "fuzz.py")
    module = sys.modules["fuzz"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="pipes and alarms")
def test_the_whole_run_again(tool, tmp_path):
    """In a process of its own, whose memory is limited."""
    out = tmp_path / "fuzz.json"
    subprocess.run([sys.executable, ROOT / "tools" / "fuzz.py", "--cases", "2000", "--out", out], check=True)
    assert read_json(out)["cases"] == 2000


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and alarms")
def test_damaged_inputs_are_refused_told_or_of_no_effect(tool, tmp_path):
    first = sum(len(subject.damages) for subject in tool.SUBJECTS.values())  # after the round that draws pages
    found = tool.fuzz(range(first, first + 30), 1, tmp_path)
    assert found["failures"] == []
    tried = {
        name: sum(sum(one.values()) for one in damages.values()) for name, damages in found["by_subject"].items()
    }
    assert sum(tried.values()) == 30
    assert len(tried) >= 6


def test_a_tool_that_finds_nothing_would_be_told(tool, tmp_path):
    """A use that crashes, waits or gives something else is a failure."""

    def crash(root):
        raise ZeroDivisionError

    def gives(value, told=""):
        return lambda _: tool.Result(value, told)

    for use, expected, outcome in (
        (crash, b"", "traceback"),
        (gives(b"other"), b"own", "silent"),
        (gives(b"own"), b"own", "same"),
        (gives(None), b"own", "refused"),
        (gives({b"a": 1}, "b is left out"), {b"a": 1, b"b": 1}, "told"),
        (gives({b"c": 1}, "b is left out"), {b"a": 1, b"b": 1}, "silent"),
        (gives({b"a": 1}), {b"a": 1, b"b": 1}, "silent"),
    ):
        assert tool._outcome(use, tmp_path, expected, unchecked=False)[0] == outcome
    assert tool._outcome(gives(b"other"), tmp_path, b"own", unchecked=True)[0] == "as written"


def test_the_whole_run_tried_two_thousand_inputs_and_none_failed():
    found = read_json(ROOT / "results" / "fuzz.json")
    assert found["cases"] >= 2000
    assert sum(found["outcomes"].values()) == found["cases"]
    assert found["failures"] == []
    assert set(found["outcomes"]) <= {"refused", "told", "as written", "same"}
