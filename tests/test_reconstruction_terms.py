import math
import urllib.error
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

import entropic_ae as eae
from entropic_ae import (
    FEATURE_NETWORKS,
    PRESETS,
    RECIPES,
    AbsoluteError,
    FeatureError,
    InputError,
    MultiScaleSimilarity,
    Objective,
    Trace,
    configure,
)
from entropic_ae.data.images import SPLITS, ImageData, Split
from entropic_ae.features import classifier
from entropic_ae.features.lpips import BACKBONES, Lpips
from entropic_ae.features.random import random_features
from entropic_ae.networks import RandomFeatures
from entropic_ae.terms import perception


def drawn(*shape, seed=0, dtype=torch.float32):
    """Smooth random images and noisy copies."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(shape[0], shape[1], 4, 4, generator=generator)
    x = nn.functional.interpolate(small, shape[2:], mode="bicubic").clamp(0, 1)
    y = (x + 0.1 * torch.randn(*shape, generator=generator)).clamp(0, 1)
    return x.to(dtype), y.to(dtype)


def of(term, x, y):
    return term(None, Trace(x, None, y))


def test_absolute_error_sums_over_features_and_averages_over_the_batch():
    x, y = torch.zeros(3, 2, 8, 8), torch.zeros(3, 2, 8, 8)
    y[0, 0, 0, :3] = 0.5
    y[1, 1, 2, 2] = 1
    assert of(AbsoluteError(), x, y).item() == pytest.approx((3 * 0.5 + 1) / 3)


def by_scipy(x, y, exponents):
    """MS-SSIM of one image by SciPy's Gaussian filter, over windows within the image."""

    def windows(values):
        return gaussian_filter(values, 1.5, truncate=3.5, axes=(1, 2))[:, 5:-5, 5:-5]  # a radius of 5

    product = 1.0
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y = ((v[:, ::2, ::2] + v[:, 1::2, ::2] + v[:, ::2, 1::2] + v[:, 1::2, 1::2]) / 4 for v in (x, y))
        means = windows(x), windows(y)
        variances = windows(x * x) - means[0] ** 2 + windows(y * y) - means[1] ** 2
        value = (2 * (windows(x * y) - means[0] * means[1]) + 0.03**2) / (variances + 0.03**2)
        if scale == len(exponents) - 1:
            value = value * (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
        product *= value.mean() ** exponent
    return product


@pytest.mark.parametrize(
    ("shape", "scales"), [((1, 16, 24), 1), ((3, 32, 32), 2), ((3, 64, 64), 3), ((1, 176, 208), 5)]
)
def test_similarity_is_that_of_scipys_windows(shape, scales):
    """torchmetrics counts reflected borders too, at the last scale only."""
    x, y = drawn(3, *shape, dtype=torch.float64)
    published = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    pairs = zip(x.numpy(), y.numpy(), strict=True)
    expected = np.mean([by_scipy(*pair, published / published.sum()) for pair in pairs])
    assert of(MultiScaleSimilarity(), x, y).item() == pytest.approx(math.prod(shape) * (1 - expected))
    assert 0.1 < expected < 0.99


def test_similarity_has_finite_gradients_where_structures_are_opposite():
    """There the contrast is negative, and its power is no number; in torchmetrics it is NaN, or clamped to 0."""
    x = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    y = (1 - x).requires_grad_()
    value = of(MultiScaleSimilarity(), x, y)
    (gradient,) = torch.autograd.grad(value, y)
    assert gradient.isfinite().all()
    assert 0.95 * x[0].numel() < value.item() <= x[0].numel()
    x, y = drawn(2, 1, 24, 24, dtype=torch.float64)
    torch.autograd.gradcheck(lambda y: of(MultiScaleSimilarity(), x, y) / 576, y.requires_grad_())


def test_images_without_room_for_a_window_are_refused():
    for shape in ((8, 8), (8, 32)):
        with pytest.raises(
            InputError, match=rf"at least 11 x 11, .* got {shape[0]} x {shape[1]}; use squared_error"
        ):
            of(MultiScaleSimilarity(), *drawn(2, 1, *shape))
    system = configure(RECIPES["ae"], PRESETS["digits"], {"terms": "multiscale_similarity", "width": 2})
    with pytest.raises(InputError, match="got 8 x 8"):
        system.build((1, 8, 8))
    system.build((1, 16, 16))


class Pixels(nn.Module):
    """Two layers whose activations are known: the image, and its mean."""

    def forward(self, x):
        return [x, x.mean((2, 3), keepdim=True)]


class Absent(nn.Module):
    def __init__(self):
        super().__init__()
        raise InputError("its weights are not here.")


@pytest.fixture
def rows(monkeypatch):
    for name, kind in (("own-pixels", Pixels), ("absent", Absent)):
        monkeypatch.setitem(FEATURE_NETWORKS.data, name, kind)


def test_feature_error_is_the_distance_of_scaled_activations(rows):
    """(3, 4, 0) and (3, 0, 4), of norm 5: their directions differ by a squared distance of 32 / 25."""
    x, y = (
        torch.tensor(one, dtype=torch.float64).view(1, 3, 1, 1).expand(2, 3, 8, 8)
        for one in ((3, 4, 0), (3, 0, 4))
    )
    value = of(FeatureError(network="own-pixels"), x, y).item()
    assert value == pytest.approx(3 * 64 * 32 / (25 + 0.1**2))
    assert of(FeatureError(network="own-pixels"), x, x.clone()).item() == 0
    assert of(FeatureError(network="own-pixels"), 0 * x, 1e-4 * y).item() < 0.01  # noise is not scaled up


def test_feature_error_is_of_the_network_of_random_features():
    """The feature space 'random' is the means of its last layer over a grid."""
    x, _ = drawn(3, 3, 32, 32)
    images = (255 * x).round().byte()
    last = RandomFeatures()(images.float() / 255)[-1]
    assert torch.equal(random_features(None, "cpu")(images), nn.functional.adaptive_avg_pool2d(last, 4).flatten(1))
    grey, again = drawn(3, 1, 8, 8)
    assert of(FeatureError(), grey, again).item() > 0
    with pytest.raises(InputError, match=r"images of 1 or 3 channels, got 2; use other features"):
        of(FeatureError(), *drawn(2, 2, 8, 8))


def test_the_network_of_features_is_no_part_of_model_or_objective():
    perception.frozen_network.cache_clear()
    changes = {"terms": "squared_error+feature_error", "width": 2}
    plain, _ = configure(RECIPES["bn-ae"], PRESETS["digits"], {"width": 2}).build((1, 8, 8))
    model, objective = configure(RECIPES["bn-ae"], PRESETS["digits"], changes).build((1, 8, 8))
    assert model.state_dict().keys() == plain.state_dict().keys()
    before = torch.get_rng_state()
    total, values = objective(model, model(torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))))
    assert torch.equal(torch.get_rng_state(), before)  # what it draws leaves training alone
    total.backward()
    assert list(objective.parameters()) == []
    assert objective.state_dict() == {}
    assert total.item() == pytest.approx(values["squared_error"].item() + 0.05 * values["feature_error"].item())
    network = perception.frozen_network(RandomFeatures, torch.device("cpu"), torch.float32)
    assert not any(tensor.requires_grad for tensor in network.state_dict().values())


