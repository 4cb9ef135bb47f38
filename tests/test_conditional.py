"""Conditional systems: encoder and decoder get the label of each image, codes and prior do not depend on it."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import entropic_ae as eae
from entropic_ae import InputError, Split, generation
from entropic_ae.autoencoder import LabelEmbedding
from entropic_ae.data import ImageData
from entropic_ae.evaluation import labelled_samples
from entropic_ae.explore import Explorer
from entropic_ae.metrics.diagnostics import LEVEL
from entropic_ae.recipes import PRESETS, RECIPES, compared, configure

SMALL = {"width": 2, "batch_size": 20}
OPTIONS = {"limit": 100, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return eae.train("c-eae", "digits", set=SMALL, epochs=2, out=tmp_path_factory.mktemp("c") / "run", **OPTIONS)


def tones(n, seed, classes=2):
    """Images of one tone: that of their class, and a little of their own."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=source)
    own = torch.randint(40, (n, 1, 1, 1), generator=source)
    return Split((200 * labels.view(-1, 1, 1, 1) + own).expand(-1, 1, 8, 8).to(torch.uint8).contiguous(), labels)


def test_vectors_of_labels_are_planes_beside_images_and_values_beside_codes():
    embedding = LabelEmbedding(3)
    labels = torch.tensor([2, 0])
    images, codes = torch.rand(2, 1, 8, 8), torch.rand(2, 4)
    beside = embedding.beside_images(images, labels)
    assert torch.equal(beside[:, :1], images)
    assert torch.equal(beside[0, 1:], embedding.table.weight[2][:, None, None].expand(3, 8, 8))
    assert torch.equal(
        embedding.beside_codes(codes, labels), torch.cat([codes, embedding.table.weight[[2, 0]]], 1)
    )
    assert LabelEmbedding(1000).size == 16


