"""The protocol: which images a split reads, and what counts as collapsed."""

import json

import pytest
import torch
from torch import nn

import entropic_ae as eae
from entropic_ae import runs
from entropic_ae.data import ImageData, Split, load_images
from entropic_ae.densities import Mixture, Prior
from entropic_ae.errors import InputError
from entropic_ae.evaluation import (
    classification_accuracy_score,
    evaluate,
    evaluate_in,
    labelled_samples,
    protocol,
)
from entropic_ae.evaluation.scale import blurred, number_needed, tells_apart
from entropic_ae.features import Features, classifier_accuracy, load_features
from entropic_ae.generation import decode, encode, encode_hidden, reconstruct
from entropic_ae.metrics import FrechetReference, frechet_distance, reconstruction_error, spread
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.storage.files import claimed

pytestmark = pytest.mark.usefixtures("brief")


def noise(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.randint(256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator), None)


class Unread:
    """A split that must not be looked at."""

    def __getattr__(self, name):
        pytest.fail(f"the split was read: {name}")


def data(**splits):
    own = {"train": noise(200, 0), "validation": noise(90, 1), "test": noise(120, 2)} | splits
    return ImageData(name="noise", source="noise", classes=None, **own)


@pytest.fixture(scope="module")
def model():
    built, _ = configure(RECIPES["eae"], PRESETS["digits"], {"width": 2}).build((1, 8, 8))
    return built


def measure(model, images, **options):
    densities = {"prior": Prior(model.bottleneck.prior())}
    return evaluate(model, images, densities, load_features("pixels", images), **{"n": 100} | options)


def test_the_validation_split_never_reads_the_test_images(model):
    images = data(test=Unread())
    result = measure(model, images, split="validation")
    validation, train = images.validation.images, images.train.images
    assert (result["split"], result["real_images"]) == ("validation", 90)
    assert "test_images" not in result
    assert {row["images"] for row in result["distances"].values()} == {result["number"]} == {90}
    pixels = load_features("pixels", images)
    floor = frechet_distance(pixels(validation), pixels(train[:90]))
    assert result["distances"]["held-out images"]["frechet"] == pytest.approx(floor, rel=1e-9)
    assert result["codes"]["n"] == 90
    assert "training images" not in result["distances"]  # they are the floor
    expected = reconstruction_error(validation, reconstruct(model, validation))
    assert result["reconstruction_error"] == pytest.approx(expected, rel=1e-4)


def test_the_test_split_is_the_default_and_its_floor_the_validation_images(model):
    images = data()
    result = measure(model, images)
    assert result == measure(model, images, split="test")
    assert (result["split"], result["real_images"]) == ("test", 120)
    pixels = load_features("pixels", images)
    floor = frechet_distance(pixels(images.test.images), pixels(images.validation.images))
    assert result["distances"]["held-out images"] | {"frechet": floor, "images": 90} == pytest.approx(
        result["distances"]["held-out images"]
    )
    assert list(result["distances"]) == [
        "held-out images", "training images", "reconstructions", "interpolations", "prior", "blurred images",
        "mean image",
    ]  # fmt: skip


def test_all_distances_are_of_as_many_images_as_the_smallest_group(model):
    for n, number in ((50, 50), (500, 90)):
        result = measure(model, data(), n=n)
        assert {row["images"] for row in result["distances"].values()} == {result["number"]} == {number}
        assert (result["n"], result["real_images"]) == (n, 120)


