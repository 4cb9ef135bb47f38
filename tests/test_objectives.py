import json
from dataclasses import replace

import pytest
import torch

from entropic_ae import BatchNorm, InputError, Mixture, MixtureTransport, Whitening
from entropic_ae.data import load_images
from entropic_ae.experiments import objectives
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.objectives import OBJECTIVES, contenders, gradient_scale, run_objectives
from entropic_ae.experiments.objectives_table import at_error, render_objectives
from entropic_ae.recipes import configure, system_for
from entropic_ae.terms import CodeNorm, SIGReg
from entropic_ae.training import Execution

SHARED = {"width": "2", "epochs": "2", "batch_size": "30", "validation_images": "30"}
BASE = Cell("", "digits", 0, {}, SHARED, limit=60, n=40, features="pixels", execution=Execution("cpu"))


def test_the_scale_of_a_gradient_has_a_known_answer():
    """Of the mean squared norm it is 2 z / N, of which batch norm leaves nothing; a weight multiplies it."""
    torch.manual_seed(0)
    assert gradient_scale([CodeNorm(3.0)], objectives.BOTTLENECKS["identity"](16), 50) == pytest.approx(
        3 * 2 / 50, rel=0.02
    )
    assert gradient_scale([CodeNorm(3.0)], BatchNorm(16), 50) < 1e-5
    one, three = (gradient_scale([SIGReg(weight, slices=16)], Whitening(4), 50) for weight in (1.0, 3.0))
    assert three == pytest.approx(3 * one)


def test_all_contenders_push_normal_codes_as_the_entropy_of_the_paper_does():
    assert len(OBJECTIVES) >= 12
    data = load_images("digits")
    chosen = ["entropy", "entropy and norms", "SIGReg", "free energy", "none"]
    found = contenders(replace(BASE, limit=None, shared={}), chosen, objectives.BOTTLENECK_NAMES)
    assert len(found) == 5 * 2
    assert [one.name for one in found if one.refused] == ["free energy, whitening"]
    scales = {}
    for one in found:
        if one.refused or one.objective == objectives.CONTROL:
            continue
        system = system_for("bn-ae", data, one.cell.own)
        model, objective = system.build(data.shape)
        terms = [term for term in objective.terms if term.name != "squared_error"]
        # on other draws than those of which the weights were computed
        scales[one.name] = gradient_scale(terms, model.bottleneck, 100, seed=1)
    usual = scales["entropy, batch-norm"]
    assert max(abs(scale / usual - 1) for scale in scales.values()) < 0.35  # of the free energy; of others 0.06
    own = next(one.cell.own for one in found if one.name == "entropy, batch-norm")
    assert own["entropy"] == configure(objectives.tuning.RECIPES["eae"], system.preset).settings()["entropy"]
    both = next(one.cell.own for one in found if one.name == "entropy and norms, whitening")
    assert both["norm_transport"] / both["entropy"] == pytest.approx(20, rel=0.01)  # their proportion is kept


def test_the_entropy_at_equal_error():
    curve = [(4.0, 20.0), (6.0, 10.0), (8.0, 14.0)]
    assert [at_error(curve, error) for error in (3.0, 4.0, 4.5, 6.0, 7.0, 99.0)] == [20, 20, 17.5, 10, 10, 10]
    assert at_error(curve[::-1], 4.5) == 17.5  # in either direction
    assert at_error([(4.0, 20.0)], 5.0) == 20.0


def test_draws_through_a_mixture_transport_are_those_of_the_density():
    """The plain mixture has that density, but for the broad Gaussian of weight 0.001 that the transport adds."""
    codes = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) ** 3
    prior = BatchNorm(2).prior()
    density = Mixture.fit(codes, prior, components=3)
    transport = MixtureTransport.fit(codes, prior, components=3, scales=1, shrinkage=0.0)
    assert (transport.log_prob(codes) - density.log_prob(codes)).abs().median() < 2e-3


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "_STEPS", 2)
        options = {
            "objectives": ["entropy", "free energy", "none"],
            "bottlenecks": ["whitening"],
            "factors": [2.0],
        }
        run_objectives(BASE, [0], folder / "out", folder / "runs", **options, tell=told.append)
        once = {path: path.read_bytes() for path in (folder / "out").rglob("*.json")}
        again = []
        run_objectives(BASE, [0], folder / "out", folder / "runs", **options, tell=again.append)
    return folder / "out", told, once, again


@pytest.mark.usefixtures("brief")
def test_objectives_are_searched_measured_timed_and_not_twice(measured):
    out, told, once, again = measured
    assert told[0] == "2 systems, candidates of each: 1 after 4 minibatches"
    assert not [text for text in again if text.startswith(("bn-ae", "time"))]
    assert {path: path.read_bytes() for path in out.rglob("*.json")} == once
    searched, cells = read_cells(out / "search" / "rung-1"), read_cells(out / "cells")
    assert {cell["cell"]["split"] for cell in searched} == {"validation"}
    assert {cell["cell"]["split"] for cell in cells} == {"test"}
    # the entropy at its best factor, which is a point of its curve, without weight, and the control
    assert len(cells) == 3
    assert {*cells[0]["metrics"]["distances"]} >= {"prior", "copula", "mixture", "reconstructions"}
    without = next(cell for cell in cells if cell["cell"]["own"].get("entropy") == 0.0)
    control = next(cell for cell in cells if "terms" not in cell["cell"]["own"])
    assert control["cell"]["own"]["learning_rate"] == 0.0015  # half of the rate: it has no weight to try
    assert without["expanded"]["terms"] == ["SquaredError", "NegativeEntropy"]
    page = render_objectives(out)
    assert "| entropy | whitening | 2 |" in page
    assert "Refused: free energy (whitening). MatricialFreeEnergy sees the covariance" in page
    times = json.loads((out / "times" / "whitening-entropy.json").read_text())
    assert 0 < times["term"] < times["step"]