def test_a_network_of_features_is_built_by_training_alone(rows):
    """A run is loaded without its weights; an unknown name is refused before anything is built."""
    changes = {"terms": "feature_error", "feature_error.network": "absent", "width": 2}
    model, objective = configure(RECIPES["ae"], PRESETS["digits"], changes).build((1, 8, 8))
    with pytest.raises(InputError, match="its weights are not here"):
        objective(model, model(torch.rand(4, 1, 8, 8)))
    with pytest.raises(InputError, match=r"unknown feature network 'randm'; did you mean 'random'"):
        FeatureError(network="randm")


def waves(kind):
    """Weights that need no generator: of convolutions, in the scale that keeps activations, and learned ones."""
    given = {}
    for i, (name, value) in enumerate(kind.build().state_dict().items()):
        wave = torch.linspace(1000, 2000 + 1000 * i, value.numel(), dtype=torch.float64).sin().float()
        given[f"features.{name}"] = wave.reshape(value.shape) * (2 / max(1, value[0].numel())) ** 0.5
    learnt = [(1 + torch.arange(n) % 5).reshape(1, n, 1, 1) / n for n in kind.channels]
    return given, {f"lin{i}.model.1.weight": one for i, one in enumerate(learnt)}


def of_lpips(name, given, learnt):
    network = Lpips(BACKBONES[name], given, learnt).double()
    return FeatureError(network=name).prepared(lambda _: network)


