"""The run folder: what lies on the disk is a public format, and run.json as its readers see it."""

import re
from pathlib import Path

import pytest

import entropic_ae as eae
from entropic_ae import runs

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small run, measured and drawn, of which nothing names this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.training, "machine", lambda: {"processor": "x86_64", "cores": 2})
        patch.setattr(runs.training, "versions", lambda: {"python": "3.12.0", "entropic-ae": "0.0.0"})
        patch.setattr(runs.training, "git_commit", lambda: "0" * 40)
        patch.setattr("entropic_ae.registry._imported", [])
        small = {"width": 2, "batch_size": 20, "mixture.components": 2}
        options = {"limit": 100, "device": "cpu", "progress": False, "epochs": 2}
        run = eae.train("eae", "digits", set=small, out=tmp_path_factory.mktemp("golden") / "run", **options)
        run.evaluate(features="pixels", n=20)
        run.draw("mixture")
        return run.folder


def without_figures(text):
    """The text without figures that depend on the machine: floats, a digest of trained weights, verdicts."""
    text = re.sub(r'"(weights_sha256|verdict|active_codes)": ("[^"]*"|\d+)', r'"\1": "..."', text)
    return re.sub(r"-?\b(\d+\.\d+(e[-+]\d+)?|\d+e[-+]\d+)", "#", text)


def test_run_json_is_written_to_the_byte(folder):
    assert (folder / "run.json").read_text() == (GOLDEN / "run.json").read_text()


@pytest.mark.parametrize("name", ["metrics.json", "log.csv"])
def test_results_keep_their_keys_and_their_layout(folder, name):
    assert without_figures((folder / name).read_text()) == (GOLDEN / name).read_text()


def test_files_keep_their_names(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == (GOLDEN / "files.txt").read_text().splitlines()
