import json
import random
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from entropic_ae import InputError, recipes
from entropic_ae.experiments import cells, gallery, sweep, table1
from entropic_ae.experiments.cells import Cell, parse_system, read_cells, without_newer
from entropic_ae.experiments.sweep import check_cell, run_cells
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.training import Execution
from forked import start_command

pytestmark = pytest.mark.usefixtures("brief")
SHARED = {"width": "2", "epochs": "1", "batch_size": "50"}
CPU = Execution("cpu")
CELL = Cell("eae", "digits", 0, {"entropy": "0.3"}, SHARED, limit=100, n=50, features="pixels", execution=CPU)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_a_conditional_system_can_be_measured_by_cells():
    check_cell(Cell("c-eae", "digits", 0, shared={"width": 2, "epochs": 1}))


def test_a_sweep_writes_a_file_a_cell_and_goes_on(tmp_path):
    cells = [CELL, replace(CELL, recipe="ae", own={}), replace(CELL, seed=1)]
    out = tmp_path / "out"
    run_cells(cells[:2], out, tmp_path / "runs")
    first = contents(out)
    assert sorted(first) == sorted(f"{cell.name}.json" for cell in cells[:2])
    told = []
    run_cells(cells, out, tmp_path / "runs", tell=told.append)
    assert told[0] == "3 cells (width 2, epochs 1), 2 measured already"
    assert told[1].startswith("eae entropy=0.3, seed 1; 2 of 3 cells measured, less than a minute left")
    assert told[2:] == ["3 cells measured"]
    second = contents(out)
    assert len(second) == 3
    assert {name: second[name] for name in first} == first
    result = json.loads(second[f"{cells[2].name}.json"])
    assert list(result["metrics"]["distances"])[-5:-2] == ["prior", "gaussian", "mixture"]
    assert result["expanded"]["settings"]["entropy"] == 0.3
    picture = gallery.draw_gallery(cells[:2], tmp_path / "runs", tmp_path / "picture.png")
    assert picture.read_bytes()[1:4] == b"PNG"
    with pytest.raises(InputError, match="has no run of these cells"):
        gallery.draw_gallery([replace(CELL, seed=9)], tmp_path / "runs", tmp_path / "other.png")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"own": {"entropy": "0.4"}},
        {"shared": {}},
        {"limit": 99},
        {"n": 51},
        {"features": None},
        {"data": "./nothing"},
        {"split": "validation"},
        {"densities": ("prior",)},
        {"execution": Execution("cpu", precision="bf16")},
    ],
)
def test_a_changed_setting_is_another_cell(change, monkeypatch):
    monkeypatch.setattr(cells, "_images", lambda *_: IMAGES)
    changed = replace(CELL, **change)
    assert changed.name != CELL.name
    measures = {"n", "features", "split", "densities"}  # what a run does not depend on
    assert (changed.run_name == CELL.run_name) == bool(measures & change.keys())


@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
def test_a_result_of_before_is_still_that_of_its_cell(data):
    """A setting that the library gained since is no part of a name while it has the value of before."""
    results = read_cells(Path(__file__).parents[1] / "results" / "table1" / data)
    for result in {result["cell"]["recipe"]: result for result in results}.values():
        preset, cell = PRESETS[data], result["cell"]
        known = configure(RECIPES[cell["recipe"]], preset).settings()
        shared = {name: value for name, value in cell["shared"].items() if name in known}
        now = configure(RECIPES[cell["recipe"]], preset, {**shared, **cell["own"]}).describe()
        before = without_newer(result["expanded"])
        assert (
            without_newer({**now, "settings": {**now["settings"], "features": before["settings"]["features"]}})
            == before
        )


def test_compiling_changes_no_name():
    compiled = replace(CELL, execution=Execution(compile=True))
    assert (compiled.name, compiled.run_name) == (CELL.name, CELL.run_name)


def test_precision_reaches_training_and_the_table(tmp_path):
    half = replace(CELL, execution=Execution("cpu", precision="bf16"))
    run_cells([half], tmp_path / "out", tmp_path / "runs")
    info = json.loads((tmp_path / "runs" / half.run_name / "run.json").read_text())
    assert info["precision"] == "bf16"
    assert ", width 2, D = 8, precision bf16." in table1.render(tmp_path / "out")
    with pytest.raises(InputError, match=r"another protocol \(precision was bf16 and is 32\)"):
        run_cells([CELL], tmp_path / "out", tmp_path / "runs")


IMAGES = cells._images("digits", None)


def test_images_of_another_size_are_another_cell():
    larger = replace(CELL, own={"image_size": "16"})
    assert larger.name != replace(CELL, own={}).name
    assert larger.name == replace(CELL, own={}, shared={**SHARED, "image_size": 16}).name


