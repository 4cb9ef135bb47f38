"""Weights: those in memory are never taken for those of the folder, and new runs start from them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import entropic_ae as eae
from entropic_ae import InputError, sharing
from entropic_ae.metrics import reconstruction_error
from entropic_ae.storage.tensors import read_tensors

pytestmark = pytest.mark.usefixtures("brief")
SMALL = {"width": 4, "latent_dim": 4, "batch_size": 20, "mixture.components": 2}


def train(out, recipe="eae", data="digits", **options):
    options = {"epochs": 2, "limit": 300, "set": SMALL, "device": "cpu", "progress": False, **options}
    return eae.train(recipe, data, out=out, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that is measured, with a fitted Gaussian."""
    run = train(tmp_path_factory.mktemp("weights") / "run")
    run.evaluate(features="pixels", n=20, densities=["gaussian"])
    return run


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.fixture
def run(folder):
    return eae.load(folder, device="cpu")


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(run, factor=1.3):
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.mul_(factor)


CHANGED = r"the model in memory is no longer that of .*run: "


def test_metrics_of_a_changed_model_are_its_own_and_not_the_folders(run, folder):
    before = files(folder)
    change(run)
    with pytest.warns(UserWarning, match=f"^{CHANGED}the metrics are not saved; load it again.$"):
        result = run.evaluate(features="pixels", n=20, densities=["prior"])
    images = run.data.test.images
    assert result["reconstruction_error"] == pytest.approx(reconstruction_error(images, run.reconstruct(images)))
    assert result["weights_sha256"] == run.weights_sha256() != run.files.weights_sha256()
    assert files(folder) == before
    kept = json.loads((folder / "metrics.json").read_text())["pixels"]
    assert kept["reconstruction_error"] != pytest.approx(result["reconstruction_error"], rel=0.01)
    change(run, 1 / 1.3)  # not to the bit
    assert run.is_changed
    run.model.load_state_dict(read_tensors(run.files.weights)[0])
    assert not run.is_changed
    again = run.evaluate(features="pixels", n=20, densities=["gaussian"])
    assert again["reconstruction_error"] == kept["reconstruction_error"]


def test_densities_of_a_changed_model_are_fitted_to_its_own_codes(run, folder):
    before = files(folder)
    codes, gaussian = run.codes[0], run.density("gaussian")  # both of the folder's weights
    change(run)
    with pytest.warns(UserWarning, match=f"{CHANGED}the density 'gaussian' of its codes is not saved"):
        own = run.density("gaussian")
    expected = run.encode(run.data.train.images)
    assert not torch.allclose(expected, codes, rtol=0.01)
    assert torch.equal(run.codes[0], expected)
    assert torch.equal(own.mean, expected.double().mean(0))
    assert not torch.equal(own.mean, gaussian.mean)
    assert run.density("gaussian") is own
    assert files(folder) == before
    change(run)  # once more: neither the folder's nor the first change's
    with pytest.warns(UserWarning, match="the density 'gaussian' of its codes is not saved"):
        assert not torch.equal(run.density("gaussian").mean, own.mean)


def test_pictures_of_a_changed_model_are_not_drawn(run, folder):
    before = files(folder)
    change(run)
    with pytest.warns(UserWarning, match=f"{CHANGED}its pictures are not drawn"):
        run.draw("prior")
    assert files(folder) == before


def test_what_changes_a_model(run):
    """Running averages, a layer of another class without parameters, and a part in its place."""
    for part in (run.model.encoder, run.model.bottleneck):
        buffer = next(buffer for buffer in part.buffers() if buffer.is_floating_point())
        buffer[0] += 1
        assert run.is_changed
        buffer[0] -= 1
        run.model.load_state_dict(read_tensors(run.files.weights)[0])
        assert not run.is_changed
    run.model.bottleneck.eval()
    run.encode(run.data.test.images[:5])
    assert not run.is_changed
    before, run.model.bottleneck = run.model.bottleneck, eae.Sphere(4)
    assert run.is_changed
    sphere, run.model.bottleneck = run.state_sha256(), eae.Cube(4)
    assert run.state_sha256() != sphere  # neither has a parameter
    run.model.bottleneck = before
    assert not run.is_changed


def test_a_changed_model_is_exported_under_its_own_digest_into_a_folder_of_its_own(run, folder, tmp_path):
    original = run.weights_sha256()
    run.export("safetensors")
    before = files(folder)
    change(run)
    with pytest.raises(InputError, match=f"{CHANGED}its export needs a folder of its own; give one"):
        run.export("safetensors")
    run.export("safetensors", out=tmp_path / "own")
    said = json.loads((tmp_path / "own" / "model.json").read_text())
    assert (said["weights_sha256"], said["changed_from"]) == (run.weights_sha256(), original)
    assert said["weights_sha256"] != original
    assert files(folder) == before
    said = json.loads((folder / "safetensors" / "model.json").read_text())
    assert said["weights_sha256"] == original
    assert "changed_from" not in said


def test_a_changed_model_is_not_pushed(run, monkeypatch):
    monkeypatch.setattr(sharing, "push", lambda *_, **__: pytest.fail("pushed"))
    change(run)
    with pytest.raises(InputError, match=f"{CHANGED}only the folder's can be pushed; load it again"):
        run.push_to_hub("owner/name")


def test_a_run_that_was_just_trained_is_the_folders_in_every_precision(tmp_path):
    run = train(tmp_path / "run", epochs=1, precision="64", limit=60)
    assert not run.is_changed
    assert run.weights_sha256() == run.files.weights_sha256()
    assert not eae.load(tmp_path / "run", device="cpu").is_changed
    change(run)
    assert run.is_changed