def test_labels_are_drawn_with_the_frequencies_of_training_and_without_the_numbers_of_codes():
    embedding = LabelEmbedding(3)
    embedding.count(torch.tensor([0] * 1 + [2] * 3))
    drawn = embedding.draw(20_000, seed=1)
    assert torch.equal(drawn, embedding.draw(20_000, seed=1))
    shares = torch.bincount(drawn, minlength=3) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.0, 0.75]), atol=0.01, rtol=0)
    codes = torch.randn(20_000, generator=torch.Generator().manual_seed(1))  # as a density draws them
    assert abs(codes[drawn == 0].mean() - codes[drawn == 2].mean()) < 4 / (20_000 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (None, "needs one for each image, from 0 to 2; give them"),
        ([0, 1], r"labels \(3,\), one for each image, got torch.int64 of shape \(2,\)"),
        ([0.0, 1.0, 2.0], r"whole-numbered labels \(3,\)"),
        ([0, 1, 3], "from 0 to 2, got 0 to 3"),
        ([0, -1, 2], "from 0 to 2, got -1 to 2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, sentence):
    with pytest.raises(InputError, match=sentence):
        LabelEmbedding(3).checked(labels, 3)


def test_the_decoder_knows_the_class_that_the_code_does_not_tell(tmp_path):
    """A code of one number can hold the own tone of an image only if the label tells the rest."""
    data = ImageData("tones", tones(400, 0), tones(100, 1), tones(100, 2), classes=2)
    small = {"width": 4, "latent_dim": 1, "batch_size": 50, "learning_rate": 0.01, "ema": 0}
    run = eae.train("c-bn-ae", data, set=small, epochs=12, out=tmp_path / "run", device="cpu", progress=False)
    dark, bright = (run.sample(50, label=label).float().mean((1, 2, 3)) for label in (0, 1))
    assert dark.max() < 100 < bright.min()
    images, labels = data.test
    other = run.edit(images, 1, labels=labels).float().mean((1, 2, 3))
    assert other.min() > 100
    moved = run.interpolate(images[:5], images[5:10], steps=4, labels=0, end_labels=1).float().mean((2, 3, 4))
    assert moved[:, :2].max() < 100 < moved[:, 2:].min()
    samples, chosen = labelled_samples(run.model, {0: run.density("prior")}, data.train, 60, seed=0)
    assert torch.equal(samples.labels, chosen.labels)
    assert torch.equal(samples.images.float().mean((1, 2, 3)) > 100, chosen.labels == 1)


def test_samples_have_the_labels_that_are_drawn_or_given(run):
    labels = run.draw_labels(30, seed=4)
    drawn = run.sample(30, seed=4)
    assert torch.equal(drawn, run.sample(30, seed=4, label=labels))
    assert not torch.equal(drawn, run.sample(30, seed=4, label=labels.roll(1)))
    codes = run.density("prior").sample(30, seed=4)
    assert torch.equal(drawn, run.decode(codes, labels=labels))
    assert torch.equal(run.sample(5, label=3), run.decode(run.density("prior").sample(5), labels="3"))
    assert torch.equal(run.sample(3, label=["1", "0", 2]), run.sample(3, label=[1, 0, 2]))
    assert torch.equal(
        run.sample(9, label=3, density="gaussian"), run.sample(9, label=3, density=run.density("gaussian"))
    )


def test_a_conditional_run_needs_labels_and_others_take_none(run, plain):
    images, labels = run.data.test.at(slice(10))
    needs = "is conditional and needs the label of each image; give it .* one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    for use in (run.encode, run.reconstruct, run.score, lambda x: run.interpolate(x, x)):
        with pytest.raises(InputError, match=needs):
            use(images)
    with pytest.raises(InputError, match="unknown label 'seven'; known: 0, 1"):
        run.encode(images, labels="seven")
    with pytest.raises(InputError, match="from 0 to 9, got 12 to 12"):
        run.sample(2, label=12)
    with pytest.raises(
        InputError, match="its codes have no direction for it; edit images by decoding them with another label"
    ):
        run.direction(3)
    with pytest.raises(InputError, match="has no strength"):
        run.edit(images, 3, strength=2, labels=labels)
    with pytest.raises(InputError, match="is not conditional: it encodes and decodes without labels"):
        plain.encode(images, labels=labels)
    with pytest.raises(InputError, match="its samples have no labels of their own"):
        plain.draw_labels(3)


def test_data_without_labels_are_refused_before_training(tmp_path):
    images = np.zeros((40, 8, 8), np.uint8)
    with pytest.raises(InputError, match=r"c-eae needs the label of each image, .* folder for each class"):
        eae.train("c-eae", images, out=tmp_path / "run", **OPTIONS)
    with pytest.raises(InputError, match="at least 2 classes, got 1"):
        eae.train("c-eae", (images, [0] * 40), out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_run_is_loaded_and_resumed_to_the_bit_and_not_with_other_labels(run, tmp_path):
    images, labels = run.data.test
    loaded = eae.load(run.folder)
    assert loaded.classes == tuple("0123456789")
    assert torch.equal(loaded.encode(images, labels=labels), run.encode(images, labels=labels))
    assert torch.equal(loaded.sample(10), run.sample(10))
    first = eae.train("c-eae", "digits", set=SMALL, epochs=1, out=tmp_path / "run", **OPTIONS)
    data = replace(first.data, train=first.data.train._replace(labels=first.data.train.labels.roll(1)))
    with pytest.raises(InputError, match="cannot be resumed with other settings"):
        eae.train(
            "c-eae", data, set=SMALL, epochs=2, out=tmp_path / "run", preset="digits", resume=True, **OPTIONS
        )
    again = eae.train("c-eae", "digits", set=SMALL, epochs=2, out=tmp_path / "run", resume=True, **OPTIONS)
    assert again.files.weights_sha256() == run.files.weights_sha256()
    tuned = eae.train(start_from=again.folder, epochs=1, out=tmp_path / "tuned", **OPTIONS)
    assert tuned.info.recipe == "c-eae"
    with pytest.raises(InputError, match=r"the labels of the training images of .* are not those"):
        _ = eae.load(run.folder, data=data).data


def test_pictures_and_metrics_are_of_the_labels(run):
    result = run.evaluate(features="pixels", n=50)
    images, labels = run.data.test
    rebuilt = generation.decode(run.model, run.encode(images, labels=labels), labels)
    assert torch.equal(rebuilt, run.reconstruct(images, labels=labels))
    assert result["reconstruction_error"] == pytest.approx(eae.reconstruction_error(images, rebuilt))
    assert {"reconstructions.png", "interpolations.png"} <= {path.name for path in run.folder.iterdir()}
    run.fit_transport("gaussian")
    assert torch.equal(run.reconstruct(images, labels=labels), rebuilt)
    run.remove_transport()


def test_graphs_take_the_label_beside_images_codes_and_noise(run):
    pytest.importorskip("onnx")
    images, labels = run.data.test.at(slice(20))
    for path in run.export("onnx", densities=["prior", "gaussian"]):
        session = onnxruntime.InferenceSession(path)
        assert [one.name for one in session.get_inputs()][1:] == ["label"]
        assert session.get_inputs()[1].type == "tensor(int64)"
        assert session.get_inputs()[1].shape == ["N"]
    folder = run.folder / "onnx"
    given = {"images": (images / 255).numpy(), "label": labels.numpy()}
    (codes,) = onnxruntime.InferenceSession(folder / "encoder.onnx").run(None, given)
    torch.testing.assert_close(torch.from_numpy(codes), run.encode(images, labels=labels), atol=1e-4, rtol=0)
    noise = torch.randn(20, 8)
    sampler = onnxruntime.InferenceSession(folder / "sampler-prior.onnx")
    drawn, _ = sampler.run(None, {"noise": noise.numpy(), "label": labels.numpy()})
    expected = run.decode(noise, labels=labels).float()
    torch.testing.assert_close(torch.from_numpy(255 * drawn), expected, atol=0.51, rtol=0)


def test_layers_of_safetensors_append_the_label(run):
    import json

    run.export("safetensors")
    described = json.loads((run.folder / "safetensors" / "model.json").read_text())
    assert described["label"] == {"shape": [], "classes": 10}
    assert described["encoder"]["layers"][0] == {"op": "append_label_planes", "table": "labels.table"}
    assert described["decoder"]["layers"][0] == {"op": "append_label", "table": "labels.table"}
    assert {"append_label", "append_label_planes"} <= set(described["operations"])


class Flat(nn.Module):
    """A custom encoder that knows nothing of labels."""

    def __init__(self, shape, features):
        super().__init__()
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], features)

    def forward(self, x):
        return self.linear(x.flatten(1))


def test_custom_networks_and_those_of_every_preset_take_labels():
    recipe = replace(RECIPES["c-vae"], name="mine", encoder=partial(Flat))
    for name in ("digits", "mlp"):
        model, _ = configure(recipe, PRESETS[name]).build((1, 8, 8), classes=4)
        trace = model(torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 3]))
        assert trace.x_hat.shape == (3, 1, 8, 8)
        assert trace.code.z.shape == (3, 8)
        with pytest.raises(InputError, match="needs one for each image"):
            model(torch.rand(3, 1, 8, 8))


