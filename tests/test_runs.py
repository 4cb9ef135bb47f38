import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

import entropic_ae as eae
from entropic_ae import InputError, runs
from entropic_ae.data import fingerprint
from entropic_ae.transports import GaussianTransport, MarginalsTransport

pytestmark = pytest.mark.usefixtures("brief")
SMALL = {"width": 4, "learning_rate": 2e-3, "batch_size": 20}


def train(out, recipe="eae", data="digits", **options):
    options = {"epochs": 2, "limit": 300, "set": SMALL, "device": "cpu", "progress": False, **options}
    return eae.train(recipe, data, out=out, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained.folder, tmp_path / "run"))


def info_of(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture
def info(folder):
    """run.json, to be changed by the test and written back by calling it."""

    class Info(dict):
        def write(self):
            (folder / "run.json").write_text(json.dumps(self))

    return Info(json.loads((folder / "run.json").read_text()))


def test_run_folder(trained):
    assert sorted(p.name for p in trained.folder.iterdir()) == [
        ".lock", "checkpoints", "interpolations.png", "log.csv", "preview.png", "real.png", "reconstructions.png",
        "run.json", "samples-prior.png", "weights.safetensors",
    ]  # fmt: skip
    assert info_of(trained.folder)["device"] == "cpu"
    info = json.loads((trained.folder / "run.json").read_text())
    assert (info["recipe"], info["preset"], info["data"], info["seed"]) == ("eae", "digits", "digits", 0)
    assert info["overrides"] == {**SMALL, "epochs": 2}
    assert info["expanded"]["settings"]["width"] == 4
    assert info["expanded"]["terms"] == ["SquaredError", "NegativeEntropy", "DecoderDecay"]
    assert info["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert len(info["training_images_sha256"]) == 64


def test_loaded_run_does_the_same(trained):
    loaded = eae.load(trained.folder, device="cpu")
    images = trained.data.test.images[:20]
    assert torch.equal(loaded.encode(images), trained.encode(images))
    assert torch.equal(loaded.reconstruct(images), trained.reconstruct(images))
    assert torch.equal(loaded.decode(loaded.encode(images)), loaded.reconstruct(images))
    for density in trained.system.recipe.densities:
        first = trained.sample(6, density=density, seed=3)
        assert first.shape == (6, 1, 8, 8)
        assert first.dtype == torch.uint8
        assert torch.equal(first, loaded.sample(6, density=density, seed=3))
        assert not torch.equal(first, loaded.sample(6, density=density, seed=4))
    rows = loaded.interpolate(images[:2], images[2:4], steps=4)
    assert rows.shape == (2, 4, 1, 8, 8)


def test_same_seed_same_bytes(trained, tmp_path):
    again = train(tmp_path / "again")
    assert (again.folder / "weights.safetensors").read_bytes() == (
        trained.folder / "weights.safetensors"
    ).read_bytes()
    other = train(tmp_path / "other", seed=1)
    assert (other.folder / "weights.safetensors").read_bytes() != (
        trained.folder / "weights.safetensors"
    ).read_bytes()


def test_densities_are_fitted_once_and_again_for_other_weights(folder, monkeypatch):
    eae.load(folder, device="cpu").density("gaussian")
    kept = (folder / "densities" / "gaussian.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(runs.images, "load_images", lambda *_, **__: pytest.fail("the codes are needed again"))
        eae.load(folder, device="cpu").sample(2, density="gaussian")
    train(folder, epochs=4, resume=True)
    eae.load(folder, device="cpu").density("gaussian")
    assert (folder / "densities" / "gaussian.safetensors").read_bytes() != kept
    path = folder / "densities" / "gaussian.safetensors"
    good = path.read_bytes()
    lacking = {"mean": torch.zeros(8)}
    for damage in (b"damaged", good[:50], save(lacking, safe_open(path, "pt").metadata())):
        path.write_bytes(damage)
        assert eae.load(folder, device="cpu").sample(2, density="gaussian").shape == (2, 1, 8, 8)
        assert path.read_bytes() == good  # fitted again


def test_samples_of_a_density_fitted_by_hand_are_decoded_draws_of_it(trained):
    images, labels = trained.data.train.images, trained.data.train.labels
    codes = trained.encode(images[torch.as_tensor(labels == 3)])
    threes = eae.Gaussian.fit(codes, trained.model.bottleneck.prior())
    drawn = trained.sample(5, density=threes, seed=1)
    assert torch.equal(drawn, trained.decode(threes.sample(5, seed=1)))
    assert not torch.equal(drawn, trained.sample(5, density="gaussian", seed=1))
    assert torch.equal(
        trained.sample(5, density=trained.density("gaussian")), trained.sample(5, density="gaussian")
    )
    with pytest.raises(InputError, match="expected the name of a density, got 3; known: autoregressive, copula"):
        trained.sample(5, density=3)


def test_samples_of_a_label_are_of_the_density_of_its_codes(trained, folder):
    run = eae.load(folder, device="cpu")
    (codes, _), labels = run.codes, run.data.train.labels
    density = run.density("gaussian", label=3)
    assert torch.equal(density.mean, codes[labels == 3].double().mean(0))
    drawn = run.sample(5, label=3, seed=1)  # the recipe's density is the prior, which knows no labels
    assert torch.equal(drawn, run.decode(density.sample(5, seed=1)))
    assert torch.equal(drawn, run.sample(5, density="gaussian", label=3, seed=1))
    assert torch.equal(run.density("gaussian").mean, codes.double().mean(0))
    without = eae.load(folder, device="cpu")
    without.load_data = None  # the density is kept in the folder
    assert torch.equal(without.sample(5, label=3, seed=1), drawn)
    assert len(run.density("mixture", label=3).weights) == 10  # with the settings of the recipe


def test_labels_that_cannot_be_sampled_are_refused(trained, monkeypatch):
    train = trained.data.train
    for settings, sentence in (
        ({"label": 12}, "no training images of label 12; its labels are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ({"label": 3, "density": "prior"}, "'prior' is not fitted to codes, .* give another, such as gaussian"),
        ({"label": 3, "density": trained.density("prior")}, "give its name with a label"),
    ):
        with pytest.raises(InputError, match=sentence):
            trained.sample(2, **settings)
    alone = train.labels.clone()
    alone[alone == 4] = 5
    alone[0] = 4
    for labels, sentence in (
        (None, "digits have no labels, got label 4"),
        (alone, "label 4 has 1 training image"),
    ):
        monkeypatch.setitem(vars(trained), "data", replace(trained.data, train=train._replace(labels=labels)))
        with pytest.raises(InputError, match=sentence):
            trained.sample(2, label=4)


def test_evaluate_measures_everything(folder):
    run = eae.load(folder, device="cpu")
    result = run.evaluate(features="pixels", n=300)
    assert list(result["distances"]) == [
        "held-out images", "training images", "reconstructions", "interpolations", "prior", "gaussian", "mixture",
        "blurred images", "mean image",
    ]  # fmt: skip
    number = min(300, len(run.data.validation.images))
    for row in result["distances"].values():
        assert row["images"] == result["number"] == number
        assert row["frechet"] > 0
    test = run.data.test.images
    real = test.flatten(1) / 255
    fake = run.reconstruct(test).flatten(1) / 255
    some = torch.randperm(360, generator=torch.Generator().manual_seed(0))[:number]
    assert result["distances"]["reconstructions"]["frechet"] == pytest.approx(
        eae.frechet_distance(real, fake[some]), rel=1e-4
    )
    assert result["reconstruction_error"] == pytest.approx((real - fake).square().sum(1).mean().item(), rel=1e-5)
    codes = result["codes"]
    assert codes["n"] == 360
    assert codes["maximum"] == pytest.approx(4 * np.log(2 * np.pi * np.e))
    assert codes["gap"] == pytest.approx(codes["maximum"] - codes["entropy"])
    assert codes["entropy"] == pytest.approx(eae.knn_entropy(run.encode(test)).item(), abs=1e-4)
    again = json.loads((folder / "metrics.json").read_text())
    assert again["pixels"] == result
    assert eae.load(folder, device="cpu").evaluate(features="pixels", n=300) == result


def test_copies_are_told_and_a_run_on_another_cut_is_refused(tmp_path):
    images = eae.load_images("digits").train.images[:400]
    np.savez(tmp_path / "copied.npz", images=torch.cat([images, images[:40]]))
    told = "40 of 440 images are exact copies of others"
    with pytest.warns(UserWarning, match=rf"^{told}\.$"):
        run = train(tmp_path / "run", data=tmp_path / "copied.npz", epochs=1, limit=None)
    with pytest.warns(UserWarning, match=told):
        result = run.evaluate(features="pixels", n=20)
    counted = result["copies"]
    assert (counted["images"], counted["repeated"], counted["test_in_training"]) == (440, 40, 0)
    assert run.files.read_metrics(run.weights_sha256())["pixels"] == result
    order = torch.randperm(440, generator=torch.Generator().manual_seed(0))
    before = fingerprint(torch.cat([images, images[:40]])[order][: 440 - 44 - 39])
    assert run.info.training_images_sha256 != before
    info = info_of(run.folder)
    (run.folder / "run.json").write_text(json.dumps({**info, "training_images_sha256": before}))
    with pytest.raises(InputError, match=r"are not those that .* \(40 are exact copies .* stay in one split\)"):
        eae.load(run.folder).evaluate(features="pixels", n=20)


def test_results_of_other_weights_are_dropped(folder):
    eae.load(folder, device="cpu").evaluate(features="pixels", n=20)
    train(folder, epochs=2, resume=True)
    assert (folder / "metrics.json").exists()  # of the same weights
    with pytest.warns(
        UserWarning, match=r"metrics\.json.* in .* belonged to earlier weights or codes and are removed"
    ):
        run = train(folder, epochs=3, resume=True)
    assert not (folder / "metrics.json").exists()
    (folder / "metrics.json").write_text(json.dumps({"old": {"weights_sha256": "of before"}}))
    result = run.evaluate(features="pixels", n=20)
    assert json.loads((folder / "metrics.json").read_text()) == {"pixels": result}


def test_no_maximum_without_constraints(tmp_path):
    run = train(tmp_path / "ae", recipe="ae", epochs=1)
    codes = run.evaluate(features="pixels", n=50)["codes"]
    assert codes["maximum"] is None
    assert codes["gap"] is None


def test_own_folder_of_images(tmp_path):
    """Colour images of a training folder, and codes and reconstructions of new ones."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=generator)
    eae.save_images(images, tmp_path / "photos")
    run = train(tmp_path / "run", data=tmp_path / "photos", limit=None, set={"width": 2, "latent_dim": 3})
    assert run.info["data"] == "photos"
    assert run.shape == (3, 16, 16)
    assert len(run.data.train.images) == 33
    loaded = eae.load(tmp_path / "run", device="cpu")
    assert loaded.sample(3).shape == (3, 3, 16, 16)
    assert loaded.encode(images[:2]).shape == (2, 3)
    (tmp_path / "photos" / "00.png").unlink()
    with pytest.raises(InputError, match=r"are not those that .* was trained on; restore them"):
        eae.load(tmp_path / "run", device="cpu").density("gaussian")
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(
        InputError,
        match=r"photos does not exist, and .*run needs its images from there; restore them, or give their place",
    ):
        eae.load(tmp_path / "run", device="cpu").density("gaussian")
    eae.save_images(images, tmp_path / "moved")
    moved = eae.load(tmp_path / "run", data=tmp_path / "moved", device="cpu")
    assert moved.sample(3, density="gaussian").shape == (3, 3, 16, 16)
    assert eae.load(tmp_path / "run", device="cpu").sample(3, density="prior").shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"recipe": "eea"}, "unknown recipe 'eea'; did you mean 'eae'"),
        ({"data": "digts"}, "no folder or file 'digts' here; unknown data set 'digts'; did you mean 'digits'"),
        ({"data": "no/such/folder"}, "no/such/folder does not exist"),
        ({"set": {"latentdim": 3}}, "unknown setting 'latentdim'; did you mean 'latent_dim'"),
        ({"set": {"image_size": "big"}}, "image_size expects a whole number, got 'big'"),
        ({"set": {"image_size": 20}}, "image_size must be a multiple of 8 from 8 to 256, got 20"),
        ({"preset": "mnits"}, "unknown preset 'mnits'; did you mean 'mnist'"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed must be a whole number from 0 to 4294967295"),
        ({"limit": 1}, "limit must be at least 2 images, got 1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"device": "tpu"}, "device must be auto, cpu, cuda or mps, got 'tpu'"),
        ({"precision": "16"}, "precision must be one of 32, bf16, 64, got '16'"),
        ({"recipe": "ae", "set": {"entropy": 1}}, "unknown setting 'entropy'"),
        (
            {"set": {"entropy.k": 100}},
            "negative_entropy needs batches of at least 101 images, got 100 in training",
        ),
        ({"set": {"features": "foo"}}, "unknown feature space 'foo'"),
        ({"set": "width=4"}, "set expects a dictionary such as {'width': 16}, got 'width=4'"),
        ({"set": {"epochs": 3}}, "epochs was given twice, as 3 and as 2; give it once"),
        ({"set": {"batch_size": 1}}, "batch_size must be at least 2, got 1"),
    ],
)
def test_bad_input_leaves_nothing_behind(options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        train(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_existing_out_is_refused_and_kept(folder, tmp_path):
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="holds a run already; give another folder"):
        train(folder)
    assert (folder / "weights.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; give another --out"):
        train(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("")
    with pytest.raises(InputError, match=r"is not empty, and no run folder: it has no run\.json"):
        train(tmp_path / "other", resume=True)


def test_resume_refuses_other_settings(folder):
    sentence = "other settings: seed was 0 and is 1; width was 4 and is 8; restore them, or give another --out"
    with pytest.raises(InputError, match=sentence):
        train(folder, resume=True, seed=1, set={**SMALL, "width": 8})
    many = {**SMALL, "width": 8, "patience": 1, "learning_rate": 0.1, "entropy": 3}
    with pytest.raises(
        InputError, match=r"seed was 0 and is 1; [^;]* was [^;]*; [^;]*; [^;]*; \.\.\.; restore them"
    ):
        train(folder, resume=True, seed=1, set=many)


def test_a_start_that_failed_leaves_the_folder_free(folder):
    for path in folder.iterdir():
        if path.name != "run.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train(folder, seed=1).info["seed"] == 1


def test_resume_for_fewer_epochs_is_refused(folder):
    with pytest.raises(InputError, match=r"has been trained for 2 epochs, got epochs=1; give at least 2"):
        train(folder, epochs=1, resume=True)
    assert info_of(folder)["expanded"]["settings"]["epochs"] == 2
    assert train(folder, epochs=2, resume=True).sample(1).shape == (1, 1, 8, 8)


def test_resume_without_a_checkpoint_keeps_the_weights(folder):
    shutil.rmtree(folder / "checkpoints")
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"has weights but no checkpoints/last\.ckpt, so training cannot resume"):
        train(folder, epochs=4, resume=True)
    assert (folder / "weights.safetensors").read_bytes() == before


def test_damaged_metrics_are_named_before_anything_is_measured(folder, monkeypatch):
    (folder / "metrics.json").write_text("[]")
    monkeypatch.setattr(runs.measuring, "load_features", lambda *_, **__: pytest.fail("measuring"))
    with pytest.raises(InputError, match=r"metrics\.json is damaged"):
        eae.load(folder, device="cpu").evaluate(features="pixels", n=20)


def test_a_folder_takes_no_preset_by_its_name(tmp_path):
    eae.save_images(torch.randint(256, (12, 1, 16, 16), dtype=torch.uint8), tmp_path / "mlp")
    run = train(tmp_path / "run", data=tmp_path / "mlp", limit=None, set={"width": 2, "batch_size": 4})
    assert run.system.preset.name == "digits"
    assert run.system.settings()["features"] == "random"  # no labels
    assert run.evaluate(features="pixels", n=20)["distances"]["mixture"]["frechet"] > 0


def test_resume_trains_on(folder, tmp_path):
    whole = train(tmp_path / "whole", epochs=4)
    resumed = train(folder, epochs=4, resume=True)
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_damaged_run_folders(folder, tmp_path, info):
    def refused(sentence):
        with pytest.raises(InputError, match=sentence):
            eae.load(folder)

    with pytest.raises(InputError, match="nowhere does not exist; give the folder that train made"):
        eae.load(tmp_path / "nowhere")
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(r"weights\.safetensors is damaged or of another model")
    (folder / "weights.safetensors").unlink()
    refused(r"has no weights\.safetensors: .* \(a checkpoint to --resume from\)")
    shutil.rmtree(folder / "checkpoints")
    refused(r"has no weights\.safetensors: .* \(no checkpoint either\)")
    text = (folder / "run.json").read_text()
    lacking = [
        {k: v for k, v in info.items() if k != name} for name in ("source", "limit", "training_images_sha256")
    ]
    flat = {**info, "shape": [1, 8]}
    damages = (text[:100], "[]", "{}", "\x00", '{"recipe": "eae"}', *map(json.dumps, [*lacking, flat]))
    for damaged in damages:
        (folder / "run.json").write_text(damaged)
        refused(r"run\.json is damaged")
    (folder / "run.json").write_text(text.replace('"recipe": "eae"', '"recipe": "my-ae"'))
    refused("unknown recipe 'my-ae'")


def test_a_recipe_that_has_changed_is_told(folder, info):
    info["expanded"]["settings"]["kernel_size"] = 5
    info["expanded"]["bottleneck"] = "Identity"
    info.write()
    with pytest.raises(
        InputError, match="bottleneck was 'Identity' and is 'BatchNorm'; kernel_size was 5 and is 4"
    ):
        eae.load(folder)


def test_wrong_arguments_of_a_run(trained):
    with pytest.raises(InputError, match="unknown density 'guassian'; did you mean 'gaussian'"):
        trained.sample(2, density="guassian")
    with pytest.raises(InputError, match="number of samples must be a whole number of at least 1, got 0"):
        trained.sample(0)
    with pytest.raises(InputError, match=r"expected floats in \[0, 1\], got values from 0 to 255"):
        trained.encode(torch.arange(256.0).reshape(4, 1, 8, 8))
    with pytest.raises(
        InputError, match=r"expected uint8 images \(N, 1, 8, 8\), got uint8 of shape \(2, 3, 8, 8\)"
    ):
        trained.reconstruct(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"expected codes \(N, 8\), got shape \(2, 3\)"):
        trained.decode(torch.zeros(2, 3))
    with pytest.raises(InputError, match="no folder or file 'photos' here; unknown data set 'photos'"):
        trained.encode("photos")
    with pytest.raises(InputError, match="expected codes that are finite, got NaN or infinity"):
        trained.decode(torch.full((1, 8), torch.nan))
    codes = np.random.default_rng(0).standard_normal((2, 8))
    assert torch.equal(trained.decode(codes), trained.decode(torch.from_numpy(codes).float()))
    assert torch.equal(trained.decode(codes.tolist()), trained.decode(codes))
    with pytest.raises(InputError, match="n must be at least 2 images, got 1"):
        trained.evaluate(features="pixels", n=1)


def test_a_diverging_run_says_so_and_stays_loadable(tmp_path):
    with pytest.raises(InputError, match=r"(was|were) not finite in epoch"):
        train(tmp_path / "run", set={"width": 4, "learning_rate": 1e18}, epochs=5)
    if (tmp_path / "run" / "weights.safetensors").exists():
        eae.load(tmp_path / "run")
    else:
        with pytest.raises(InputError, match="training stopped before its first epoch ended"):
            eae.load(tmp_path / "run")


@pytest.mark.parametrize("recipe", ["2svae", "2seae"])
def test_a_two_stage_system_is_measured_with_its_second_stage(tmp_path, recipe):
    """The posterior's spread reaches the second stage, its settings too, and it is kept in the folder."""
    small = {"width": 4, "second-stage.hidden": 16, "second-stage.epochs": 2}
    run = eae.train(recipe, "digits", set=small, epochs=2, limit=300, out=tmp_path / "run", device="cpu")
    codes, std = run.codes
    assert codes.shape == (300, 8)
    assert (std is not None) == (recipe == "2svae")
    result = run.evaluate(features="pixels", n=50)
    assert list(result["distances"])[-3] == "second-stage"  # before the rows for scale
    kept = load_file(run.folder / "densities" / "second-stage.safetensors")
    assert (
        max(max(tensor.shape, default=0) for tensor in kept.values()) == 16 + 8
    )  # hidden and the input beside it
    again = eae.load(run.folder, device="cpu").sample(3, density="second-stage", seed=1)
    assert torch.equal(again, run.sample(3, density="second-stage", seed=1))


def test_image_size_is_an_argument_and_a_setting(tmp_path):
    """Both spellings give the same run.json; two sizes are refused."""
    options = {"epochs": 1, "limit": 50, "device": "cpu", "progress": False}
    small = {"width": 2, "latent_dim": 2}
    runs_ = [
        runs.train("ae", "digits", set=small, image_size=16, out=tmp_path / "argument", **options),
        runs.train("ae", "digits", set={**small, "image_size": "16"}, out=tmp_path / "setting", **options),
        runs.train(
            "ae", "digits", set={**small, "image_size": 16}, image_size=16, out=tmp_path / "both", **options
        ),
    ]
    for run in runs_:
        assert run.shape == (1, 16, 16)
        assert run.info["image_size"] == 16
        assert "image_size" not in run.info["overrides"]
    with pytest.raises(InputError, match="image_size was given twice, as 24 and as 16; give it once"):
        runs.train("ae", "digits", set={"image_size": 24}, image_size=16, out=tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


def test_scores_are_errors_and_exact_likelihoods(folder):
    """Against the reconstruction's error, the prior's density, and through a transport the change of variables."""
    run = eae.load(folder, device="cpu")
    images = run.data.test.images[:20]
    error, log_prob = run.score(images, density="prior")
    x = images.float() / 255
    with torch.no_grad():
        expected = (run.model.eval()(x).x_hat - x).square().sum((1, 2, 3)).double()
    torch.testing.assert_close(error, expected, rtol=1e-5, atol=1e-6)
    codes = run.encode(images).double()
    torch.testing.assert_close(log_prob, run.model.bottleneck.prior().log_prob(codes))
    assert log_prob.dtype == error.dtype == torch.float64
    mixture = run.score(images, density="mixture").log_prob
    torch.testing.assert_close(mixture, run.density("mixture").log_prob(codes))
    noise = torch.randint(256, images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert run.score(noise, density="prior").error.mean() > error.mean()
    with pytest.raises(InputError, match="'marginals' offers no likelihood; score by prior, mix"):
        run.score(images, density="marginals")
    transport = run.fit_transport("gaussian")
    mapped = run.score(images, density="prior")
    torch.testing.assert_close(mapped.log_prob, transport.log_prob(codes), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mapped.error, error, rtol=1e-3, atol=1e-3)
    by_mixture, density = run.score(images, density="mixture").log_prob, run.density("mixture")
    jacobian = torch.autograd.functional.jacobian(lambda one: transport(one[None])[0], codes[0])
    change = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(by_mixture[0], density.log_prob(transport(codes[:1]))[0] + change)


def test_codes_before_a_transport_are_those_without(folder):
    run = eae.load(folder, device="cpu")
    images = run.data.test.images[:20]
    codes, images_of, edited = run.encode(images), run.reconstruct(images), run.edit(images, 3, away=8)
    direction = run.direction(3, away=8)
    run.fit_transport("mixture", components=5)
    assert not torch.allclose(run.encode(images), codes, atol=0.1)
    assert torch.equal(run.encode(images, transported=False), codes)
    assert torch.equal(run.decode(codes, transported=False), images_of)
    torch.testing.assert_close(run.direction(3, away=8, transported=False), direction, rtol=0, atol=1e-4)
    assert (run.edit(images, 3, away=8).int() - edited.int()).abs().max() <= 1
    assert run.transport is not None


def test_likelihoods_near_the_faces_of_a_cube_are_exact(tmp_path):
    """Through a map to the codes of one class, those of others come nearer to a face than float32 can tell."""
    run = train(tmp_path / "run", set={"bottleneck": "cube", "latent_dim": 4, "width": 4}, epochs=1)
    images = run.data.test.images
    codes = run.encode(images).double()
    inner, some = run.model.bottleneck, run.encode(run.data.train.images[run.data.train.labels == 0])
    for kind in (GaussianTransport, MarginalsTransport):
        transport = kind.fit(some, inner.prior())
        run.model.bottleneck = eae.Transported(inner, transport).eval()
        found = run.score(images, density="prior").log_prob
        torch.testing.assert_close(found, transport.log_prob(codes), rtol=1e-12, atol=1e-12)
        assert found.isfinite().all()


def test_anomalies_are_compared_with_images_that_were_held_out(trained):
    """Ordinary images are called as often as the p-value says, and white ones always."""
    ordinary, white = trained.data.test.images, torch.full((2, 1, 8, 8), 255, dtype=torch.uint8)
    found = trained.anomalies(ordinary, density="mixture")
    assert torch.equal(torch.stack(found[:2]), torch.stack(trained.score(ordinary, density="mixture")))
    assert (found.p_value <= 0.1).double().mean() == pytest.approx(0.1, abs=0.06)
    assert trained.anomalies(white, density="mixture").p_value.max() <= 0.01
    alone = trained.anomalies(white[:1], density="mixture")  # whoever is scored in the same call
    company = trained.anomalies(torch.cat([white[:1], ordinary]), density="mixture")
    torch.testing.assert_close(torch.stack(alone), torch.stack(company)[:, :1], rtol=1e-5, atol=1e-5)
    again = trained.anomalies(ordinary, density="mixture", reference=trained.data.validation.images)
    assert torch.equal(again.surprise, found.surprise)
    by_hand = trained.anomalies(ordinary, density=trained.density("mixture"))
    assert torch.equal(by_hand.p_value, found.p_value)
    with pytest.raises(
        InputError, match="5 ordinary images are too few to say what is unusual, expected at least 20"
    ):
        trained.anomalies(ordinary, reference=ordinary[:5])


def test_what_a_recipe_does_after_training_is_done_before_pictures(tmp_path):
    """It gets the run, with the best weights, and its result is that of the folder."""
    seen = []

    def whiten(run):
        seen.append(
            (run.best_epoch, (run.folder / "weights.safetensors").exists(), list(run.folder.glob("*.png")))
        )
        run.fit_transport("gaussian")

    recipe = replace(eae.RECIPES["bn-ae"], name="whitened", after_training=whiten)
    run = train(tmp_path / "run", recipe=recipe, epochs=1)
    assert seen == [(1, True, [run.files.preview])]
    assert (run.folder / "samples-prior.png").exists()
    assert run.transport.name == "gaussian"
    covariance = torch.cov(run.encode(run.data.train.images).T)
    torch.testing.assert_close(covariance, torch.eye(8), atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="after_training must be a function of the run, got 3"):
        replace(recipe, after_training=3)
