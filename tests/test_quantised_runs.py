"""A run of binary codes: what it draws, measures, reports and refuses."""

import json

import pytest
import torch

import entropic_ae as eae
from entropic_ae import InputError, report
from entropic_ae.explore.explorer import Explorer
from entropic_ae.recipes import fitted
from entropic_ae.report.diagnosis import diagnosis
from entropic_ae.runs import run as runs_run
from entropic_ae.verdict import verdict as eae_verdict

QUICK = {
    "width": 4,
    "latent_dim": 12,
    "batch_size": 20,
    "learning_rate": 5e-3,
    "autoregressive.width": 16,
    "autoregressive.epochs": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, brief):
    run = eae.train(
        "q-eae", "digits", epochs=8, limit=300, set=QUICK, out=tmp_path_factory.mktemp("q") / "run", progress=False
    )
    run.evaluate(features="pixels", n=100)
    return run


def test_codes_and_all_that_is_decoded_are_of_the_alphabet(run):
    codes = run.encode(run.data.test.images[:20])
    assert set(codes.unique().tolist()) == {-1, 1}
    for density in ("prior", "autoregressive"):
        assert run.density(density).sample(9, seed=0).abs().eq(1).all()
    # draws of a continuous density are moved to the nearest codes
    drawn = run.density("gaussian").sample(9, seed=0)
    assert torch.equal(run.decode(drawn), run.decode(torch.where(drawn >= 0, 1.0, -1.0)))
    assert run.interpolate(run.data.test.images[:1], run.data.test.images[1:2], steps=3).shape == (1, 3, 1, 8, 8)


def test_an_edit_of_half_the_strength_changes_fewer_values(run):
    images = run.data.test.images[:20]
    direction, codes = run.direction(3), run.encode(images)
    prior = run.model.bottleneck.prior()
    half, whole = (prior.dithered(codes + strength * direction) for strength in (0.5, 1))
    changed = [(codes != moved).sum().item() for moved in (half, whole)]
    assert 0 < changed[0] < changed[1]
    assert torch.equal(run.edit(images, 3, strength=0.5), run.decode(half))
    assert torch.equal(run.edit(images, 3, strength=0), run.decode(codes))


def test_measures_are_of_usage_and_checked_when_they_are_read(run):
    (result,) = run.files.read_metrics(run.weights_sha256()).values()
    codes, found = result["codes"], result["diagnostics"]
    assert codes["maximum"] == pytest.approx(12 * torch.tensor(2.0).log().item())
    assert codes["states"] == found["usage"]["states"] == 2
    assert len(found["usage"]["entropy"]) == found["usage"]["tokens"] == 12
    assert list(found["parts"]) == ["marginals", "groups"]
    assert "the likelihood under the autoregressive" in found["lower_bounds"]
    path = run.folder / "metrics.json"
    whole = path.read_text()
    broken = json.loads(whole)
    del next(iter(broken.values()))["diagnostics"]["usage"]["unused"]
    path.write_text(json.dumps(broken))
    with pytest.raises(InputError, match="unused"):
        run.files.read_metrics(run.weights_sha256())
    path.write_text(whole)


def test_the_log_has_the_entropy_of_usage(run):
    log = run.files.read_log()
    assert log["entropy_maximum"][-1] == pytest.approx(12 * torch.tensor(2.0).log().item())
    assert 0 < log["entropy"][-1] <= log["entropy_maximum"][-1]
    assert -log["validation_negative_discrete_entropy"][-1] <= log["entropy_maximum"][-1]


def test_the_report_shows_the_usage(run):
    (found,) = [diagnosis(one["diagnostics"]) for one in run.files.read_metrics(None).values()]
    facts = dict(found.facts)
    assert facts["states that no code uses, of 24"].isdigit()
    assert "dimensions that copy another" in facts
    assert found.charts[0].title == "entropy below its maximum by dimension"
    page = report.write_report(run.folder, run.folder.parent / "page.html").read_text()
    assert "entropy below its maximum by dimension" in page
    assert "codes that differ" in page


def test_what_needs_a_continuous_prior_is_refused(run):
    images = run.data.test.images[:5]
    assert run.score(images, density="autoregressive").log_prob.isfinite().all()
    assert run.score(images, density="prior").log_prob.unique().numel() == 1
    with pytest.raises(InputError, match="the density 'mixture' is continuous; score by autoregressive"):
        run.score(images, density="mixture")
    with pytest.raises(InputError, match="uniform signs has finitely many codes"):
        run.density("radial")
    with pytest.raises(InputError, match="uniform signs has finitely many codes"):
        run.fit_transport("gaussian")


def test_an_export_leaves_out_what_has_no_sampler(run, monkeypatch):
    given = []
    monkeypatch.setattr(runs_run, "check_export", lambda *_, **__: None)
    monkeypatch.setattr(runs_run, "export_model", lambda *_, densities, **__: given.extend(densities))
    run.export()
    assert given == ["prior"]
    monkeypatch.undo()
    with pytest.raises(InputError, match="the density 'autoregressive' cannot be exported to ONNX"):
        run.export(densities=["autoregressive"])


def test_the_explorer_knows_bits(run):
    explorer = Explorer(run)
    assert "codes of 12 numbers (12 bits)" in explorer.subtitle
    assert next(iter(explorer.densities())) == "prior"
    assert "autoregressive" in explorer.densities()
    assert explorer.walk([0.0, 1.5]).shape == (1, 8, 8)


def test_the_verdict_sends_to_the_density_of_the_codes(run):
    (result,) = run.files.read_metrics(None).values()
    result = {**result, "reconstruction_error": 0.01 * result["variance"], "blurred_error": result["variance"]}
    result["distances"]["prior"]["frechet"] = 4 * result["distances"]["reconstructions"]["frechet"] + 100
    result["diagnostics"]["p_values"]["groups"] = 1e-9
    result.pop("withheld", None)
    result["collapse"]["collapsed"] = []
    losses = [3.0, 2.0, 1.6, 1.4, 1.3, 1.2, 1.1, 1.0, 1.0, 1.0]  # the best after 8 x 15 minibatches
    log = {"epoch": [*range(1, 11)], "validation_loss": losses, "learning_rate": [1.0] * 10}
    found = eae_verdict(run.info, log, {"pixels": result}, run.folder)
    assert found.command.endswith("--density autoregressive")


def test_settings_for_images_of_ones_own():
    images = torch.randint(256, (300, 16, 16), dtype=torch.uint8)
    data = eae.load_images(images)
    found = fitted(eae.RECIPES["q-eae"], data, {})
    assert found["latent_dim"] == 32
    assert found["entropy"] == pytest.approx(256 / 512)
