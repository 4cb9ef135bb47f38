import pytest
import torch

from entropic_ae import KNNDivergence, MatricialFreeEnergy, MaximumMeanDiscrepancy, NegativeEntropy, NormTransport
from entropic_ae.experiments import estimator
from entropic_ae.experiments.estimator import SHAPES, STARTS, draw_estimator, estimates, free_points, normality
from entropic_ae.randomness import generator
from entropic_ae.storage.files import read_json

NULL = {"distance": 0.12, "norms": 0.1}  # of 400 draws in the plane


@pytest.mark.parametrize("shape", [*SHAPES, *STARTS])
def test_shapes_are_drawn_from_the_seed(shape):
    draw = {**STARTS, **SHAPES}[shape]
    z = draw(4000, 3, generator(0))
    assert torch.equal(z, draw(4000, 3, generator(0)))
    if shape in SHAPES:
        torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.1, rtol=0)
        torch.testing.assert_close(z.var(0), torch.ones(3), atol=0.12, rtol=0)


def test_a_sphere_leads_in_many_dimensions_and_not_in_few():
    """Its entropy is minus infinity; the estimate of 100 codes prefers it from some 8 dimensions on."""
    leads = {(row["dim"], row["shape"]): row["lead"] for row in estimates([100], [2, 16], [1], repeats=10)}
    assert leads[2, "sphere"] < -2
    assert leads[16, "sphere"] > 0.3
    assert leads[2, "normal"] == leads[16, "normal"] == 0
    assert leads[16, "Laplace"] < -0.3


def test_free_points_end_where_the_objective_is_lowest():
    """In the plane: the discrepancy moves signs to N(0, I); the free energy, blind to shapes, leaves them."""
    start = STARTS["signs"](400, 2, generator(0))
    assert normality(estimator._standardised(start), **NULL)["distance"] > 2
    good = free_points([MaximumMeanDiscrepancy()], start, batch=100, steps=300)
    assert normality(good, **NULL)["distance"] < 1
    blind = free_points([MatricialFreeEnergy()], start, batch=100, steps=50)
    assert normality(blind, **NULL)["distance"] > 2
    torch.testing.assert_close(good.mean(0), torch.zeros(2), atol=1e-5, rtol=0)


def test_the_entropy_moves_normal_points_to_a_shell_and_norms_hold_them():
    """In 16 dimensions: the variance of the norms, 0.5 for N(0, I), falls; with the norms' law it stays."""
    start = SHAPES["normal"](300, 16, generator(0))
    ends = {
        name: free_points(terms, start, batch=100, steps=150).norm(dim=1).var().item()
        for name, terms in {
            "entropy": [NegativeEntropy()],
            "norms": [NegativeEntropy(), NormTransport(20.0)],
            "divergence": [KNNDivergence()],
        }.items()
    }
    assert ends["entropy"] < 0.25
    assert ends["norms"] == pytest.approx(0.5, abs=0.1)
    assert ends["divergence"] < 0.35


def test_the_figure_is_resumed_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(estimator, "_NUMBERS", (50, 60))
    monkeypatch.setattr(estimator, "_DIMS", (2, 3))
    monkeypatch.setattr(estimator, "_FREE", (2,))
    monkeypatch.setattr(estimator, "_BATCHES", (20,))
    monkeypatch.setattr(estimator.estimates, "__defaults__", ((50, 60), (2, 3), (1, 5)))
    monkeypatch.setattr(
        estimator, "OBJECTIVES", {"entropy": (NegativeEntropy(),), "MMD": (MaximumMeanDiscrepancy(),)}
    )
    told = []
    files = draw_estimator(tmp_path, points=40, visits=2, repeats=2, tell=told.append)
    assert [file.name for file in files] == [f"estimator.{kind}" for kind in ("json", "png", "pdf", "md")]
    assert told[1:] == ["entropy, 2 dimensions, batches of 20", "MMD, 2 dimensions, batches of 20"]
    again = draw_estimator(tmp_path, points=40, visits=2, repeats=2, tell=told.append)
    assert len(told) == 4  # what was measured is read
    assert again == files
    table = files[3].read_text()
    assert "| objective | D = 2, batch 20 |" in table
    assert "| 50 | 2 | 1 | " in table
    cell = read_json(tmp_path / "estimator" / "MMD-2-20.json")
    assert set(cell["starts"]) == set(STARTS)
    assert cell["steps"] == 4
