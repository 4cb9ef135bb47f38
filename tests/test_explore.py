import asyncio
import base64
import io
import re
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2
from sklearn.decomposition import PCA
from torch.distributions import Independent, Normal, Uniform

import entropic_ae as eae
from entropic_ae import cli, explore
from entropic_ae.data import load_images, read_images
from entropic_ae.data.decoding import Fit
from entropic_ae.errors import InputError
from entropic_ae.explore.plane import drawn_map
from entropic_ae.explore.widgets import Latest
from entropic_ae.priors import UniformSphere
from entropic_ae.storage.run_info import RunInfo

SMALL = {"width": 4, "latent_dim": 5, "batch_size": 20, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "run"
    return eae.train("eae", "digits", set=SMALL, epochs=2, limit=300, out=out, device="cpu", progress=False)


@pytest.fixture
def explorer(run):
    return explore.Explorer(eae.load(run.folder, device="cpu"))


@pytest.fixture
def without_data(run, monkeypatch):
    """An explorer whose run has lost its images, and the function that makes another."""

    def gone(self, limit):
        raise InputError("the images are gone.")

    monkeypatch.setattr(eae.Run, "load_data", gone)
    return lambda: explore.Explorer(eae.load(run.folder, device="cpu"))


def normal(dim):
    return Independent(Normal(torch.zeros(dim), torch.ones(dim)), 1)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# codes


def test_principal_axes_are_those_of_scikit_learn():
    codes = draws(500, 6) @ draws(6, 6, seed=1) + 3
    pca = PCA(4).fit(codes.numpy())
    axes = explore.principal_axes(codes, 4)
    assert np.allclose(axes.mean, pca.mean_)
    assert np.allclose(axes.directions, pca.components_)  # the signs too
    assert np.allclose(axes.deviations, np.sqrt(pca.explained_variance_))
    assert np.allclose(axes.shares, pca.explained_variance_ratio_)
    assert len(explore.principal_axes(codes).shares) == 6
    assert len(explore.principal_axes(codes, 8).shares) == 6


def test_principal_axes_of_dead_and_of_too_few_codes():
    axes = explore.principal_axes(torch.ones(10, 3))
    assert axes.shares.tolist() == axes.deviations.tolist() == [0, 0, 0]
    assert torch.isfinite(axes.directions).all()
    with pytest.raises(InputError, match="at least 2 codes"):
        explore.principal_axes(torch.ones(1, 3))
    with pytest.raises(InputError, match="finite"):
        explore.principal_axes(torch.full((4, 3), torch.nan))


def test_a_walk_of_zero_is_the_start_and_others_go_by_deviations():
    codes = draws(500, 4).float()
    axes = explore.principal_axes(codes)
    start = codes[7]
    assert torch.equal(explore.walk(axes, torch.zeros(2, 4), start), start.expand(2, 4))
    assert torch.allclose(explore.walk(axes, torch.zeros(1, 4))[0], codes.mean(0))
    moved = explore.walk(axes, torch.tensor([[0.0, -1.5, 0.0, 0.0]]), start)[0] - start
    assert torch.allclose(moved.double() @ axes.directions[1], -1.5 * axes.deviations[1])
    assert moved.norm().item() == pytest.approx(1.5 * axes.deviations[1].item(), rel=1e-5)
    # fewer steps than axes
    assert torch.allclose(explore.walk(axes, torch.tensor([[0.0, -1.5]]), start)[0] - start, moved)


def test_a_walk_stays_where_the_prior_has_mass():
    codes = torch.tensor([[3.0, -0.5, -2.0], [0.0, 0.3, 0.4]])
    assert torch.equal(explore.within(codes, normal(3)), codes)
    cube = Independent(Uniform(-torch.ones(3), torch.ones(3)), 1)
    assert explore.within(codes, cube)[0].tolist() == [1, -0.5, -1]
    assert torch.allclose(explore.within(codes, UniformSphere(3))[1], torch.tensor([0, 0.6, 0.8]))


def test_norm_percentile_is_the_chi_distributions():
    prior = draws(20_000, 8)
    for length in (1.5, 2.8, 4.0):
        code = torch.zeros(8)
        code[3] = length
        expected = 100 * chi2.cdf(length**2, 8)
        assert explore.norm_percentile(code, prior) == pytest.approx(expected, abs=1.2)
    sphere = torch.nn.functional.normalize(draws(1000, 8).float(), dim=1)
    assert explore.norm_percentile(sphere[0], sphere) == 50


# images


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(*shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("size", [(40, 30), (17, 90), (5, 6), (16, 16)])
def test_an_image_of_another_size_is_fitted_as_load_images_does(tmp_path, size):
    content = file_of(Image.fromarray(noise(size[1], size[0], 3)))
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(content)
    expected = load_images(tmp_path, image_size=16).train.images[0]
    assert torch.equal(explore.fit_image(content, Fit(3, 16, 16)), expected)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    return file_of(Image.fromarray(noise(30, 40, 3)), "JPEG", exif=exif)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 24, 16)])