# the answers of the authors' package for the same weights: tests/peers/compare_lpips.py
@pytest.mark.parametrize(("name", "expected"), [("lpips-alex", 0.0004058172299), ("lpips-vgg", 0.0008341037408)])
def test_lpips_is_that_of_its_authors(name, expected):
    x, y = drawn(2, 3, 40, 32, dtype=torch.float64)  # as in that file
    term = of_lpips(name, *waves(BACKBONES[name]))
    assert of(term, x, y).item() / x[0].numel() == pytest.approx(expected, rel=1e-6)


def test_lpips_repeats_grey_images():
    x, y = drawn(2, 1, 32, 32, dtype=torch.float64)
    term = of_lpips("lpips-alex", *waves(BACKBONES["lpips-alex"]))
    repeated = of(term, x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)) / 3
    assert of(term, x, y).item() == pytest.approx(repeated.item())


def test_lpips_has_gradients_where_no_channel_is_active():
    """There the norm is 0, whose gradient must not be that of the root of 0, which is infinite."""
    given, learnt = waves(BACKBONES["lpips-alex"])
    dead = {name: value - (1e3 if name.endswith("bias") else 0) for name, value in given.items()}
    x, y = drawn(2, 3, 32, 32, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(of(of_lpips("lpips-alex", dead, learnt), x, y.requires_grad_()), y)
    assert gradient.eq(0).all()


def test_lpips_reads_torchvisions_file_and_learned_weights_and_says_what_is_missing(tmp_path, monkeypatch):
    kind = BACKBONES["lpips-alex"]
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    given, _ = waves(kind)
    data = SimpleNamespace(shape=(1, 32, 32))
    file = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"

    def refused(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(InputError, match=rf"AlexNet weights .* \(.*no network.*put it into {file.parent}, or"):
        eae.feature_network("lpips-alex", data)
    file.parent.mkdir(exist_ok=True)
    torch.save({**given, "classifier.1.weight": torch.zeros(2)}, file)
    network = eae.feature_network("lpips-alex", data)
    assert torch.equal(network.features[0].weight, given["features.0.weight"])
    assert sum(one.numel() for name, one in network.named_buffers() if name.startswith("weight")) == 1152
    torch.save(dict(list(given.items())[:4]), file)
    with pytest.raises(InputError, match=r"weights of AlexNet for LPIPS, got others .*; take torchvision's"):
        eae.feature_network("lpips-alex", data)
    file.write_bytes(b"no zip")
    with pytest.raises(InputError, match=f"AlexNet weights in {tmp_path} are damaged"):
        eae.feature_network("lpips-alex", data)
    with pytest.raises(InputError, match="at least 31 pixels a side, got 1x8x8; use random"):
        eae.feature_network("lpips-alex", SimpleNamespace(shape=(1, 8, 8)))


@pytest.mark.parametrize("name", BACKBONES)
def test_lpips_takes_images_down_to_its_least_side(name):
    assert FeatureError(network=name).network == name
    network, image = BACKBONES[name].build(), torch.zeros(1, 3, BACKBONES[name].least, BACKBONES[name].least)
    assert network(image).shape[1] == BACKBONES[name].channels[-1]
    with pytest.raises(RuntimeError):
        network(image[..., 1:])


@pytest.fixture
def striped():
    """Images of two classes: stripes along one side or the other."""
    rows = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    rows[:30, :, ::2], rows[30:, :, :, ::2] = 255, 255
    labels = torch.arange(2).repeat_interleave(30)
    order = torch.arange(60).view(2, 30).T.flatten()
    split = Split(rows[order], labels[order])
    return ImageData("striped", split.at(slice(40)), split.at(slice(40, 50)), split.at(slice(50, None)), 2)


@pytest.mark.filterwarnings("ignore:.*exact copies")
def test_features_of_the_classifier_of_the_images(striped, tmp_path, monkeypatch):
    """It is the one of evaluation, is trained once, and is no part of the run."""
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "_GREY_BUDGET", 0)  # as few epochs as it ever has
    changes = {"terms": "squared_error+feature_error", "feature_error.network": "classifier", "width": 2}
    options = {"set": changes, "epochs": 1, "device": "cpu", "progress": False}
    run = eae.train("ae", striped, **options, out=tmp_path / "run")
    assert run.info.expanded.settings["feature_error.network"] == "classifier"
    (cached,) = (tmp_path / "cache").glob("classifier-*.safetensors")
    before = cached.stat().st_mtime_ns
    layers = eae.feature_network("classifier", striped)
    assert cached.stat().st_mtime_ns == before
    x, y = (striped.test.images[i : i + 2].float() / 255 for i in (0, 1))
    network = eae.load_features("classifier", striped).network
    last = layers(x)[-1]
    assert torch.allclose(last, network.body(2 * x - 1))
    of_layers = FeatureError(network="classifier").prepared(lambda _: layers)
    with monkeypatch.context() as patch:
        patch.setitem(FEATURE_NETWORKS.data, "own", lambda: layers)
        assert of(of_layers, x, y).item() == of(FeatureError(network="own"), x, y).item() > 0
    assert run.files.read_log()["validation_feature_error"][0] > 0
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(tmp_path / "none"))
    assert len(eae.load(tmp_path / "run", device="cpu", data=striped).sample(2)) == 2
    assert not (tmp_path / "none").exists()
    parts = {name: Split(getattr(striped, name).images, None) for name in SPLITS}
    bare = replace(striped, classes=None, **parts)
    with pytest.raises(InputError, match=r"network=classifier needs a label for each .* image, striped has none"):
        eae.train("ae", bare, **options, out=tmp_path / "bare")
    assert not (tmp_path / "bare").exists()
    with pytest.raises(InputError, match="network 'classifier' is at hand in a run"):
        of(FeatureError(network="classifier"), x, y)


