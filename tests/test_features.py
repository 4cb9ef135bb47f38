"""Feature spaces on small synthetic images; the Inception tests are in tests/fid."""

import re
import sys
import warnings
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from entropic_ae import load_images
from entropic_ae.errors import InputError
from entropic_ae.features import FEATURES, Features, FeatureSpace, check_features, load_features
from entropic_ae.features.classifier import _Classifier

TRAIN = "entropic_ae.features.classifier._train_classifier"


@dataclass(frozen=True)
class Split:
    images: torch.Tensor
    labels: torch.Tensor | None


@dataclass(frozen=True)
class Data:
    """What features use of an ImageData."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int | None


def bars(n, seed, channels=1, side=8):
    """Noisy images with a bright bar; its place is the class, one of four."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=generator)
    images = torch.randint(0, 100, (n, channels, side, side), generator=generator, dtype=torch.uint8)
    rows = torch.arange(side) // (side // 4)
    bar = (rows[None, :] == labels[:, None])[:, None, :, None]
    return Split(torch.where(bar, images + 120, images), labels)


def make(channels=1, side=8, n=256):
    train, validation, test = (bars(m, seed, channels, side) for seed, m in enumerate((n, 64, 64)))
    return Data("bars/4 classes", train, validation, test, 4)


@pytest.fixture
def data():
    return make()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One trained classifier, and the folder that it was cached in."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTROPIC_AE_CACHE", str(folder))
        state = torch.get_rng_state()
        features = load_features("classifier", make())
        assert torch.equal(torch.get_rng_state(), state)
    return features, folder


def script(tmp_path, network, name="net.pt"):
    path = tmp_path / name
    with warnings.catch_warnings():  # torch deprecates writing TorchScript, not reading it
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(path)
    return str(path)


class Means(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean(dim=(2, 3))


class Maps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean(dim=3)


class OneRow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean().reshape(1, 1)


class Needs(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().reshape(-1, 7777)


def untrained(split, classes):
    torch.manual_seed(0)
    return _Classifier(tuple(split.images.shape[1:]), classes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*FEATURES, "net.pt"])
def test_contract(name, channels, cache, tmp_path, monkeypatch):
    """Every space: (N, F) finite numbers of grey and of colour images, however they come in batches."""
    monkeypatch.setattr(TRAIN, untrained)
    data = make(channels)
    source = script(tmp_path, Means(), name) if name not in FEATURES else name
    try:
        check_features(source, data)
    except InputError as refused:  # its extra is not installed
        with pytest.raises(InputError, match=re.escape(str(refused))):
            load_features(source, data)
        pytest.skip(str(refused))
    if name in FEATURES and FEATURES[name].takes_weights:
        pytest.skip("its weights are a download: tests/fid, tests/test_dino.py")
    space = load_features(source, data)
    assert space.name == name
    images = data.test.images
    features = space(images)
    assert (features.dtype, features.shape) == (torch.float32, (len(images), space.dim))
    assert features.isfinite().all()
    assert space(images[:0]).shape == (0, space.dim)
    parts = torch.cat([space(part) for part in images.split(5)])
    torch.testing.assert_close(parts, features, rtol=1e-5, atol=1e-5)
    assert not features.requires_grad
    features.add_(1)  # no inference tensor: callers may change it


@pytest.mark.parametrize("name", [*FEATURES, "absent.pt"])
def test_a_check_refuses_what_loading_would(name, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    unlabelled = replace(data, train=Split(data.train.images, None))
    sentences = []
    for call in (check_features, load_features):
        try:
            call(name, unlabelled)
        except InputError as refused:
            sentences.append(str(refused))
    assert len(sentences) in (0, 2)
    assert len({*sentences}) <= 1


def test_a_space_of_a_program_is_found_by_its_name(data, monkeypatch):
    def load(data, device):
        return Features("sums", nn.Flatten(), 64, device=device)

    def check(data):
        if data.classes is None:
            raise InputError("sums need classes.")

    monkeypatch.setattr(FEATURES, "data", dict(FEATURES.data))
    FEATURES["sums"] = FeatureSpace(load, check)
    assert load_features("sums", data).dim == 64
    with pytest.raises(InputError, match="sums need classes"):
        check_features("sums", replace(data, classes=None))
    with pytest.raises(
        InputError, match="weights are for the feature space inception or dino, got them with 'sums'"
    ):
        load_features("sums", data, weights="w.pth")
    FEATURES["other"] = FeatureSpace(load)
    with pytest.raises(InputError, match="'other' gives Features named 'sums'; give both one name"):
        load_features("other", data)


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)])
def test_only_uint8_images_have_features(data, images):
    with pytest.raises(InputError, match="uint8 images"):
        load_features("pixels", data)(images)


def test_internal_batches_do_not_show():
    images = bars(10, 0).images
    one, many = (Features("f", Means(), 1, batch_size=size)(images) for size in (3, 100))
    torch.testing.assert_close(one, many)