@pytest.mark.parametrize(
    "content",
    [
        file_of(Image.fromarray(noise(40, 30, 4), "RGBA")),
        file_of(Image.fromarray(noise(40, 30))),
        file_of(Image.fromarray(noise(40, 30, high=65536, dtype=np.uint16))),
        file_of(Image.fromarray(noise(40, 30, 3)).quantize(16)),
        file_of(Image.fromarray(noise(40, 30)).convert("1")),
        file_of(Image.fromarray(noise(40, 30, 3)).convert("CMYK"), "JPEG"),
        file_of(Image.fromarray(noise(40, 30, 3)), "WEBP"),
        turned(),
    ],
    ids=["alpha", "grey", "16 bit", "palette", "1 bit", "cmyk", "webp", "turned"],
)
def test_images_of_any_mode_are_fitted_as_read_images_does(tmp_path, content, shape):
    (tmp_path / "image.png").write_bytes(content)
    fitted = explore.fit_image(content, Fit(*shape))
    assert fitted.shape == shape
    assert fitted.dtype == torch.uint8
    assert torch.equal(fitted, read_images(tmp_path, shape)[0])


def test_images_of_a_registered_set_are_padded_as_its_own():
    digit = noise(28, 28)
    info = RunInfo.of(
        {"recipe": "eae", "preset": "mnist", "data": "mnist", "source": "mnist", "shape": [1, 32, 32]}
    )
    fitted = explore.fit_image(file_of(Image.fromarray(digit)), explore.fit_of(info))
    assert np.array_equal(fitted[0, 2:30, 2:30], digit)
    assert fitted.sum() == digit.sum()
    assert explore.fit_of(RunInfo.of({**info, "image_size": 32})).pad == 0
    assert explore.fit_of(RunInfo.of({**info, "source": "elsewhere"})).pad == 0


@pytest.mark.parametrize("content", [b"", b"no image", file_of(Image.fromarray(noise(40, 30)))[:300]])
def test_damaged_files(content):
    with pytest.raises(InputError, match="cannot be read as an image; give a valid PNG, JPEG or WEBP"):
        explore.fit_image(content, Fit(1, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_figure_holds_the_pixels_and_harmless_text(channels):
    image = torch.from_numpy(noise(channels, 8, 12))
    shown = explore.figure(image, '<b>"x"', alt='">')
    assert "<figcaption>&lt;b&gt;" in shown
    assert 'alt="&quot;&gt;"' in shown
    content = base64.b64decode(re.search(r"base64,([^\"]*)", shown)[1])
    pixels = np.asarray(Image.open(io.BytesIO(content))).reshape(8, 12, channels)
    assert np.array_equal(pixels, image.permute(1, 2, 0))
    with pytest.raises(ValueError, match="zip"):
        explore.figures(image[None], ["one", "too many"])


# a run


def test_samples_are_the_runs_own(explorer):
    assert explorer.densities()["prior"] == ""
    assert list(explorer.densities()) == [
        "prior",
        *(name for name, kind in eae.DENSITIES.items() if name != "prior" and not kind.is_discrete),
    ]
    for name in ("prior", "gaussian"):
        assert torch.equal(explorer.sample(name, 5, seed=3), explorer.run.sample(5, density=name, seed=3))
    assert explorer.densities()["gaussian"] == ""
    assert not explorer.run.model.training


def test_threads_draw_one_after_the_other(explorer, monkeypatch):
    """All draw from PyTorch's one generator: side by side, a seed would not give the same images again."""
    within, together, draw = [], [], eae.Prior.sample

    def watched(self, n, *, seed=0):
        within.append(n)
        together.append(len(within))
        time.sleep(0.01)
        within.pop()
        return draw(self, n, seed=seed)

    monkeypatch.setattr(eae.Prior, "sample", watched)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: explorer.sample("prior", 3, seed=1), range(8)))
    assert together == [1] * 8
    assert all(torch.equal(one, images[0]) for one in images)


