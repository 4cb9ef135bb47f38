"""The run folder: what lies on the disk is a public format, and run.json as its readers see it."""

import copy
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

import entropic_ae as eae
from entropic_ae import InputError, runs
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.storage.run_info import RunInfo

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small run, measured and drawn, of which nothing names this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.planning, "machine", lambda: {"processor": "x86_64", "cores": 2})
        patch.setattr(runs.planning, "versions", lambda: {"python": "3.12.0", "entropic-ae": "0.0.0"})
        patch.setattr(runs.planning, "git_commit", lambda: "0" * 40)
        patch.setattr("entropic_ae.registry._imported", [])
        small = {"width": 2, "batch_size": 20, "mixture.components": 2}
        options = {"limit": 100, "device": "cpu", "progress": False, "epochs": 2}
        run = eae.train("eae", "digits", set=small, out=tmp_path_factory.mktemp("golden") / "run", **options)
        run.evaluate(features="pixels", n=20)
        run.draw("mixture")
        return run.folder


def without_figures(text):
    """The text without figures that depend on the machine: floats, digests, numbers of images, verdicts."""
    text = re.sub(
        r'"(weights_sha256|picture_sha256|verdict|active_codes|needed)": ("[^"]*"|\d+|null)', r'"\1": "..."', text
    )
    text = re.sub(r'"(samples|training_images|like_real)": \[[^]]*\]', r'"\1": ["..."]', text)
    return re.sub(r"-?\b(\d+\.\d+(e[-+]\d+)?|\d+e[-+]\d+)", "#", text)


def test_run_json_is_written_to_the_byte(folder):
    assert (folder / "run.json").read_text() == (GOLDEN / "run.json").read_text()


@pytest.mark.parametrize("name", ["metrics.json", "log.csv"])
def test_results_keep_their_keys_and_their_layout(folder, name):
    assert without_figures((folder / name).read_text()) == (GOLDEN / name).read_text()


def test_files_keep_their_names(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == (GOLDEN / "files.txt").read_text().splitlines()


def test_run_json_is_read_by_attribute_and_by_key(folder):
    info, content = RunFolder(folder).read_info(), json.loads((folder / "run.json").read_text())
    for same in (info, copy.deepcopy(info), pickle.loads(pickle.dumps(info))):
        assert same == content
        assert json.dumps(same, indent=2) + "\n" == (folder / "run.json").read_text()
        assert (same.recipe, same["recipe"], same.shape, same["shape"]) == ("eae", "eae", (1, 8, 8), [1, 8, 8])
        assert same.expanded.settings["width"] == same["expanded"]["settings"]["width"] == 2


def test_run_json_of_an_older_version_reads_with_defaults_and_keeps_its_keys(folder, tmp_path):
    content = json.loads((folder / "run.json").read_text())
    later = {"precision", "compiled", "summary", "reference", "density", "training_images", "processes", "imports"}
    older = {name: value for name, value in content.items() if name not in later} | {"unknown": 1}
    (tmp_path / "run.json").write_text(json.dumps(older))
    info = RunFolder(tmp_path).read_info()
    assert (info.precision, info.compiled, info.summary, info.training_images, info.imports) == (
        "32",
        False,
        "",
        0,
        (),
    )
    assert info == older


def test_damage_in_run_json_is_named_by_its_place(folder, tmp_path):
    content = json.loads((folder / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, "compiled": "yes"}))
    with pytest.raises(InputError, match=r"run\.json is damaged: compiled is 'yes', expected true or false"):
        RunFolder(tmp_path).read_info()


def test_run_info_cannot_be_replaced_into_an_empty_dictionary():
    info = RunInfo.of({"recipe": "eae", "preset": "p", "data": "d", "source": "s", "shape": [1, 8, 8], "seed": 1})
    with pytest.raises(ValueError, match="content"):
        replace(info, seed=2)
    changed = RunInfo.of({**info, "seed": 2})
    assert changed.seed == json.loads(json.dumps(changed))["seed"] == 2