def shapes(n, seed):
    """Discs of two sizes anywhere on a dark ground, which a blur spoils."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    centre = 4 + 8 * torch.rand(n, 2, 1, 1, generator=generator)
    radius = 2 + torch.randint(2, (n, 1, 1), generator=generator)
    inside = (x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2 < radius**2
    return Split((inside * 255).to(torch.uint8)[:, None], None)


def test_distances_that_cannot_tell_real_images_from_spoilt_ones_are_withheld():
    """In pixels, of discs: too few images do not tell, and about as many as are said to be needed do."""

    def pixels(images):
        return images.flatten(1) / 255

    def floor_and_blurred(n):
        real, held_out = (pixels(shapes(n, seed).images) for seed in (0, 1))
        spoilt = pixels(blurred(shapes(n, 1).images))
        return FrechetReference(real), real, held_out, spoilt

    reference, real, held_out, spoilt = floor_and_blurred(24)
    assert not tells_apart(reference.estimate(held_out), reference.estimate(spoilt))
    needed = number_needed(real, held_out, spoilt)
    assert needed > 24
    reference, _, held_out, spoilt = floor_and_blurred(2 * needed)
    assert tells_apart(reference.estimate(held_out), reference.estimate(spoilt))


def test_a_generator_that_repeats_training_images_is_found():
    """By near-copies alone: by fidelity and coverage it is better than any other."""
    images = data(**{name: noise(200, seed) for seed, name in enumerate(("train", "validation", "test"))})
    pixels = [split.images.flatten(1) / 255 for split in (images.train, noise(200, 7))]
    drawn = {"copies": Fixed(pixels[0]), "new": Fixed(pixels[1])}
    rows = evaluate(plain(), images, drawn, load_features("pixels", images), n=200)["distances"]
    assert rows["copies"]["near_copies"] == 1
    assert rows["new"]["near_copies"] <= 0.05
    assert "near_copies" not in rows["reconstructions"]
    for name in ("precision", "recall", "coverage"):
        assert rows["copies"][name] == pytest.approx(rows["new"][name], abs=0.1)
    assert rows["held-out images"]["near_copies"] == pytest.approx(0.01, abs=0.005)  # what is expected
    near = rows["copies"]["neighbours"]
    assert near["samples"] == near["training_images"]
    assert near["distances"] == [0] * 10
    assert min(near["held_out"]) > 0
    seen = evaluate(plain(), images, drawn, load_features("pixels", images), n=200, trained_on=50)["distances"]
    assert seen["copies"]["near_copies"] == pytest.approx(0.25, abs=0.05)  # of a quarter of the images


def test_samples_are_shown_from_the_nearest_to_a_training_image_to_the_farthest():
    images, shown = (
        data(**{name: noise(30, seed) for seed, name in enumerate(("train", "validation", "test"))}),
        {},
    )
    pixels = images.train.images.flatten(1).float() / 255
    fades = torch.linspace(1, 0, 30)[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    drawn = {"fading": Fixed(fades[:, None] * pixels)}
    found = evaluate(
        plain(), images, drawn, load_features("pixels", images), n=30,
        show=lambda name, samples, training: shown.update({name: (samples, training)}),
    )["distances"]["fading"]  # fmt: skip
    near = found["neighbours"]
    assert "near_copies" not in found  # of so few held-out images
    assert near["distances"] == sorted(near["distances"])
    assert [fades.argmax().item(), fades.argmin().item()] == [near["samples"][i] for i in (0, -1)]
    samples, training = shown["fading"]
    assert torch.equal(training, images.train.images[near["training_images"]])
    between = (samples.double() - training.double()).flatten(1).norm(dim=1) / 255
    assert torch.allclose(between, torch.tensor(near["distances"]).double(), atol=1e-5)


def test_copies_are_told_from_images_that_were_not_trained_on(model):
    """On the validation split, where the floor is of training images."""
    row = measure(model, data(), split="validation")["distances"]["held-out images"]
    assert "near_copies" not in row  # 90 validation images are too few for one in a hundred
    many = data(validation=noise(120, 1))
    assert measure(model, many, split="validation")["distances"]["held-out images"]["near_copies"] < 0.02


def test_labels_are_told_from_codes():
    labelled = {
        name: Split(noise(200, seed).images // 4 + 100 * labels[:, None, None, None].to(torch.uint8), labels)
        for seed, name in enumerate(("train", "validation", "test"))
        for labels in [torch.arange(200) % 2]
    }
    result = measure(plain(), data(**labelled))
    assert (result["knn_accuracy"], result["probe_accuracy"]) == (1, 1)
    assert "knn_accuracy" not in measure(plain(), data())


def test_samples_that_are_real_images_teach_as_much_and_those_of_random_labels_nothing():
    digits = load_images("digits")
    some = digits.train.at(slice(320))
    shuffled = some.labels[torch.randperm(320, generator=torch.Generator().manual_seed(0))]
    same = classification_accuracy_score(some, some, digits.test)
    assert same["samples"] == same["real"] > 0.8
    wrong = classifier_accuracy(some._replace(labels=shuffled), digits.test)
    assert wrong == pytest.approx(0.1, abs=0.08)
    with pytest.raises(InputError, match="as many real images as samples, got 320 and 10; give equal numbers"):
        classification_accuracy_score(some.at(slice(10)), some, digits.test)
    with pytest.raises(InputError, match="needs images with labels"):
        classification_accuracy_score(some, some, Split(digits.test.images, None))


def test_samples_have_the_labels_of_the_real_images_beside_them():
    real = Split(noise(60, 0).images, torch.arange(60) % 3)
    densities = {label: Fixed(torch.full((60, 64), label / 4)) for label in range(3)}
    samples, chosen = labelled_samples(plain(), densities, real, 40, seed=1)
    assert torch.equal(samples.labels, chosen.labels)
    assert torch.equal((samples.images[:, 0, 0, 0] / 255 * 4).round().long(), samples.labels)
    assert len(samples.images) == 40
    assert all((real.images == image).flatten(1).all(1).any() for image in chosen.images)


def test_what_is_withheld_is_told(model):
    few = {name: noise(30, seed) for seed, name in enumerate(("train", "validation", "test"))}
    result = measure(model, data(**few))  # noise: the mean image is as far as other noise
    assert "mean image" in result["withheld"]["like_real"]
    assert "mean image" in result["kernel_withheld"]["like_real"]
    assert "withheld" not in measure(plain(), data(**{name: shapes8(400, seed) for seed, name in enumerate(few)}))
    told = {"held-out images": (0.0, 0.1), "blurred images": (0.3, 0.1), "mean image": (0.5, 0.1)}
    assert protocol._not_told(told) == ["blurred images"]  # nearer than four standard errors
    assert protocol._not_told({name: (value, 0.01) for name, (value, _) in told.items()}) == []


def shapes8(n, seed):
    return Split(torch.nn.functional.max_pool2d(shapes(n, seed).images.float(), 2).to(torch.uint8), None)


def test_several_spaces_share_one_set_of_images(model):
    images = data()
    densities = {"prior": Prior(model.bottleneck.prior())}
    flat = Features("flat", nn.Flatten(), 64)
    results = evaluate_in(model, images, densities, [load_features("pixels", images), flat], n=50)
    alone = measure(model, images, n=50)
    assert results["pixels"] == alone
    ratio = results["flat"]["distances"]["prior"]["frechet"] / alone["distances"]["prior"]["frechet"]
    assert ratio == pytest.approx(255**2, rel=1e-6)
    assert results["flat"]["diagnostics"] is results["pixels"]["diagnostics"]


def test_samples_alone_are_at_the_same_distances(model):
    whole, brief = measure(model, data()), measure(model, data(), samples_only=True)
    assert list(brief["distances"]) == ["held-out images", "prior"]
    assert brief == {name: whole[name] for name in brief} | {"distances": brief["distances"]}
    for name, distances in brief["distances"].items():
        assert distances == {key: whole["distances"][name][key] for key in distances}


def test_an_unknown_split_names_both(model):
    with pytest.raises(InputError, match="split must be test or validation, got 'train'"):
        measure(model, data(), split="train")


def test_the_model_is_left_as_it_was(model):
    model.train()
    state = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    measure(model, data())
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name][0])
        assert value.stride() == state[name][1]


class Same(nn.Module):
    """A decoder of one image."""

    def forward(self, z):
        return torch.full((len(z), 1, 8, 8), 0.5) + 0 * z.sum()


class Flat(nn.Module):
    """An encoder that looks at nothing."""

    def forward(self, x):
        return torch.ones(len(x), 8) + 0 * x.sum()


class Copy(nn.Module):
    """Pixels as codes, or codes as pixels."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.unused = nn.Parameter(torch.zeros(1))  # a model has a device by its parameters

    def forward(self, x):
        return x.reshape(len(x), *self.shape).clamp(0, 1)