def test_pixels_are_scaled_to_one(data):
    features = load_features("pixels", data)
    assert features.dim == 64
    assert torch.equal(features(data.test.images), data.test.images.flatten(1).float() / 255)


def test_pixels_of_larger_images_are_averaged_down():
    images = torch.randint(0, 256, (6, 3, 64, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = SimpleNamespace(name="large", train=SimpleNamespace(images=images, labels=None))
    features = load_features("pixels", data)
    assert features.dim == 3 * 21 * 10  # by a factor of 3; the rest of a row or column is left out
    corner = images[2, 1, :3, :3].double().mean() / 255
    assert features(images)[2, 21 * 10].item() == pytest.approx(corner.item(), abs=1e-6)


def test_the_random_network_is_the_same_everywhere(data):
    features = load_features("random", data)
    assert features.weights_sha256().startswith("ee971e7a0156bc2f")
    kernels = list(features.network.buffers())
    for kernel in kernels:  # rounded to 2 ** -12
        torch.testing.assert_close(
            kernel.square().sum((1, 2, 3)), torch.full((len(kernel),), 2.0), rtol=0, atol=0.01
        )
    assert kernels[0][:16].sum((2, 3)).abs().max() < 0.002
    assert kernels[0][16:].sum((2, 3)).abs().max() > 1


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (33, 128), (128, 128), (4, 4)])
def test_random_features_against_loops(height, width, data):
    """The same network by NumPy's windows, in float64."""
    features = load_features("random", data)
    images = torch.randint(
        0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    x = images.double().numpy() / 255 - 0.5
    for layer, kernel in enumerate(features.network.buffers()):
        h, w = x.shape[2:]
        if layer and min(h, w) >= 8:
            x = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(2, -1, h // 2, 2, w // 2, 2).mean((3, 5))
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), (3, 3), (2, 3)
        )
        x = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel.double().numpy()), 0)
    h, w = x.shape[2:]
    cells = [
        x[:, :, i * h // 4 : -(-(i + 1) * h // 4), j * w // 4 : -(-(j + 1) * w // 4)].mean((2, 3))
        for i in range(4)
        for j in range(4)
    ]
    expected = torch.from_numpy(np.stack(cells, 2).reshape(2, 256)).float()
    torch.testing.assert_close(features(images), expected, rtol=1e-4, atol=1e-5)


def test_random_features_of_grey_are_those_of_equal_channels(data):
    features = load_features("random", data)
    grey = data.test.images
    torch.testing.assert_close(features(grey), features(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(InputError, match="1 or 3 channels, got 2"):
        features(grey.expand(-1, 2, -1, -1))


def test_classifier_learns_and_keeps_its_accuracy(trained):
    features, folder = trained
    assert features.accuracy > 0.95
    assert features.dim == 64
    values = features(make().test.images)
    assert bool((values >= 0).all())  # after a ReLU
    assert [path.name.startswith("classifier-bars-4-classes-") for path in folder.glob("*.safetensors")] == [True]


def test_classifier_is_read_from_the_cache(data, trained, monkeypatch):
    features, folder = trained
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(folder))
    monkeypatch.setattr(TRAIN, lambda *_: pytest.fail("trained again"))
    again = load_features("classifier", data)
    assert again.accuracy == features.accuracy
    assert torch.equal(again(data.test.images), features(data.test.images))


def test_a_damaged_cache_is_trained_again_to_the_same_bytes(data, trained, cache):
    features, folder = trained
    original = next(folder.glob("*.safetensors")).read_bytes()
    cache.mkdir()
    path = cache / next(folder.glob("*.safetensors")).name
    path.write_bytes(original[: len(original) // 2])
    again = load_features("classifier", data)
    assert again.accuracy == features.accuracy
    assert path.read_bytes() == original
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_other_images_or_labels_are_another_classifier(data, trained, cache, monkeypatch):
    monkeypatch.setattr(TRAIN, untrained)
    train = data.train
    for split in (
        train,
        Split(255 - train.images, train.labels),
        Split(train.images, 3 - train.labels),
        Split(train.images[:9], train.labels[:9]),
    ):
        load_features("classifier", replace(data, train=split))
    assert len(list(cache.glob("*.safetensors"))) == 4


def test_a_cache_that_cannot_be_written_only_warns(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(TRAIN, untrained)
    with pytest.warns(UserWarning, match="set ENTROPIC_AE_CACHE"):
        assert load_features("classifier", data).dim == 64


def test_the_cache_follows_xdg(data, tmp_path, monkeypatch):
    monkeypatch.delenv("ENTROPIC_AE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(TRAIN, untrained)
    load_features("classifier", data)
    assert len(list((tmp_path / "entropic-ae").glob("classifier-*.safetensors"))) == 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 16), (2, 28, 28), (3, 64, 64), (1, 128, 96), (4, 8, 128)])
def test_the_classifier_fits_any_image(shape):
    network = _Classifier(shape, 5).eval()
    images = torch.zeros(2, *shape, dtype=torch.uint8)
    assert network(images).shape == (2, 64)
    assert network.logits(images).shape == (2, 5)
    assert min(network.body(images.float()).shape[2:]) in (3, 4)


def test_colour_images_train_as_well(cache):
    data = make(channels=3, side=16, n=128)
    assert load_features("classifier", data).accuracy > 0.5  # four classes: chance is 0.25


def test_classifier_needs_labels(data):
    unlabelled = replace(data, train=Split(data.train.images, None))
    with pytest.raises(InputError, match=r"needs a label for each training image.*--features inception or pixels"):
        load_features("classifier", unlabelled)


@pytest.mark.parametrize("classes", [1, 3])
def test_classifier_refuses_labels_outside_its_classes(data, classes):
    with pytest.raises(InputError, match=r"in 0\.\.3 from bars"):
        load_features("classifier", replace(data, classes=classes))


def test_torchscript_networks_are_spaces(data, tmp_path):
    features = load_features(script(tmp_path, Means(), "means.torchscript"), data)
    assert (features.name, features.dim, features.accuracy) == ("means.torchscript", 1, None)
    torch.testing.assert_close(features(data.test.images), data.test.images.float().mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("network", "message"),
    [(Maps(), r"must map .*, got \(2, 1, 8\)"), (OneRow(), r"got \(1, 1\)"), (Needs(), "failed on images")],
)
def test_torchscript_networks_of_another_shape_are_refused(data, tmp_path, network, message):
    with pytest.raises(InputError, match=message):
        load_features(script(tmp_path, network), data)


def test_a_file_that_is_no_torchscript_is_refused(data, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"not a network")
    with pytest.raises(InputError, match="is not a TorchScript file"):
        load_features(str(tmp_path / "net.pt"), data)
    with pytest.raises(InputError, match="does not exist"):
        load_features(str(tmp_path / "absent.ts"), data)


def test_unknown_names_suggest_and_list(data):
    with pytest.raises(InputError, match=r"unknown feature space 'pixel'; did you mean 'pixels'.*TorchScript"):
        load_features("pixel", data)


def test_weights_are_for_spaces_that_are_downloaded(data, tmp_path):
    with pytest.raises(InputError, match="drop --weights or use --features inception or dino"):
        load_features("pixels", data, weights=tmp_path / "w.pth")


def test_inception_without_its_extra_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.delitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", raising=False)
    with pytest.raises(InputError, match=r"pip install 'entropic-ae\[fid\]'"):
        load_features("inception", data)


def test_real_features_are_computed_once_for_the_same_content(data, monkeypatch):
    calls = []
    whole = Features.__call__
    monkeypatch.setattr(Features, "__call__", lambda self, x: calls.append(len(x)) or whole(self, x))
    monkeypatch.setattr("entropic_ae.features.space._kept", {})
    images = data.test.images.clone()
    first = load_features("pixels", data).of_real(images)
    expected = first.clone()
    first.add_(1)  # the kept ones stay as they are
    assert torch.equal(load_features("pixels", data).of_real(images.clone()), expected)
    assert len(calls) == 1
    images[0, 0, 0, 0] ^= 255
    assert not torch.equal(load_features("pixels", data).of_real(images), expected)
    assert len(calls) == 2


def test_real_features_of_other_networks_are_not_mixed_up(data, tmp_path, monkeypatch):
    monkeypatch.setattr("entropic_ae.features.space._kept", {})

    class Maxima(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().amax(dim=(2, 3))

    images = data.test.images
    one, two = (load_features(script(tmp_path, net), data) for net in (Means(), Means()))
    assert torch.equal(one.of_real(images), two.of_real(images))
    other = load_features(script(tmp_path, Maxima()), data)  # the same file name, no weights
    assert torch.equal(other.of_real(images), other(images))
    a, b = (Features("f", nn.Sequential(nn.Flatten(), Weighted(w)), 64, content="f") for w in (1.0, 2.0))
    assert torch.equal(2 * a.of_real(images), b.of_real(images))
    for i in range(9):
        a.of_real(images[: i + 2])
    assert torch.equal(a.of_real(images), a(images))  # also after it was dropped for others


class Weighted(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return self.weight * x


def test_the_classifier_of_other_data_takes_images_of_any_shape(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(tmp_path))
    monkeypatch.setattr("entropic_ae.features.classifier._GREY_BUDGET", 0)  # as few epochs as it ever has
    digits = load_images("digits")
    own = load_features("classifier", digits)
    photos = SimpleNamespace(name="photos", train=SimpleNamespace(images=None, labels=None))
    foreign = load_features("classifier:digits", photos)
    assert (foreign.name, foreign.dim, foreign.accuracy) == ("classifier:digits", own.dim, own.accuracy)
    images = digits.test.images[:20]
    assert torch.equal(foreign(images), own(images))
    torch.testing.assert_close(foreign(images.expand(-1, 3, -1, -1)), own(images), atol=1e-3, rtol=1e-3)
    enlarged = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.cosine_similarity(foreign(enlarged), own(images)).mean() > 0.9
    with pytest.raises(InputError, match="unknown data set 'nothing'"):
        load_features("classifier:nothing", photos)