@pytest.mark.parametrize("term", [AbsoluteError, FeatureError, MultiScaleSimilarity])
def test_each_alone_leads_to_the_image(term):
    """From dark grey, gradient steps on the pixels end nearer to the image."""
    x, _ = drawn(2, 3, 32, 32)
    y = torch.full_like(x, 0.3).requires_grad_()
    optimiser = torch.optim.Adam([y], 0.02)
    before = (x - y).square().mean().item()
    for _ in range(60):
        optimiser.zero_grad()
        of(term(), x, y).backward()
        optimiser.step()
    assert (x - y).square().mean().item() < 0.4 * before


def test_a_run_on_other_terms_still_has_a_squared_error(tmp_path):
    changes = {"terms": "absolute_error", "width": 2, "network": "residual"}
    options = {"limit": 60, "epochs": 1, "device": "cpu", "progress": False}
    run = eae.train("ae", "digits", set=changes, out=tmp_path / "run", **options)
    again = eae.load(tmp_path / "run", device="cpu")
    images = again.data.test.images[:20]
    assert torch.equal(again.reconstruct(images), run.reconstruct(images))
    assert type(again.model.decoder).__name__ == "ResidualDecoder"
    assert Objective(again.system.recipe.terms, again.model).terms == (AbsoluteError(),)