def plain(encoder=None, decoder=None, latent_dim=64):
    model, _ = configure(RECIPES["ae"], PRESETS["digits"], {"latent_dim": latent_dim}).build((1, 8, 8))
    model.encoder = encoder or Copy((64,))
    model.decoder = decoder or Copy((1, 8, 8))
    return model


def test_a_model_that_copies_has_not_collapsed():
    result = measure(plain(), data())["collapse"]
    assert (result["active_codes"], result["latent_dim"], result["collapsed"]) == (64, 64, [])
    assert list(result["spread"]) == ["reconstructions", "interpolations", "prior"]
    assert result["spread"]["reconstructions"] == 1


def test_a_decoder_of_one_image_has_collapsed():
    result = measure(plain(decoder=Same()), data())["collapse"]
    assert result["spread"] == {"reconstructions": 0, "interpolations": 0, "prior": 0}
    assert result["collapsed"] == ["reconstructions", "interpolations", "prior"]


def test_an_encoder_of_one_code_has_collapsed(model):
    own = plain(encoder=Flat(), decoder=model.decoder, latent_dim=8)
    result = measure(own, data())["collapse"]
    assert result["active_codes"] == 0
    assert result["collapsed"][-1] == "codes"
    assert result["spread"]["reconstructions"] == 0