def test_a_changed_default_of_the_recipe_is_another_cell(monkeypatch):
    changed = replace(recipes.EAE, settings={"digits": {"learning_rate": 0.1}})
    before = CELL.name
    monkeypatch.setitem(recipes.RECIPES.data, "eae", changed)
    assert replace(CELL).name != before


def test_shared_settings_reach_the_systems_that_have_them(tmp_path):
    shared = {**SHARED, "second-stage.epochs": "1"}
    one, other = replace(CELL, shared=shared), replace(CELL, recipe="2seae", own={}, shared=shared)
    assert "second-stage.epochs" not in one.settings
    assert other.system.settings()["second-stage.epochs"] == 1
    with pytest.raises(InputError, match=r"unknown setting 'second-stage.epochs'"):
        run_cells([one], tmp_path, tmp_path / "runs")


def test_another_protocol_is_refused_before_training(tmp_path):
    run_cells([CELL], tmp_path, tmp_path / "runs")
    with pytest.raises(InputError, match=r"another protocol \(n was 50 and is 60\), .* give another --out"):
        run_cells([replace(CELL, n=60)], tmp_path, tmp_path / "runs", tell=lambda _: pytest.fail("started"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n": 1}, "n must be at least 2 images, got 1"),
        ({"shared": {**SHARED, "mixture.components": -1}}, "mixture.components must be at least 1, or 0"),
        ({"shared": {**SHARED, "width": "0"}}, "width must be at least 1, got 0"),
        ({"own": {"kl": 1}}, "unknown setting 'kl'"),
        ({"recipe": "nothing"}, "unknown recipe 'nothing'"),
    ],
)
def test_wrong_values_are_refused_before_training(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        run_cells(
            [replace(CELL, **change)], tmp_path / "out", tmp_path / "runs", tell=lambda _: pytest.fail("started")
        )
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; give another --out"):
        run_cells([CELL], tmp_path / "file", tmp_path / "runs")


def test_a_claimed_cell_is_left_to_its_process_and_a_freed_one_taken(tmp_path, monkeypatch):
    lock = FileLock(tmp_path / "out" / ".claims" / f"{CELL.name}.lock")
    (tmp_path / "out" / ".claims").mkdir(parents=True)
    lock.acquire()
    told = []

    def wait(_):
        assert told[-1] == "waiting for other processes, which measure 1 cell"
        lock.release()

    monkeypatch.setattr(sweep.time, "sleep", wait)
    run_cells([CELL], tmp_path / "out", tmp_path / "runs", tell=told.append)
    assert told[2].startswith("eae entropy=0.3, seed 0; 0 of 1 cell measured")


def start(tmp_path, name="one"):
    """Start a sweep; what it prints goes into a folder of that name."""
    return start_command(
        tmp_path / name,
        *("table1", "digits", "--recipes", "ae,eae,vae", "--width", 4, "--epochs", 6),
        *("--limit", 800, "--n", 300, "--features", "pixels", "--device", "cpu"),
        *("--out", tmp_path / "out", "--runs", tmp_path / "runs"),
    )


def printed(folder):
    return [(folder / name).read_text(encoding="utf-8") for name in ("out.txt", "err.txt")]


def logs(tmp_path):
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/log.csv")}


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_sweep_loses_nothing_and_repeats_nothing(tmp_path, kills):
    """SIGKILL at random moments while a cell is trained or measured; then the sweep is run to its end."""
    moments = random.Random(0)
    kept = {}
    resumed = False
    for kill in range(kills):
        before = logs(tmp_path)
        process = start(tmp_path)
        while process.is_alive() and logs(tmp_path) == before:  # until an epoch is over
            time.sleep(0.02)
        if kill:  # the first at once, when a cell is half done on any machine
            time.sleep(moments.uniform(0, 1.5))
        assert process.is_alive()
        process.kill()
        process.join()
        now = contents(tmp_path / "out")
        assert {name: now[name] for name in kept} == kept  # nothing measured is touched again
        for text in now.values():
            json.loads(text)
        kept = now
        resumed = resumed or len(logs(tmp_path)) > len(now)
    assert resumed  # some cell was left half done
    begun = {path.parent.name for path in logs(tmp_path)}
    process = start(tmp_path)
    process.join(200)
    out, told = printed(tmp_path / "one")
    assert process.exitcode == 0, told
    assert f"3 cells (width 4, epochs 6), {len(kept)} measured already" in told
    now = contents(tmp_path / "out")
    assert {name: now[name] for name in kept} == kept
    assert len(now) == 3
    assert sum("; " in line and "seed 0" in line for line in told.splitlines()) == 3 - len(kept)
    assert out.count("| 1 |") == 3  # a row each in the table
    results = {name.removesuffix(".json"): json.loads(text) for name, text in now.items()}
    went_on = {result["run"] for result in results.values() if result["training_seconds"] is None}
    assert begun - {results[name.removesuffix(".json")]["run"] for name in kept} <= went_on
    for result in results.values():  # as many epochs as asked for, each once
        rows = (tmp_path / "runs" / result["run"] / "log.csv").read_text().splitlines()[1:]
        assert [row.split(",")[0] for row in rows] == [str(i + 1) for i in range(6)]


def test_files_that_a_killed_process_was_writing_are_passed_over(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".eae-0-ab-x1.json").touch()
    folder = tmp_path / "runs" / CELL.run_name
    folder.mkdir(parents=True)
    (folder / ".run-abc.json").touch()
    run_cells([CELL], tmp_path / "out", tmp_path / "runs")
    assert len(read_cells(tmp_path / "out")) == 1


def test_cells_that_train_the_same_share_the_run(tmp_path):
    other = replace(CELL, n=60, densities=("prior", "marginals"), split="validation")
    run_cells([CELL], tmp_path / "out", tmp_path / "runs")
    run_cells([other], tmp_path / "others", tmp_path / "runs")
    (first,), (second,) = read_cells(tmp_path / "out"), read_cells(tmp_path / "others")
    assert first["run"] == second["run"]
    assert len([path for path in (tmp_path / "runs").iterdir() if path.name[0] != "."]) == 1
    assert second["training_seconds"] is None  # of what was trained before
    assert set(second["metrics"]["distances"]) >= {"prior", "marginals"}
    assert replace(CELL, seed=1).run_name != CELL.run_name


def test_a_cell_that_diverges_is_recorded_and_the_sweep_goes_on(tmp_path):
    shared = {**SHARED, "learning_rate": "1e30"}
    cells = [
        replace(CELL, recipe="vae", own={}, shared=shared),
        replace(CELL, recipe="vae", own={"learning_rate": "1e-3"}, shared=shared),
    ]
    run_cells(cells, tmp_path / "out", tmp_path / "runs")
    results = {len(result["cell"]["own"]): result for result in read_cells(tmp_path / "out")}
    assert re.search(r"(not finite in epoch 1|codes must be finite)", results[0]["diverged"])
    assert results[1]["metrics"]["distances"]["prior"]["frechet"] > 0
    assert "Diverged: vae, seed 0: " in table1.render(tmp_path / "out")
    told = []
    run_cells(cells, tmp_path / "out", tmp_path / "runs", tell=told.append)
    assert told == ["2 cells (width 2, epochs 1), 2 measured already", "2 cells measured"]


def test_a_second_stage_that_diverges_is_recorded_too(tmp_path):
    shared = {**SHARED, "second-stage.learning_rate": "1e30", "second-stage.hidden": "8"}
    cells = [replace(CELL, recipe=recipe, own={}, shared=shared) for recipe in ("2svae", "ae")]
    run_cells(cells, tmp_path / "out", tmp_path / "runs")
    ae, two_stages = sorted(read_cells(tmp_path / "out"), key=lambda result: "diverged" in result)
    assert "the density 'second-stage' could not be fitted" in two_stages["diverged"]
    assert ae["metrics"]["distances"]["mixture"]["frechet"] > 0


def test_a_batch_too_small_for_a_bottleneck_is_refused_before_anything_is_trained(tmp_path):
    cells = [CELL, replace(CELL, own={"bottleneck": "whitening", "latent_dim": "200"})]
    with pytest.raises(InputError, match="Whitening needs batches of at least 201 images"):
        run_cells(cells, tmp_path / "out", tmp_path / "runs")
    with pytest.raises(InputError, match="unknown density 'mixtur'; did you mean 'mixture'"):
        run_cells([replace(CELL, densities=("mixtur",))], tmp_path / "out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_two_processes_share_a_sweep(tmp_path):
    names = ("one", "other")
    processes = [start(tmp_path, name) for name in names]
    for process in processes:
        process.join(250)
    told = [printed(tmp_path / name)[1] for name in names]
    assert [process.exitcode for process in processes] == [0, 0], told
    assert len(contents(tmp_path / "out")) == 3
    lines = [line for text in told for line in text.splitlines() if "cells measured" in line and ";" in line]
    started = [line.split(",")[0] for line in lines]
    assert sorted(started) == ["ae", "eae", "vae"]


def test_systems_are_read():
    assert parse_system("ae") == ("ae", {})
    with pytest.raises(InputError, match="expected RECIPE:NAME=VALUE, got 'eae:entropy'"):
        parse_system("eae:entropy")