def written(folder, rows, curve):
    """Write results by hand: a row a contender, with error and distance of each seed."""
    (folder / "cells").mkdir(parents=True)
    common = {"terms": "squared_error+sigreg", "sigreg": 2.0}

    def cell(name, seed, error, distance, own):
        metrics = {
            "features": "pixels",
            "n": 50,
            "reconstruction_error": error,
            "distances": {
                **{d: {"frechet": distance} for d in ("held-out images", "prior", "copula")},
                "mixture": {"frechet": distance / 2},
            },
            "diagnostics": {
                "divergence": 3.0,
                "parts": {"norms": 1.0, "joint structure": 2.0},
                "p_values": {"norms": 0.001, "joint structure": 0.5},
            },
        }
        content = {"name": f"{name}-{seed}", "cell": {"own": own}, "metrics": metrics, "training_images": 60}
        content["expanded"] = {
            "settings": {"epochs": 2, "batch_size": 30, "latent_dim": 8, "mixture.components": 10}
        }
        (folder / "cells" / f"{name}-{seed}.json").write_text(json.dumps(content))
        return content["name"]

    def named(name, seeds, own):
        return {str(seed): cell(name, seed, *pair, own) for seed, pair in enumerate(seeds)}

    content = {
        "data": "digits",
        "rates": [3e-3],
        "factors": [0.2, 1.0, 5.0],
        "contenders": [
            {
                "objective": name,
                "bottleneck": "batch-norm",
                "common": common,
                "refused": None,
                "cells": named(name, seeds, {**common, "learning_rate": 3e-3, "sigreg": 10.0}),
                "times": {"term": 1.0, "step": 9.0, "device": "cpu", "threads": 1},
            }
            for name, seeds in rows.items()
        ],
        "curves": [
            {"bottleneck": "batch-norm", "factor": factor, "cells": named(f"curve-{factor}", seeds, {})}
            for factor, seeds in curve.items()
        ],
    }
    (folder / "objectives.json").write_text(json.dumps(content))


def test_who_is_ahead_is_told_at_equal_error(tmp_path):
    curve = {0.0: [(4.0, 20.0), (4.0, 22.0)], 1.0: [(6.0, 10.0), (6.0, 12.0)]}
    rows = {
        "entropy": [(6.0, 10.0), (6.0, 12.0)],
        "nearer": [(5.0, 12.0), (5.0, 15.0)],  # the entropy has 15 and 17 there
        "dearer": [(7.0, 10.5), (7.0, 12.7)],  # nearer than the entropy of weight 0, and farther than of weight 1
        "equal": [(5.0, 14.0), (5.0, 18.0)],
    }
    written(tmp_path, rows, curve)
    page = render_objectives(tmp_path)
    ahead = "ahead of the entropy at equal reconstruction error: nearer (batch-norm)"
    assert f"- From the prior, {ahead} 2.50 ± 0.71." in page
    assert "- From the prior, within the spread over seeds: equal (batch-norm) 0.00 ± 1.41." in page
    assert "- From the prior, behind: dearer (batch-norm) -0.60 ± 0.14." in page
    assert f"- Through a mixture, {ahead} 1.25 ± 0.35." in page
    assert "| entropy | batch-norm | 5 | 6.00 ± 0.00 | 11.00 ± 1.41 | 11.00 ± 1.41 | 5.50 ± 0.71 | - | - |" in page
    assert "| 0 | batch-norm | 4.00 ± 0.00 | 21.00 ± 1.41 | 21.00 ± 1.41 | 10.50 ± 0.71 |" in page  # of the curve
    # of the parts that the tests find, the largest
    assert "| nearer | batch-norm | 3.00 ± 0.00 | 1.00 ± 0.00 | 2.00 ± 0.00 | norms | 1.0 | 9.0 |" in page
    assert "- Best at an end of the factors" in page
    written(tmp_path / "one", {name: pairs[:1] for name, pairs in rows.items()}, {1.0: [(6.0, 10.0)]})
    assert "- From the prior: one seed has no spread, so no row is called" in render_objectives(tmp_path / "one")
    diverged = json.loads((cell := tmp_path / "cells" / "curve-0.0-1.json").read_text())
    cell.write_text(json.dumps({name: value for name, value in diverged.items() if name != "metrics"}))
    page = render_objectives(tmp_path)
    assert "| 0 (1 of 2 seeds) | batch-norm | 4.00 | 20.00 | 20.00 | 10.00 |" in page


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"objectives": ["sigreg"]}, "unknown objective 'sigreg'; did you mean 'SIGReg'"),
        ({"bottlenecks": ["cube"]}, "unknown bottleneck 'cube'"),
        ({"objectives": ["free energy"], "bottlenecks": ["whitening"]}, "no objective can be trained here: Matri"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, more, sentence):
    with pytest.raises(InputError, match=sentence):
        run_objectives(BASE, [0], tmp_path, tmp_path, **more)
    with pytest.raises(InputError, match=r"has no objectives\.json; run entropic-ae objectives first"):
        render_objectives(tmp_path)