def test_systems_are_compared_without_the_conditional_ones():
    assert [name for name in RECIPES if name not in compared()] == ["c-bn-ae", "c-eae", "c-vae", "q-ae", "q-eae"]


def test_commands_take_the_names_of_classes(run, call, tmp_path):
    folder = run.folder
    code, out, _ = call("sample", folder, "--label", 3, "--label", "5", "--n", 2)
    assert (code, out) == (0, f"{folder / 'labels-prior-3-5.png'}\n")
    assert "unknown label 'threee'" in call("sample", folder, "--label", "threee")[2]
    assert call("reconstruct", folder, "--n", 4)[0] == call("interpolate", folder, "--n", 2)[0] == 0
    assert call("score", folder, "--out", tmp_path / "scores.csv")[0] == 0
    assert "is conditional and needs the label" in call("reconstruct", folder, "digits")[2]
    assert call("reconstruct", folder, "digits", "--label", 2, "--out", tmp_path / "a.png")[0] == 0
    assert "whose labels are known" in call("reconstruct", folder, "--label", 2)[2]


def test_a_conditional_run_shows_reconstructions_with_their_labels(run):
    assert run.show(4).size[0] > 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return eae.train("eae", "digits", set=SMALL, epochs=1, out=tmp_path_factory.mktemp("p") / "run", **OPTIONS)