def test_walks_start_from_the_mean_code_or_an_image(explorer):
    codes = explorer.run.encode(explorer.run.data.train.images)
    assert not explorer.ready
    axes, source = explorer.axes()
    assert explorer.ready
    assert source == "300 training codes"
    assert axes.shares.sum().item() == pytest.approx(1)
    assert torch.equal(explorer.walk([0] * 5), explorer.run.decode(codes.mean(0)[None])[0])
    image = explorer.test_image(4)
    assert torch.equal(explorer.walk([0.0], image), explorer.run.reconstruct(image[None])[0])
    assert not torch.equal(explorer.walk([3.0], image), explorer.walk([-3.0], image))


def test_a_walk_toward_a_class_is_the_edit_also_with_a_transport(run, tmp_path):
    mapped = eae.load(shutil.copytree(run.folder, tmp_path / "run"), device="cpu")
    mapped.fit_transport("mixture", components=5)
    explorer = explore.Explorer(mapped)
    image = explorer.test_image(4)
    moved = explorer.walk([0.0], image, toward=(3, 1.0))
    assert (moved.int() - mapped.edit(image[None], 3)[0].int()).abs().max() <= 1
    apart = mapped.decode(mapped.encode(image[None]) + mapped.direction(3))[0]
    assert (moved.int() - apart.int()).abs().max() > 1  # the direction of the mapped codes is another


def test_reconstruction(explorer):
    image = explorer.test_image(2)
    result = explorer.reconstruct(image)
    x_hat = explorer.run.reconstruct(image[None])[0]
    assert torch.equal(result.x_hat, x_hat)
    error = (image.double() / 255 - x_hat.double() / 255).square().sum().item()
    assert result.error == pytest.approx(error)
    assert (result.difference.double() / 255).square().sum().item() == pytest.approx(error)
    code = explorer.run.encode(image[None])[0]
    assert result.norm == pytest.approx(code.norm().item())
    assert result.prior == pytest.approx(100 * chi2.cdf(code.double().norm().item() ** 2, 5), abs=1.5)
    assert result.training is None
    explorer.axes()
    norms = explorer.run.encode(explorer.run.data.train.images).norm(dim=1)
    below = 100 * (norms < code.norm()).double().mean().item()
    assert explorer.reconstruct(image).training == pytest.approx(below, abs=0.5)


def test_nearest_training_images_are_those_of_all_differences(explorer, monkeypatch):
    monkeypatch.setattr("entropic_ae.explore.explorer._CHUNK", 70)  # of 300
    training, samples = explorer.run.data.train.images, explorer.sample("prior", 6, seed=2)
    samples = torch.cat([samples, training[123:124]])
    found = explorer.nearest(samples)
    apart = torch.cdist(*(images.flatten(1).double() / 255 for images in (samples, training)))
    assert torch.allclose(torch.tensor(found.distances).double(), apart.amin(1), atol=1e-6)
    assert torch.equal(found.images, training[apart.argmin(1)])
    assert found.distances[-1] == 0
    test = explorer.run.data.test.images[:200].flatten(1).double() / 255
    held_out = torch.cdist(test, training.flatten(1).double() / 255).amin(1)
    expected = (held_out.min().item(), held_out.median().item(), held_out.max().item())
    assert found.held_out == pytest.approx(expected, abs=1e-6)


def test_the_map_places_test_images_by_their_codes(explorer):
    numbers, labels, found = explorer.map()
    test = explorer.run.data.test
    assert numbers == list(range(360))
    assert labels == test.labels.tolist()
    centred = PCA(2).fit(explorer.run.encode(test.images).numpy())
    places = torch.tensor([found["x"], found["y"]]).T
    assert np.allclose(places.var(0), centred.explained_variance_, rtol=1e-3)
    assert explorer.map() is explorer.map()
    drawn = drawn_map(found, numbers, labels)
    assert [int(one) for one in re.findall(r'data-i="(\d+)"', drawn)] == numbers
    assert drawn.count("<li>") == 10
    assert "<li>" not in drawn_map(found, numbers, list(range(360)))
    assert explorer.named(12) == f"test image 12, label {labels[12]}"


