"""--json and --quiet, which every command takes: one document and nothing else, and no progress."""

import io
import json
import math
import re
from pathlib import Path

import pytest
import torch
import typer
from rich.console import Console
from rich.text import Text

import entropic_ae as eae
from entropic_ae import cli, sharing
from entropic_ae.cli import printing

pytestmark = pytest.mark.usefixtures("brief")
SMALL = ("--set", "width=2", "batch_size=20", "--epochs", 1, "--limit", 100, "--device", "cpu")
SWEEP = ("--recipes", "ae", *SMALL, "--features", "pixels", "--n", 50)
COMMANDS = typer.main.get_command(cli.app).commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("output") / "run"
    small = {"width": 2, "batch_size": 20}
    eae.train("eae", "digits", set=small, epochs=1, limit=100, out=folder, device="cpu", progress=False)
    return folder


@pytest.fixture
def document(call, tmp_path, monkeypatch):
    """Run a command with --json; return its document, after a check that it is all of stdout, and strict JSON."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code, out, err = call(*arguments, "--json")
        assert code == 0, err
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_both_options(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--json", "--quiet"} <= options


def test_recipes(document):
    listed = document("recipes")["recipes"]
    assert {one["name"]: one["summary"] for one in listed} == {n: r.summary for n, r in eae.RECIPES.items()}
    one = document("recipes", "eae")
    assert one["bottleneck"] == "BatchNorm"
    assert {"weight": "entropy", "term": "NegativeEntropy"} in one["objective"]
    assert one["settings"]["mnist"]["entropy"] == 0.0516


def test_train(document, tmp_path):
    found = document("train", "ae", "digits", *SMALL, "--out", tmp_path / "run")
    run = eae.load(tmp_path / "run", device="cpu")
    understood = found.pop("understood")
    assert (understood["images"]["train"], understood["device"], understood["epochs"]) == (100, "cpu", 1)
    expected = {"run": str(run.folder), "best_epoch": 1, "density": "mixture", "caution": run.caution}
    assert found == expected


def test_commands_that_write_files(document, folder, tmp_path):
    commands = {
        "sample": ("--n", 3, "--out", tmp_path / "s.png"),
        "reconstruct": ("--n", 3, "--out", tmp_path / "r.npz"),
        "interpolate": ("--n", 2, "--out", tmp_path / "i.png"),
        "score": ("--density", "prior", "--out", tmp_path / "scores.csv"),
        "report": ("--out", tmp_path / "report.html"),
    }
    for name, options in commands.items():
        found = document(name, folder, *options)
        assert found["files"] == [str(options[-1])]
        assert Path(found["files"][0]).is_file()
    assert document("sample", folder)["density"] == "prior"


def test_export(document, folder, tmp_path):
    found = document("export", folder, "--to", "safetensors", "--out", tmp_path / "out")
    assert {Path(file).name for file in found["files"]} == {p.name for p in (tmp_path / "out").iterdir()}
    assert found["differences"] == dict.fromkeys(found["files"])  # safetensors are not compared


def test_evaluate_prints_what_metrics_json_holds(document, folder):
    found = document("evaluate", folder, "--features", "pixels", "--n", 50, "--device", "cpu")
    kept = json.loads((folder / "metrics.json").read_text())["pixels"]
    assert {name: found[name] for name in kept} == kept
    assert found.keys() - kept.keys() == {"run", "caution", "verdict"}


def test_few_images_are_told(call, folder, monkeypatch):
    result = eae.load(folder, device="cpu").evaluate(features="pixels", n=20)
    result.pop("kernel_withheld", None)

    def told(number, dimensions, **changed):
        changed = {**result, "number": number, "dimensions": dimensions, **changed}
        monkeypatch.setattr(eae.runs.Run, "evaluate", lambda *_, **__: changed)
        monkeypatch.setattr(eae.runs.Run, "draw", lambda *_: None)
        code, out, err = call("evaluate", folder, "--device", "cpu")
        assert code == 0, err
        return re.findall(r"((?:few images|withheld): .*)", out)

    assert told(64, 64) == [
        "few images: 64 images of each kind are few for pixels features of 64 dimensions: compare only with the "
        "held-out images"
    ]
    assert told(65, 64) == []
    assert told(54, 64, withheld={"like_real": ["blurred images"], "needed": 300}) == [
        "withheld: 54 images of each kind are too few: in pixels features, real images are no nearer than "
        "blurred images; about 300 held-out and test images would do"
    ]
    out = call("evaluate", folder, "--device", "cpu")[1]
    kernel = r"Kernel distances of 54 .*interval:\nimages +kernel, pixels\nheld-out images +\S+ ± \S+\n"
    assert re.search(kernel, out)  # without the column of Frechet distances, and without their multiples
    assert re.search(r"^images +recall +coverage", out, re.MULTILINE)  # without precision and density
    few = {"like_real": ["mean image"], "needed": None}
    assert len(told(54, 64, withheld=few, kernel_withheld=few)) == 1
    assert "distances of" not in call("evaluate", folder, "--device", "cpu")[1]
    assert told(65, 64, kernel_withheld={"like_real": ["mean image"]}) == [
        "withheld: 65 images of each kind are too few for kernel distances: in pixels features, real images are "
        "no nearer than mean image"
    ]
    out = call("evaluate", folder, "--device", "cpu")[1]
    assert re.search(r"^images +pixels +x floor$", out, re.MULTILINE)  # without the kernel distance


def test_several_spaces_stand_side_by_side(document, call, folder):
    found = document("evaluate", folder, "--features", "pixels,classifier", "--n", 50, "--device", "cpu")
    kept = json.loads((folder / "metrics.json").read_text())
    assert found["features"] == "pixels"
    assert found["also"] == {"classifier": kept["classifier"]}
    assert found["reconstruction_error"] == kept["classifier"]["reconstruction_error"]
    out = call("evaluate", folder, "--features", "pixels,classifier", "--n", 50, "--device", "cpu")[1]
    row = re.search(r"^held-out images (.*)$", out, re.MULTILINE)[1].split()
    # two distances with their intervals, and the multiples; of few images a floor may be 0, which has none
    assert row.count("±") == 2
    assert set(row[3:4]) | set(row[7:]) <= {"1.0"}
    assert re.search("images +pixels +x floor +classifier", out)
    assert [one["subject"] for one in found["verdict"]["findings"]][:4] == [
        "data", "training", "reconstructions", "samples",
    ]  # fmt: skip
    assert all(one["sentence"] in out for one in found["verdict"]["findings"])


def test_pull_and_push(document, folder, monkeypatch):
    monkeypatch.setattr(sharing, "fetch", lambda _, out: out)
    assert document("pull", "hf:me/digits") == {"source": "hf:me/digits", "run": str(Path("runs/digits"))}
    monkeypatch.setattr(eae.runs.Run, "push_to_hub", lambda *_, **__: "https://hub/me/digits")
    assert document("push", folder, "me/digits") == {"run": str(folder), "url": "https://hub/me/digits"}


def test_table1_and_tune(document, call, tmp_path):
    found = document("table1", "digits", *SWEEP, "--out", "table", "--runs", "runs")
    (kept,) = (json.loads(path.read_text()) for path in (tmp_path / "table").glob("*.json"))
    assert found == {"results": "table", "picture": None, "cells": [kept]}
    grid = ("--rates", "1e-3,1e-2", "--factors", 1)
    found = document("tune", "digits", *SWEEP, *grid, "--out", "t", "--runs", "runs")
    assert len(found["tries"]) == 2
    assert found["best"]["ae"] in [one["cell"]["own"] for one in found["tries"]]
    code, out, err = call("table1", "digits", *SWEEP, "--seeds", 1, "--out", "other", "--runs", "runs", "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("| system |")


def test_figure(document, monkeypatch):
    from entropic_ae.experiments import jobs

    monkeypatch.setattr(jobs.figures, "draw_all", lambda names, *_, **__: [Path(f"{name}.png") for name in names])
    assert document("figure", 5) == {"figure": "5", "files": ["5.png"]}


def test_what_a_library_prints_is_not_on_stdout(document, folder, monkeypatch):
    monkeypatch.setattr(eae.runs.Run, "sample", lambda *_, **__: print("hello") or torch.zeros(1, 1, 8, 8).byte())
    assert document("sample", folder, "--n", 1)["images"] == 1


def test_quiet_shows_results_and_no_progress(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("train", "eae", "digits", *SMALL, "--out", "run", "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("run: trained")
    code, out, err = call("evaluate", "run", "--features", "pixels", "--n", 50, "--device", "cpu", "--quiet")
    assert (code, err) == (0, "")
    assert "held-out images" in out
    assert "pictures written" not in out
    assert call("recipes", "--quiet")[1] + "\n" == call("recipes")[1].partition("entropic-ae recipes NAME")[0]


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_errors_are_printed_all_the_same(call, option):
    code, out, err = call("train", "eea", "digits", option)
    asked = option == "--json"  # is told before PyTorch is imported
    assert (code, out, err.count("\n")) == (2, "", 1 + asked)
    assert err.splitlines()[asked].startswith("error: unknown recipe 'eea'; did you mean 'eae'?")


def test_what_is_not_finite_is_null():
    text = printing._json({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "e": Path("f")})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "f"}


@pytest.mark.parametrize("terminal", [True, False])
def test_sentences_are_broken_between_words_on_a_terminal(terminal, monkeypatch):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, no_color=True, width=40, highlight=False, soft_wrap=True)
    monkeypatch.setattr(printing, "console", console)
    printing.print_caution("of 840 minibatches, more are needed until running averages settle")
    lines = [line.strip() for line in Text.from_ansi(out.getvalue()).plain.splitlines()]
    assert " ".join(lines) == "short training: of 840 minibatches, more are needed until running averages settle"
    assert len(lines) == (2 if terminal else 1)
