import json
import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from brief import briefly
from entropic_ae import InputError
from entropic_ae.experiments import cells, convergence, table1
from entropic_ae.experiments.budgets import BUDGETS
from entropic_ae.experiments.cells import Cell, read_cells, shared_protocol
from entropic_ae.experiments.convergence import budget_cells, points, render_budget, run_budget
from entropic_ae.experiments.sweep import run_cells
from entropic_ae.recipes import RECIPES
from entropic_ae.runs import Run
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
# of the images of train, validation and test, which tests must not need
DIGESTS = {
    "mnist": "004efd76af600a0dbf481c95d3d2f885c33181af7071f18ec20347fdde21bf1c4d0054d212669127dad6764d45995dd7280d"
    "68c59e4a5ac16ad1fda18cee86e981868a55e181b112962bb38373d5820fca774f1d9daba67a001af7c7be7bafa3",
    "cifar10": "225f83e12e634b78bac1897535b0c164b654b9e5cadc27d0a71313c80b9da795dcee1989b79ebf46bbd6bd342917c4a69b"
    "2ec47704f5e7ae1059c244dc8061811577b1923f0a1046afc9230f6d1d61ab5e8ced2ff124ef1ce89e0cf38957ccde",
    "celeba": "c3cf499b7fc2d4b81ed644f0db62ad7f2fab402037664d2c30e7da1f2f31fc6bd533be4638d4cb2415fff12fb4443a7a640"
    "34095c6891d09791bbcd8b9e24288a80fb8d8ab6c94bd22fb9eed566b2a8f4d5572fce66f7c2ac7021768b374d8a9",
}
TINY = {"width": 2, "epochs": 2, "batch_size": 50, "patience": 1, "stop_after": 0, "stop_rate": 0.0}
BASE = Cell("", "digits", 0, {}, TINY, 100, 50, "pixels", execution=Execution("cpu"))


@pytest.mark.parametrize("data", DIGESTS)
def test_the_small_budget_is_that_of_the_tables(data, monkeypatch):
    images = replace(cells._images("digits", None), name=data, source=data)
    monkeypatch.setattr(cells, "_images", lambda *_: images)
    monkeypatch.setattr(cells, "_images_sha256", lambda *_: DIGESTS[data])
    small = BUDGETS["small"].of(data)
    results = read_cells(Path(__file__).parents[1] / "results" / "table1" / data)
    for one in results[::3]:
        cell = one["cell"]
        again = Cell(
            cell["recipe"], data, cell["seed"], cell["own"], small.settings, small.limit, small.n, small.features
        )
        assert again.name == one["name"]
        assert shared_protocol(again.record()) == shared_protocol(cell)
    assert results


class Still(nn.Module):
    """A decoder whose images are all grey: its loss is constant, and the first epoch is the best."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.shape, self.idle = shape, nn.Parameter(torch.zeros(latent_dim))

    def forward(self, z):
        return 0.5 + 0 * (z @ self.idle)[:, None, None, None].expand(-1, *self.shape)


def test_the_end_of_a_training_is_recorded_and_shown(tmp_path, monkeypatch):
    still = replace(RECIPES["ae"], name="still", decoder=partial(Still))
    monkeypatch.setitem(RECIPES.data, "still", still)
    rules = {"patience_steps": 4, "stop_after": 12, "stop_rate": 0.01}
    shared = {**BUDGETS["converged"].settings, "batch_size": 50, **rules}
    base = replace(BASE, recipe="still", shared=shared, budget="converged", densities=("prior",))
    metrics = []

    def evaluated(run, **options):  # once, for the table: this is about trainings
        metrics.append(metrics[0] if metrics else evaluate(run, **options))
        return metrics[0]

    evaluate = Run.evaluate
    monkeypatch.setattr(Run, "evaluate", evaluated)
    # an epoch has 2 steps: the rate is halved after epochs 3 and 5
    ends = {"stop_after": (7, {}), "stop_rate": (5, {"stop_rate": 0.4}), "epochs": (4, {"epochs": 4})}
    run_cells([replace(base, own=own) for _, own in ends.values()], tmp_path / "out", tmp_path / "runs")
    found = {one["training"]["ended_by"]: one for one in read_cells(tmp_path / "out")}
    for end, (epochs, own) in ends.items():
        training = {"epochs": epochs, "steps": 2 * epochs, "best_epoch": 1, "best_step": 2, "ended_by": end}
        assert (found[end]["training"], found[end]["cell"]["own"]) == (training, own)
        assert found[end]["budget"] == "converged"
    page = table1.render(tmp_path / "out")
    for text in ("14 (best 2), early stop |", "10 (best 2), learning rate |", "8 (best 2), all epochs |"):
        assert text in page
    assert "until 12 steps brought no lower validation loss or the learning rate fell below 0.01" in page


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two systems, after one and two epochs of two steps."""
    root = tmp_path_factory.mktemp("study")
    with briefly(), warnings.catch_warnings():
        warnings.filterwarnings("error", ".* belonged to earlier weights")  # of the cell before, which holds them
        files = run_budget(["t-bn-ae", "eae:entropy=0.1"], BASE, [0], root / "out", root / "runs", steps=(2, 3, 4))
    return root, files