def test_interpolation(explorer):
    start, end = explorer.test_image(0), explorer.test_image(1)
    for kind in ("linear", "spherical"):
        expected = explorer.run.interpolate(start[None], end[None], steps=5, kind=kind)[0]
        assert torch.equal(explorer.interpolate(start, end, steps=5, kind=kind), expected)
    with pytest.raises(InputError, match="numbered from 0 to 359, got 360"):
        explorer.test_image(360)


def test_a_run_without_its_images(run, without_data):
    for path in (run.folder / "densities").glob("*"):
        path.unlink()
    explorer = without_data()
    assert explorer.missing == "the images are gone."
    assert explorer.densities() == {"prior": ""}
    assert explorer.sample("prior", 2, seed=0).shape == (2, 1, 8, 8)
    assert explorer.test_images == 0
    with pytest.raises(InputError, match="images are missing, and the run folder holds no density"):
        explorer.axes()
    for ask in (explorer.map, lambda: explorer.nearest(explorer.sample("prior", 2, seed=0))):
        with pytest.raises(InputError, match="the run's images are missing: the images are gone"):
            ask()
    image = explorer.fit(file_of(Image.fromarray(noise(40, 30, 3))))
    assert explorer.reconstruct(image).x_hat.shape == (1, 8, 8)
    assert explorer.interpolate(image, image.flip(2), steps=3, kind="linear").shape == (3, 1, 8, 8)


def test_axes_of_a_kept_density_stand_in_for_those_of_missing_images(run, explorer, without_data):
    explorer.density("gaussian")
    explorer.density("mixture")
    codes = explorer.run.codes[0].double()
    other = without_data()
    assert set(other.densities()) == {"prior", "gaussian", "mixture"}
    axes, source = other.axes()
    assert source == "10,000 draws from the density gaussian"
    covariance = torch.cov(codes.T)
    along = ((axes.directions @ covariance) * axes.directions).sum(1)
    assert torch.allclose(axes.deviations, along.sqrt(), rtol=0.05)
    assert other.walk([1.0]).shape == (1, 8, 8)


# the page's last word, and the server's refusals


def test_the_last_change_is_shown_and_none_is_worked_on_twice():
    place, worked, shown, moved = [0], [], [], threading.Event()

    def work():
        value = place[0]
        worked.append(value)
        assert moved.wait(10)
        return value

    async def move():
        latest = Latest(work, shown.append, None)
        tasks = []
        for value in range(1, 6):
            place[0] = value
            tasks.append(asyncio.create_task(latest()))
            while not worked:  # the first is at work before the others come
                await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        moved.set()
        await asyncio.gather(*tasks)

    asyncio.run(move())
    assert worked == shown == [1, 5]


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("entropic_ae.explore.server.find_spec", lambda name: name)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["entropic-ae", "explore", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, capsys.readouterr().err

    return run


def free_port():
    with explore.server.listen("127.0.0.1", 0) as listening:
        return listening.getsockname()[1]


def test_refusals_are_one_sentence_and_exit_code_2(call, run, tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refusals = [call(run.folder, "--port", port)]
    refusals += [
        call(tmp_path, "--port", free_port()),
        call(run.folder, "--host", "192.0.2.1", "--port", free_port()),
        call(run.folder, "--port", 0),
    ]
    monkeypatch.setattr("entropic_ae.explore.server.find_spec", lambda _: None)
    refusals.append(call(run.folder))
    sentences = [
        f"port {port} of 127.0.0.1 is in use; give another --port.",
        "is not a run folder: it has no run.json",
        "cannot listen on port",
        "port must be from 1 to 65535, got 0",
        "explore needs NiceGUI, which is not installed; pip install 'entropic-ae[explore]'.",
    ]
    for (code, err), sentence in zip(refusals, sentences, strict=True):
        assert code == 2
        assert sentence in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_the_style_sheet_is_in_the_package():
    assert (Path(explore.__file__).parent / "page.css").is_file()