def test_directions_are_differences_of_mean_codes(plain):
    codes, labels = plain.codes[0].double(), plain.data.train.labels
    between = plain.direction(3, away=8)
    torch.testing.assert_close(between.double(), codes[labels == 3].mean(0) - codes[labels == 8].mean(0))
    torch.testing.assert_close(between, -plain.direction("8", away="3"))
    torch.testing.assert_close(
        plain.direction(3).double(), codes[labels == 3].mean(0) - codes[labels != 3].mean(0)
    )
    images = plain.data.test.images[:6]
    assert torch.equal(plain.edit(images, 3, strength=0), plain.reconstruct(images))
    moved = plain.edit(images, 3, away=8, strength=0.7)
    assert torch.equal(moved, plain.decode(plain.encode(images) + 0.7 * between))


def test_directions_that_are_none_are_refused(plain, monkeypatch):
    for wrong, sentence in (
        ({"toward": 3, "away": "3"}, "between two labels, got 3 twice"),
        ({"toward": 12}, "no training images of label 12"),
        ({"toward": "three"}, "unknown label 'three'"),
    ):
        with pytest.raises(InputError, match=sentence):
            plain.direction(**wrong)
    with pytest.raises(InputError, match="strength must be a finite number, got nan"):
        plain.edit(plain.data.test.images[:2], 3, strength=float("nan"))
    data = plain.data
    monkeypatch.setitem(vars(plain), "data", replace(data, train=data.train._replace(labels=None)))
    with pytest.raises(InputError, match="a direction toward 3 needs images of two labels"):
        plain.direction(3)


def test_edit_draws_a_row_of_each_image(plain, run, call, tmp_path):
    assert (
        call("edit", plain.folder, "--toward", 3, "--away", 8, "--n", 4)[1] == f"{plain.folder / 'edits-3.png'}\n"
    )
    out = tmp_path / "own.npz"
    assert call("edit", plain.folder, "--toward", 3, "--away", 8, "--n", 2, "--steps", 3, "--out", out)[0] == 0
    rows = np.load(out)["images"]
    eights = plain.data.test.images[plain.data.test.labels == 8][:2]
    assert np.array_equal(rows.reshape(2, 4, 1, 8, 8)[:, 0], eights)
    assert np.array_equal(rows.reshape(2, 4, 1, 8, 8)[:, 3], plain.edit(eights, 3, away=8))
    assert call("edit", run.folder, "--toward", 3, "--n", 2, "--out", tmp_path / "c.png")[0] == 0
    assert "expects --toward LABEL" in call("edit", run.folder)[2]


def test_the_page_asks_with_labels(run, plain):
    explorer = Explorer(run)
    assert explorer.conditional
    assert explorer.classes() == dict(enumerate("0123456789"))
    assert torch.equal(explorer.sample("prior", 5, seed=2), run.sample(5, seed=2))
    assert torch.equal(explorer.sample("prior", 5, seed=2, label=3), run.sample(5, seed=2, label=3))
    image, label = explorer.test_image(4), explorer.label_of(4)
    rebuilt = run.reconstruct(image[None], labels=label)[0]
    assert torch.equal(explorer.reconstruct(image, label).x_hat, rebuilt)
    assert torch.equal(explorer.walk([0.0], image, start_label=label, label=label), rebuilt)
    assert torch.equal(
        explorer.walk([0.0], image, start_label=label, label=3), run.edit(image[None], 3, labels=label)[0]
    )
    assert torch.equal(
        explorer.interpolate(image, image, steps=2, kind="linear", labels=(label, label))[1], rebuilt
    )
    assert explorer.map().labels[:3] == run.data.test.labels[:3].tolist()
    other = Explorer(plain)
    assert not other.conditional
    moved = other.walk([0.0], image, toward=(3, 1.0))
    assert torch.equal(moved, plain.edit(image[None], 3)[0])
    assert torch.equal(other.walk([0.0], image, toward=(3, 0.0)), plain.reconstruct(image[None])[0])


def test_evaluate_says_whether_codes_still_tell_the_label(run):
    """After two epochs of 100 images they may; the verdict in words has the same figures."""
    diagnostics = run.evaluate(features="pixels", n=100)["diagnostics"]
    told = diagnostics["labels"]
    assert 0 <= told["p_value"] <= 1
    assert told["entropy"] == pytest.approx(math.log(10), abs=0.05)
    how = "tell" if told["p_value"] <= LEVEL else "are not told to depend on"
    assert (
        f"codes {how} the label ({told['information']:.2f} of its {told['entropy']:.2f} nats)"
        in diagnostics["verdict"]
    )