def test_each_system_is_trained_once_and_measured_along_the_way(study, tmp_path):
    root, files = study
    assert [file.name for file in files] == ["budget.png", "budget.pdf", "budget.md"]
    assert all(file.stat().st_size > 100 for file in files)
    found = points(root / "out")
    assert [(one.label, one.length, one.steps) for one in found] == [
        (label, length, steps)
        for label in ("eae entropy=0.1", "t-bn-ae")
        for length, steps in (("epochs-1", 2), ("end", 4))
    ]
    assert len([path for path in (root / "runs").iterdir() if path.name[0] != "."]) == 2
    for point in found:  # a transport stands between prior and codes
        has = {measure for measure in convergence.MEASURES if point.values(measure)}
        between = "transport or second stage" if point.label == "t-bn-ae" else "prior"
        assert has == {between, "mixture", "reconstruction error"}
    fresh = replace(budget_cells(["t-bn-ae"], BASE, [0])[0]["end"], earlier_epochs=0)
    run_cells([fresh], tmp_path / "out", tmp_path / "runs")
    (alone,) = read_cells(tmp_path / "out")
    (end,) = next(one.cells for one in found if one.label == "t-bn-ae" and one.is_end)
    assert alone["metrics"] == end["metrics"]  # a run that goes on is the run of its length


def test_what_is_there_is_drawn_and_what_lacks_is_measured(study, tmp_path, monkeypatch):
    root, files = study
    monkeypatch.setattr(convergence, "draw_budget", lambda *_: None)  # two seconds; the study itself is drawn
    whole = files[2].read_text()
    assert "Missing" not in whole
    path = next((root / "out" / "end").glob("eae-*.json"))
    before = json.loads(path.read_text())
    path.unlink()
    run_budget([], BASE, [0], root / "out", root / "runs", render=True)
    assert files[2].read_text().endswith("\nMissing: eae entropy=0.1, seed 0 (end).\n")
    told = []
    systems = ["t-bn-ae", "eae:entropy=0.1"]
    run_budget(systems, BASE, [0], root / "out", root / "runs", steps=(2, 4), tell=told.append)
    assert [text.split(";")[0] for text in told if ";" in text] == ["eae entropy=0.1, seed 0"]
    assert json.loads(path.read_text())["metrics"] == before["metrics"]
    assert files[2].read_text() == whole
    with pytest.raises(InputError, match="has no results to draw; run entropic-ae figure budget first"):
        points(tmp_path)
    # epochs of one step are other lengths, but the end is in the same folder
    with pytest.raises(InputError, match="holds results of another protocol"):
        run_budget(systems, replace(BASE, limit=50), [0], root / "out", tmp_path / "runs", steps=(2, 3, 4))
    assert not (tmp_path / "runs").exists()
    assert not (root / "out" / "epochs-2").exists()


def test_lengths_are_whole_epochs_below_the_last():
    three = replace(BASE, shared={**TINY, "epochs": 3})
    (chain,) = budget_cells(["ae"], three, [0], steps=(1, 2, 3, 5, 90))
    assert [(name, cell.settings["epochs"], cell.earlier_epochs) for name, cell in chain.items()] == [
        ("epochs-1", 1, 0),
        ("epochs-2", 2, 1),
        ("end", 3, 2),
    ]
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        budget_cells(["ae"], BASE, [0], steps=(5, 0))
    with pytest.raises(
        InputError, match="ae cannot have epochs of its own, along which it is measured; give --ep"
    ):
        budget_cells(["ae:epochs=9"], BASE, [0])


def test_what_diverged_or_lacks_is_named(study, tmp_path):
    out = shutil.copytree(study[0] / "out", tmp_path / "out")
    run_cells([replace(BASE, recipe="vae", own={"learning_rate": 1e30})], out / "end", tmp_path / "runs")
    (path,) = (out / "end").glob("eae-*.json")
    larger = json.loads(path.read_text())  # of larger batches, by which other numbers of epochs are as many steps
    larger["label"], larger["expanded"]["settings"]["batch_size"] = "eae batch_size=100", 100
    (out / "end" / "other.json").write_text(json.dumps(larger))
    gaps = (
        "Missing: vae learning_rate=1e+30, seed 0 (epochs-1).",
        "Diverged: vae learning_rate=1e+30, seed 0 (end).",
    )
    assert render_budget(out).endswith("\n\n" + "\n\n".join(gaps))


def test_the_study_says_what_is_not_usual(study, tmp_path):
    out = shutil.copytree(study[0] / "out", tmp_path / "out")
    for path in (out / "end").glob("*.json"):
        cell = json.loads(path.read_text())
        cell["cell"]["precision"], cell["cell"]["shared"]["beta2"] = "bf16", 0.95
        cell["budget"], cell["cell"]["shared"]["patience_steps"] = "converged", 1000
        path.write_text(json.dumps(cell))
    (said,) = (line for line in render_budget(out).splitlines() if "One training for each" in line)
    assert ", precision bf16, " in said
    assert "beta2 0.95" in said
    assert "patience_steps" not in said