class Fixed(eae.Density):
    """Draws that are given."""

    def __init__(self, codes):
        self.codes = codes

    def sample(self, n, *, seed=0):  # noqa: ARG002
        return self.codes[:n]


def test_every_density_has_its_spread(model):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(50, 8, generator=generator)
    drawn = {"wide": Fixed(codes), "one": Fixed(codes[:1].expand(50, -1))}
    images = data()
    result = evaluate(model, images, drawn, load_features("pixels", images), n=50)["collapse"]
    assert result["spread"]["one"] == 0
    assert "one" in result["collapsed"]
    assert result["spread"]["wide"] > 0


def test_spread_is_against_the_images_of_the_split(model):
    images = data(test=Split(noise(120, 2).images // 4, None))
    on_test, on_validation = (measure(model, images, split=split) for split in ("test", "validation"))
    shown = reconstruct(model, images.test.images)
    assert on_test["collapse"]["spread"]["reconstructions"] == pytest.approx(
        spread(shown, images.test.images), rel=1e-2, abs=1e-6
    )
    # the prior's samples are the same: only the images beside them differ
    ratio = on_test["collapse"]["spread"]["prior"] / on_validation["collapse"]["spread"]["prior"]
    assert ratio == pytest.approx(spread(images.validation.images, images.test.images), rel=1e-9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return eae.train(
        "eae", "digits", epochs=1, limit=300, set={"width": 2}, device="cpu", progress=False,
        out=tmp_path_factory.mktemp("runs") / "run",
    )  # fmt: skip


def test_a_run_keeps_its_splits_apart(run):
    test = run.evaluate(features="pixels", n=40, densities=["prior"])
    validation = run.evaluate(features="pixels", n=40, densities=["prior"], split="validation")
    kept = json.loads((run.folder / "metrics.json").read_text())
    assert kept == {"pixels": test, "pixels (validation)": validation}
    assert test["features"] == validation["features"] == "pixels"
    assert test["distances"]["prior"] != validation["distances"]["prior"]


def test_a_classifier_is_trained_on_samples_when_asked(run):
    options = {"features": "pixels", "n": 40, "densities": ["prior"], "train_on_samples": True}
    score = run.evaluate(**options)["classification_accuracy"]
    assert (score["density"], score["images"]) == ("gaussian", 40)
    assert 0 <= score["samples"] <= 1
    assert json.loads((run.folder / "metrics.json").read_text())["pixels"]["classification_accuracy"] == score


def test_what_another_process_measures_meanwhile_is_kept(run, monkeypatch):
    def meanwhile(*arguments, **options):
        monkeypatch.undo()
        eae.load(run.folder, device="cpu").evaluate(features="pixels", n=30, densities=["prior"], seed=5)
        return measure(*arguments, **options)

    measure = runs.measuring.evaluation.evaluate_in
    monkeypatch.setattr(runs.measuring.evaluation, "evaluate_in", meanwhile)
    mine = run.evaluate(features="pixels", n=30, densities=["prior"], split="validation")
    kept = json.loads((run.folder / "metrics.json").read_text())
    assert kept["pixels (validation)"] == mine
    assert kept["pixels"]["seed"] == 5


def test_metrics_wait_for_a_process_that_writes_them(run, monkeypatch):
    soon = lambda path, taken, wait: claimed(path, taken, wait / 1000)  # noqa: E731
    monkeypatch.setattr("entropic_ae.storage.run_folder.claimed", soon)
    with (
        claimed(run.folder / ".metrics.lock", ""),
        pytest.raises(InputError, match="has been locked by another process for a minute; try again"),
    ):
        run.evaluate(features="pixels", n=30, densities=["prior"])


def test_a_run_keeps_nothing_of_what_is_measured_of_its_samples_alone(run):
    run.evaluate(features="pixels", n=40, densities=[])
    before = (run.folder / "metrics.json").read_text()
    result = run.evaluate(features="pixels", n=50, split="validation", samples_only=True, densities=("prior",))
    assert list(result["distances"]) == ["held-out images", "prior"]
    assert (run.folder / "metrics.json").read_text() == before


def test_a_run_measures_the_densities_that_are_named(run):
    made = ["reconstructions", "interpolations"]
    for densities in (["gaussian", "prior"], [], None):
        result = run.evaluate(features="pixels", n=40, densities=densities)
        drawn = ["prior", "gaussian", "mixture"] if densities is None else densities
        given = ["held-out images", "training images"], ["blurred images", "mean image"]
        assert list(result["distances"]) == [*given[0], *made, *drawn, *given[1]]
        assert list(result["collapse"]["spread"]) == made + drawn


def test_compiled_networks_measure_the_same_and_leave_no_trace(run, monkeypatch):
    compile_network, calls = nn.Module.compile, []
    monkeypatch.setattr(
        nn.Module, "compile", lambda self: (calls.append(self), compile_network(self, backend="eager"))
    )
    plain = run.evaluate(features="pixels", n=50)
    compiled = run.evaluate(features="pixels", n=50, compile=True)
    assert calls == [run.model.encoder, run.model.decoder]
    assert compiled == plain
    assert all(network._compiled_call_impl is None for network in calls)


def test_wrong_names_are_told_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr(runs.measuring, "load_features", lambda *_, **__: pytest.fail("measuring"))
    with pytest.raises(InputError, match="unknown density 'guassian'; did you mean 'gaussian'"):
        run.evaluate(features="pixels", densities=["prior", "guassian"])
    with pytest.raises(InputError, match="split must be test or validation, got 'train'"):
        run.evaluate(features="pixels", split="train")


def test_the_diagnostics_of_codes(model):
    images = data()
    result = measure(model, images, batch_size=40)["diagnostics"]
    assert result["prior"] == "N(0, I)"
    assert result["n"] == 120
    assert result["verdict"].startswith("codes: ")
    own, others = result["error_from_own_codes"], result["error_from_others_codes"]
    codes = encode(model, images.test.images)
    assert own == pytest.approx(reconstruction_error(images.test.images, decode(model, codes)))
    assert others == pytest.approx(own, rel=0.05)  # untrained: the codes say next to nothing
    assert result["verdict"].endswith(
        "; but the decoder ignores codes: an image is rebuilt hardly better from its own than from another's"
    )
    hidden = encode_hidden(model, images.test.images)
    minibatch = result["minibatch"]
    assert minibatch["largest_std"] == pytest.approx(codes.std(0).max().item(), rel=1e-5)
    # untrained running statistics are mean 0 and variance 1, so the codes are the hidden values themselves
    torch.testing.assert_close(codes, hidden, rtol=1e-4, atol=1e-4)
    standard = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    about = (standard - codes).square().mean().sqrt().item()
    assert minibatch["rms_change"] == pytest.approx(about, rel=0.2)  # the minibatch's statistics are noisier


def test_a_mixture_bounds_the_divergence_from_below(model):
    images = data()
    codes = encode(model, images.train.images)
    mixture = Mixture.fit(codes, model.bottleneck.prior(), components=2)
    space = load_features("pixels", images)
    result = evaluate(model, images, {"mixture": mixture}, space, n=50)["diagnostics"]
    held_out = encode(model, images.test.images)
    gain = mixture.log_prob(held_out) - model.bottleneck.prior().log_prob(held_out)
    assert result["lower_bounds"] == {"the likelihood under the mixture": pytest.approx(gain.mean().item())}


def test_systems_without_minibatch_statistics_and_with_posteriors_are_diagnosed_too():
    for recipe in ("ae", "vae"):
        built, _ = configure(RECIPES[recipe], PRESETS["digits"], {"width": 2}).build((1, 8, 8))
        result = measure(built, data())["diagnostics"]
        assert result["minibatch"] is None
        assert result["p_values"]["moments"] < 0.01  # untrained codes have no reason to be N(0, I)


def test_too_few_codes_are_not_diagnosed(model):
    result = measure(model, data(test=noise(30, 2)))
    assert "verdict" not in result["diagnostics"]
