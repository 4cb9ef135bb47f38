"""The DINOv2 features on small networks with random weights; they need the extra dino."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from entropic_ae.autoencoder import Trace
from entropic_ae.errors import InputError
from entropic_ae.features import FEATURES, check_features, dino, feature_network, load_features
from entropic_ae.features.dino import _REPOSITORY, _REVISION, _resized
from entropic_ae.storage.files import write_json
from entropic_ae.terms import FeatureError
from hub_stand_in import Hub

DATA = SimpleNamespace(name="noise")


def noise(n, seed, channels=3, height=16, width=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def network():
    """A network of two layers whose images have 2 x 2 patches of 14 pixels."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=28, initializer_range=0.5
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.Dinov2Model(config).eval()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino")
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the folder that a test may damage."""
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((saved / file).read_bytes())
    return tmp_path


def test_features_are_the_class_token_of_the_resized_image(network, saved, capfd):
    state = torch.get_rng_state()
    features = load_features("dino", DATA, weights=saved)
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")
    assert (features.name, features.dim) == ("dino", 12)
    images = noise(3, 0, height=224, width=224)
    x = (images / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        expected = network(pixel_values=x).last_hidden_state[:, 0]
    assert expected.std(0).min() > 1e-3
    torch.testing.assert_close(features(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (300, 250)])
def test_images_are_resized_as_pillow_does(height, width):
    image = noise(1, 1, height=height, width=width)
    channels = [
        Image.fromarray(channel.float().numpy()).resize((224, 224), Image.Resampling.BICUBIC)
        for channel in image[0]
    ]
    expected = torch.stack([torch.from_numpy(np.array(channel)) for channel in channels]) / 255
    torch.testing.assert_close(_resized(image / 255)[0], expected.clamp(0, 1), rtol=0, atol=1e-4)


def test_grey_is_repeated_and_other_channels_are_refused(saved):
    features = load_features("dino", DATA, weights=saved)
    grey = noise(2, 2, channels=1, height=28, width=20)
    torch.testing.assert_close(features(grey), features(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(InputError, match="1 or 3 channels, got 4"):
        features(noise(1, 0, channels=4))


def test_features_do_not_depend_on_batches(saved):
    features = load_features("dino", DATA, weights=saved)
    images = noise(34, 1)  # more than one internal batch
    apart = torch.cat([features(part) for part in images.split(13)])
    torch.testing.assert_close(features(images), apart, rtol=1e-4, atol=1e-5)


def test_weights_under_their_published_names_are_read(network, folder):
    """The published file has the names of older releases of transformers."""
    features = load_features("dino", DATA, weights=folder)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    old = {
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
    }
    for new, published in old.items():
        state = {name.replace(new, published): value for name, value in state.items()}
    assert "encoder.layer.0.attention.attention.query.weight" in state
    safetensors.torch.save_file(state, folder / "model.safetensors")
    again = load_features("dino", DATA, weights=folder)
    assert torch.equal(again(noise(2, 3)), features(noise(2, 3)))


def test_layers_for_a_feature_error(network, saved, monkeypatch):
    """The patches of both layers, with gradients back to the image; all weights are random."""
    monkeypatch.setattr(dino, "_download", lambda _: saved)
    data = SimpleNamespace(name="grey", shape=(1, 16, 16))
    layers = feature_network("dino", data)
    x = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wide = (x - mean[:, None, None]) / std[:, None, None]
    expected = network(pixel_values=wide, output_hidden_states=True).hidden_states[1:]
    found = layers(x)
    assert [one.shape for one in found] == [(2, 12, 16, 16)] * 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flatten(2).transpose(1, 2), other[:, 1:], rtol=1e-4, atol=1e-5)
    error = FeatureError(network="dino").prepared(lambda name: feature_network(name, data))
    y = torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
    error(None, Trace(torch.rand(2, 1, 16, 16), None, y)).backward()
    assert y.grad.abs().sum() > 0
    with pytest.raises(InputError, match="takes images of 1 or 3 channels, got 2; use random"):
        feature_network("dino", SimpleNamespace(name="two", shape=(2, 16, 16)))


def test_without_the_weights_a_training_says_how_to_get_them(network, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network.")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=r"downloaded \(no network\); go online, or copy the Hub's cache"):
        feature_network("dino", SimpleNamespace(name="grey", shape=(1, 16, 16)))


def test_half_precision_weights_are_computed_in_float32(folder):
    state = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file(
        {name: value.half() for name, value in state.items()}, folder / "model.safetensors"
    )
    features = load_features("dino", DATA, weights=folder)
    assert {value.dtype for value in features.network.state_dict().values()} == {torch.float32}
    assert features(noise(2, 0)).isfinite().all()


def test_nothing_but_the_architecture_is_taken_from_the_configuration(folder):
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "config.json",
        config | {"auto_map": {"AutoModel": "code.py"}, "attn_implementation": "someone/kernels"},
    )
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "adapter_config.json").write_text("{}")
    assert load_features("dino", DATA, weights=folder).dim == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "vit"}, "must be of the model_type 'dinov2', got 'vit'"),
        ({"hidden_size": "12"}, "config.json is damaged: hidden_size is '12', expected a whole number"),
        ({"num_hidden_layers": 1}, "does not hold the weights of the network in config.json"),
        ({"num_hidden_layers": 3}, "does not hold the weights of the network in config.json"),
        ({"hidden_size": 24}, "does not hold the weights of the network in config.json"),
        ({"num_attention_heads": 0}, "does not hold the weights of the network in config.json"),
    ],
)
def test_another_configuration_is_refused(folder, change, message):
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | change)
    with pytest.raises(InputError, match=message):
        load_features("dino", DATA, weights=folder)


def test_weights_of_another_network_and_damaged_files_are_refused(folder):
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    del state["layernorm.weight"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(
        InputError, match=r"does not hold the weights .*layernorm\.weight.*both files of one DINOv2"
    ):
        load_features("dino", DATA, weights=folder)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model.safetensors is damaged \(.*fetch it again"):
        load_features("dino", DATA, weights=folder)
    path.unlink()
    with pytest.raises(
        InputError, match=r"model.safetensors cannot be read \(No such file.*folder of config.json"
    ):
        load_features("dino", DATA, weights=folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is not JSON"):
        load_features("dino", DATA, weights=folder)
    with pytest.raises(InputError, match=r"config.json cannot be read \(.*folder of config.json"):
        load_features("dino", DATA, weights=path)


def test_weights_are_downloaded_once_at_a_fixed_commit(saved, tmp_path, monkeypatch):
    files = {file: (saved / file).read_bytes() for file in ("config.json", "model.safetensors")}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    expected = load_features("dino", DATA, weights=saved)(noise(2, 0))
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.put(_REPOSITORY, {**files, "pytorch_model.bin": b"a pickle"})
        hub.repositories[_REPOSITORY].branches[_REVISION] = hub.repositories[_REPOSITORY].branches["main"]
        assert torch.equal(load_features("dino", DATA)(noise(2, 0)), expected)
        assert {path for _, path in hub.requests} == {
            f"/{_REPOSITORY}/resolve/{_REVISION}/{file}" for file in files
        }


@pytest.mark.parametrize("offline", [True, False])
def test_a_failed_download_names_both_ways_out(offline, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    with Hub() as hub:  # which has no such repository
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(
            InputError, match=rf"could not be downloaded .*go online, .*{_REVISION}.*--weights FOLDER"
        ):
            load_features("dino", DATA)


def test_without_its_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert FEATURES["dino"].takes_weights
    for call in (check_features, load_features):
        with pytest.raises(InputError, match=r"pip install 'entropic-ae\[dino\]'"):
            call("dino", DATA)
