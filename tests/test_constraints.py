import math
from functools import partial

import pytest
import torch

from entropic_ae import BOTTLENECKS, BatchNorm, Sphere
from entropic_ae.experiments import constraints, drawing
from entropic_ae.experiments.constraints import null_distances, prior_distance, raise_entropy, toy
from entropic_ae.storage.files import read_json

NULLS = {}


def null_once(bottleneck, n, **options):
    """The distances of samples of a prior, which take longer than all else here, once for each."""
    key = bottleneck.prior().title, bottleneck.latent_dim, n, *sorted(options.items())
    if key not in NULLS:
        NULLS[key] = null_distances(bottleneck, n, **options)
    return NULLS[key]


@pytest.mark.parametrize(
    "name",
    [
        "batch-norm",
        "l1-norm",
        "sphere",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("whitening", "cube")),
    ],
)
def test_raising_the_entropy_alone_drives_points_to_the_prior(name, monkeypatch):
    """Three clusters are told from the prior; what becomes of them is not, at a level of 1 in 100."""
    monkeypatch.setattr(constraints, "null_distances", null_once)
    (found,) = toy([name], ["clusters"], n=300, steps=1000)
    assert found["start_distance"] > found["null"][1]
    assert found["distance"] < found["null"][1]
    assert len(found["codes"]) == 4


@pytest.mark.parametrize("name", ["batch-norm", "l1-norm", "cube"])
def test_draws_from_another_prior_are_told(name):
    """The test above would not pass for what any other bottleneck drives points to, brought to its constraints."""
    bottleneck = BOTTLENECKS[name](2)
    threshold = null_once(bottleneck, 300, seed=0).quantile(0.99)
    torch.manual_seed(0)
    normal, laplace = torch.randn(10, 300, 2), torch.distributions.Laplace(0, 1).sample((10, 300, 2))
    uniform = 2 * torch.rand(10, 300, 2) - 1
    others = {
        "batch-norm": [laplace / 2**0.5, uniform * 3**0.5],
        "l1-norm": [normal * (math.pi / 2) ** 0.5, 2 * uniform],
        "cube": [normal.clamp(-2.5, 2.5) / 2.5, torch.tanh(2 * normal)],
    }
    for other in others[name]:
        distances = [prior_distance(sample, bottleneck) for sample in other]
        assert sum(distance > threshold for distance in distances) >= 8, distances


def test_the_entropy_rises_and_the_start_is_left_alone():
    start = torch.rand(100, 2)
    kept = start.clone()
    codes = raise_entropy(BatchNorm(2), start, steps=60, shown=[0, 30])
    entropies = [BatchNorm.entropy(z).item() for z in codes]
    assert entropies == sorted(entropies)
    assert entropies[-1] > entropies[0] + 0.5
    assert torch.equal(start, kept)


def test_null_distances_are_those_of_samples():
    few, many = null_distances(Sphere(3), 50, count=40), null_distances(Sphere(3), 800, count=40)
    assert torch.equal(few, few.sort().values)
    assert (few.median() / many.median()).item() == pytest.approx(4, rel=0.3)  # falls as 1 / sqrt(N)


def test_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(constraints, "STARTS", {"line": constraints.STARTS["line"]})
    monkeypatch.setattr(constraints, "null_distances", partial(null_distances, count=5))
    drawn, save = [], drawing.save_canvas
    monkeypatch.setattr(drawing, "save_canvas", lambda canvas, file: (drawn.append(canvas), save(canvas, file)))
    told = []
    files = constraints.draw_constraints(tmp_path, n=60, steps=30, tell=told.append)
    assert [file.name for file in files] == [f"constraints.{kind}" for kind in ("json", "png", "pdf", "md")]
    found = read_json(files[0])["found"]
    assert len(found) == len(told) == 5
    page = files[3].read_text()
    assert all(f"| {one['bottleneck']} | line | {one['start_distance']:.3f} |" in page for one in found)
    assert files[1].stat().st_size > 5000
    assert [axes.get_title() for axes in drawn[0].axes[:4]] == ["step 0", "step 20", "end", "prior"]
