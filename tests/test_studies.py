import statistics
from dataclasses import replace

import pytest

from entropic_ae import RECIPES, InputError
from entropic_ae.experiments import studies
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.studies import STUDIES, Axis, Line, curves, render_study, run_study, study_cells
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
CPU = Execution("cpu")
BASE = Cell(
    "eae", "digits", 0, {}, {"width": "2", "epochs": "1"}, limit=150, n=60, features="pixels", execution=CPU
)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
def test_every_point_of_every_study_can_be_built(name, data):
    """The settings exist and fit the systems; batches of 100 are enough for what is whitened."""
    from entropic_ae.recipes import PRESETS, configure

    for axis in STUDIES[name]:
        for line in axis.lines:
            for value in axis.of(data):
                own = {**line.own, axis.setting: value}
                system = configure(RECIPES[line.recipe], PRESETS[data], {"width": 2, **own})
                model, _ = system.build((3, 32, 32))
                assert model.bottleneck.least_batch <= system.settings()["batch_size"]


def test_a_study_is_measured_drawn_and_not_measured_twice(tmp_path, monkeypatch):
    line = Line("with", "eae", {"entropy": 0.1})
    axes = (Axis("latent_dim", "dimensions", (2, 8), (line,)), Axis("depth", "depth", (1, 2), (line,)))
    monkeypatch.setitem(STUDIES, "tiny", axes)
    files = run_study("tiny", BASE, (0, 1), tmp_path / "out", tmp_path / "runs")
    assert [file.name for file in files] == ["study.json", "study.png", "study.pdf", "study.md"]
    cells = read_cells(tmp_path / "out" / "cells")
    # 2 axes, 2 values, 2 seeds, less those where the axes cross: 8 dimensions are the preset's, as is depth 1
    assert len(cells) == 8 - 2
    found = curves(tmp_path / "out")
    assert found["latent_dim", "with", "prior"][8] == found["depth", "with", "prior"][1]
    values = [
        cell["metrics"]["distances"]["prior"]["frechet"]
        for cell in cells
        if cell["expanded"]["settings"]["latent_dim"] == 2
    ]
    assert sorted(found["latent_dim", "with", "prior"][2]) == sorted(values)
    page = render_study(tmp_path / "out")
    assert f"| 2 | with | {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} |" in page
    assert "digits, 150 training images, 1 epoch, width 2." in page
    assert "from 60 images each. Mean ± standard deviation over 2 seeds." in page
    assert "The paper expects" not in page  # of axes that are not its own
    told = []
    run_study("tiny", BASE, (0, 1), tmp_path / "out", tmp_path / "runs", tell=told.append)
    assert told == ["6 cells (width 2, epochs 1), 6 measured already", "6 cells measured"]
    run_study("tiny", BASE, (0,), tmp_path / "out", tmp_path / "runs", render=True)  # of all seeds
    assert curves(tmp_path / "out") == found
    for base, place in ((replace(BASE, shared={"width": "3"}), "out"), (BASE, "nothing")):
        with pytest.raises(InputError, match="has no results of these settings; give the options"):
            run_study("tiny", base, (0,), tmp_path / place, tmp_path / "runs", render=True)


def test_a_line_multiplies_the_weights_of_the_data_set(tmp_path):
    placed = study_cells("bottleneck", BASE, [0])
    weights = {line.label: float(cell.system.settings()["entropy"]) for _, line, _, cell in placed}
    assert weights == pytest.approx({"no entropy": 0, "entropy": 0.3, "a tenth of it": 0.03})


@pytest.mark.parametrize(("far", "told"), [(0.9, "holds"), (0.1, "does not hold"), (0.55, "within the spread")])
def test_the_papers_prediction_is_judged(far, told):
    axis = STUDIES["bottleneck"][0]
    curve = {8: [0.4, 0.6], 32: [far, far + 0.1]}
    found = {("latent_dim", "no entropy", "divergence (nats a dimension)"): curve}
    text = studies._prediction(axis, found, "mnist")
    assert f"**{told}** (0.50 ± 0.14 nats a dimension at 8" in text
    prior, mixture = {8: [5.0, 6.0], 32: [9.0, 9.0]}, {8: [3.0, 4.0], 32: [2.0, 3.0]}
    found |= {("latent_dim", "no entropy", "prior"): prior, ("latent_dim", "no entropy", "mixture"): mixture}
    more = studies._prediction(axis, found, "mnist")
    apart = "2.00 ± 0.00 between the distances of prior and mixture at 8, 6.50 ± 0.71 at 32"
    assert more == f"{text[:-1]}, and **holds** ({apart})."
    assert studies._prediction(axis, {}, "mnist") == ""
    single = {key: {value: seeds[:1] for value, seeds in curve.items()} for key, curve in found.items()}
    assert "by one training of each (0.40 nats a dimension at 8" in studies._prediction(axis, single, "mnist")


def test_the_best_prior_and_the_least_distance_from_the_mixture_are_named():
    axis = Axis("entropy", "weight", (1, 2), (Line("plain", "eae"),))
    prior, mixture = {1: [9.0, 11.0], 2: [20.0, 20.0]}, {1: [5.0, 5.0], 2: [19.0, 20.0]}
    found = {("entropy", "plain", "prior"): prior, ("entropy", "plain", "mixture"): mixture}
    best, closest = studies._nearest((axis,), found)
    said = "**plain, weight 1** (prior 10.00 ± 1.41, mixture 5.00 ± 0.00, 5.00 ± 1.41 between them)"
    assert said in best
    assert "**plain, weight 2** (prior 20.00 ± 0.00, mixture 19.50 ± 0.71, 0.50 ± 0.71 between them)" in closest
    assert studies._nearest((axis,), {("entropy", "plain", "prior"): {1: [1.0]}}) == []


def test_unknown_and_missing_studies_are_refused(tmp_path):
    with pytest.raises(InputError, match="unknown study 'botleneck'"):
        study_cells("botleneck", BASE, [0])
    with pytest.raises(InputError, match=r"has no study\.json; run entropic-ae figure first"):
        studies.curves(tmp_path)
