"""Weights: those in memory are never taken for those of the folder, and new runs start from them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import entropic_ae as eae
from entropic_ae import InputError, runs, sharing
from entropic_ae.metrics import reconstruction_error
from entropic_ae.sharing import shareable
from entropic_ae.storage.tensors import read_tensors
from entropic_ae.verdict.command import train_command

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


def start(out, source, **options):
    return train(out, None, options.pop("data", None), start_from=source, **{"set": None, **options})


def parameters(run):
    return {name: parameter.detach() for name, parameter in run.model.named_parameters()}


def test_a_run_starts_from_the_weights_of_another_with_its_settings(folder, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = start("tuned", "run", set={"learning_rate": 1e-30})  # moves nothing but running averages
    for name, value in parameters(trained).items():
        assert torch.equal(parameters(run)[name], value), name
    assert run.info.overrides == {**trained.info.overrides, "learning_rate": 1e-30}
    expected = {"run": "run", "weights_sha256": trained.weights_sha256()}
    assert (
        run.info.start_from == json.loads((tmp_path / "tuned" / "run.json").read_text())["start_from"] == expected
    )
    names = ("recipe", "preset", "data", "shape", "training_images_sha256")
    assert [run.info[name] for name in names] == [trained.info[name] for name in names]
    state = torch.load(run.files.checkpoint, weights_only=True)
    steps = {int(one["step"]) for one in state["optimizer_states"][0]["state"].values()}
    assert steps == {2 * 300 // 20}  # the optimiser is new
    assert "start_from" not in trained.info
    assert eae.load("tuned", device="cpu").info.start_from == expected
    assert "--from run --" in f"{train_command(run.info)} --"
    public = {**run.info, "start_from": {**expected, "run": "/home/somebody/runs/first"}}
    assert shareable(type(run.info).of(public)).start_from == {**expected, "run": "first"}


def test_a_run_starts_from_one_with_a_transport_by_its_weights_alone(run, folder, tmp_path):
    run.fit_transport("gaussian")
    tuned = start(tmp_path / "tuned", folder, set={"learning_rate": 1e-30}, epochs=1, limit=60)
    for name, value in parameters(eae.load(folder, device="cpu")).items():
        assert torch.equal(parameters(tuned)[name], value), name
    assert tuned.info.start_from["weights_sha256"] == run.weights_sha256()
    assert run.transport is not None
    assert tuned.transport is None


def test_a_run_from_another_resumes_to_the_bits_of_an_undisturbed_one_without_it(folder, tmp_path):
    options = {"set": {"learning_rate": 1e-3}, "limit": 100}
    whole = start(tmp_path / "whole", folder, epochs=3, **options)
    start(tmp_path / "resumed", folder, epochs=1, **options)
    folder.rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"does not exist; give the folder that train made"):
        start(tmp_path / "new", folder, epochs=1, **options)
    resumed = eae.train(out=tmp_path / "resumed", resume=True, set={"epochs": 2}, device="cpu", progress=False)
    assert len(resumed.files.read_log()["epoch"]) == 2  # by its folder alone
    resumed = start(tmp_path / "resumed", folder, epochs=3, resume=True, **options)
    weights = [(run.folder / "weights.safetensors").read_bytes() for run in (whole, resumed)]
    assert weights[0] == weights[1]
    assert resumed.info == whole.info
    with pytest.raises(InputError, match=r"from another start: it began from '.*run', got '.*gone'; restore it"):
        start(tmp_path / "resumed", tmp_path / "gone", epochs=4, resume=True, **options)
    with pytest.raises(InputError, match=r"other settings: start_from was .* and is None; restore them"):
        train(tmp_path / "resumed", epochs=4, resume=True, limit=100, set={**SMALL, "learning_rate": 1e-3})


def test_a_start_on_other_images_of_the_same_shape(folder, tmp_path):
    images = eae.load_images("digits").train.images.flip(3)
    run = start(tmp_path / "other", folder, data=images.numpy(), epochs=1)
    assert (
        run.info.training_images_sha256 != json.loads((folder / "run.json").read_text())["training_images_sha256"]
    )
    assert run.info.start_from["run"] == str(folder)
    assert run.system.settings()["width"] == 4
    with pytest.raises(InputError, match=r"other was trained on images in memory; give the data to train on"):
        start(tmp_path / "next", tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"set": {"width": 8}}, "width was 4 and is 8; give its settings and images of its shape"),
        ({"set": {"latent_dim": 6}, "image_size": 16}, r"latent_dim was 4 and is 6; shape was \[1, 8, 8\] and is"),
        ({"set": {"network": "residual"}}, "decoder was 'ConvDecoder' and is 'ResidualDecoder'; encoder was"),
        ({"recipe": "ae"}, "bottleneck was 'BatchNorm' and is 'Identity'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_differs(folder, tmp_path, options, sentence):
    options = {"recipe": None, "data": None, "set": None, **options}
    with pytest.raises(InputError, match=f"the weights of .*run do not fit: {sentence}"):
        train(tmp_path / "new", start_from=folder, **options)
    assert not (tmp_path / "new").exists()


def test_what_a_start_refuses(folder, trained, tmp_path):
    with pytest.raises(InputError, match=r"needs a folder that is named, got none; give one \(out, --out\)"):
        start(None, folder)
    with pytest.raises(
        InputError, match=r"start_from expects a run folder or hf:owner/name, got Run; give run\.f"
    ):
        start(tmp_path / "new", trained)
    with pytest.raises(InputError, match="such as eae mnist, got only eae; give both, or a run to start from"):
        runs.train("eae", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_resumes_a_run_from_another_that_is_gone(folder, tmp_path, call):
    out = tmp_path / "tuned"
    options = ("--limit", 60, "--device", "cpu", "--quiet")
    call("train", "--from", folder, "--out", out, "--epochs", 1, *options)
    folder.rename(tmp_path / "gone")
    for epochs, given in ((2, ("--from", folder, *options)), (3, ("--device", "cpu", "--quiet"))):
        code, _, err = call("train", *given, "--out", out, "--resume", "--epochs", epochs)
        assert code == 0, err
        assert len(eae.load(out, device="cpu").files.read_log()["epoch"]) == epochs


def test_a_run_from_another_that_was_killed_in_its_first_epoch_keeps_its_settings(folder, tmp_path):
    start(tmp_path / "tuned", folder, epochs=1, set={"learning_rate": 1e-4}, limit=100)
    for name in ("checkpoints", "weights.safetensors", "log.csv"):
        place = tmp_path / "tuned" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    run = eae.train(out=tmp_path / "tuned", resume=True, device="cpu", progress=False)
    assert run.system.settings()["learning_rate"] == 1e-4
    assert run.info.limit == 100


def test_the_command_starts_from_a_run(folder, tmp_path, call):
    options = ("--set", "learning_rate=1e-4", "--epochs", 1, "--limit", 60, "--device", "cpu")
    code, out, err = call("train", "--from", folder, "--out", tmp_path / "tuned", *options)
    assert (code, out.partition(": trained")[0]) == (0, str(tmp_path / "tuned")), err
    settings = eae.load(tmp_path / "tuned", device="cpu").system.settings()
    assert (settings["learning_rate"], settings["width"]) == (1e-4, 4)
    assert call("train", "eae")[::2] == (
        2,
        "error: train expects RECIPE and DATA, such as eae mnist, got only eae; give both, or a run to start from "
        "(start_from, --from) or to train alike (like, --like).\n",
    )
