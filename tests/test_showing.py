"""Runs in a notebook: pictures, and HTML that nobody's names can break."""

import base64
import io
import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.data import DataWarning
from entropic_ae.runs.images import Cuts
from entropic_ae.storage.run_info import RunInfo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("showing") / "run"
    return eae.train("eae", "digits", set={"width": 2}, epochs=1, out=out, device="cpu", progress=False)


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


def grid_of(page):
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_a_picture_is_the_grid():
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    assert np.array_equal(eae.picture(images, 3), eae.image_grid(images, 3).permute(1, 2, 0))
    assert eae.picture(images[:, :1]).mode == "L"


def test_a_notebook_shows_samples_and_the_next_command(run):
    page = run._repr_html_()
    assert f"<b>{run.folder}</b>: eae on digits, images 1 x 8 x 8, codes of 8" in page
    assert np.array_equal(grid_of(page), eae.picture(run.sample(24, seed=0), 8))
    assert f"<code>run.evaluate()</code> or <code>entropic-ae evaluate {run.folder}</code>" in page


def test_a_notebook_shows_the_verdict(copy, brief):
    run = eae.load(copy, device="cpu")
    run.evaluate(features="pixels", n=50)
    page = run._repr_html_()
    for one in run.verdict.findings:
        assert f"<td>{one.subject}</td><td><b>{one.grade}</b></td>" in page
    assert "run.evaluate()" not in page
    (copy / "metrics.json").write_text("{")
    assert "run.evaluate()" in eae.load(copy, device="cpu")._repr_html_()


def test_names_are_escaped(copy):
    info = json.loads((copy / "run.json").read_text())
    info["data"] = "<script>alert(1)</script>"
    (copy / "run.json").write_text(json.dumps(info))
    odd = copy.rename(copy.with_name("<b>&"))
    page = eae.load(odd, device="cpu")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;&amp;" in page


def test_nothing_is_fitted_to_be_shown(copy):
    run = eae.load(copy, device="cpu")
    run.system = replace(run.system, recipe=eae.RECIPES["rae"])
    assert "samples need the density 'mixture', which <code>run.sample(1)</code> fits" in run._repr_html_()
    assert not (copy / "densities").exists()
    run.density("mixture")
    assert np.array_equal(grid_of(run._repr_html_()), eae.picture(run.sample(24, density="mixture"), 8))


def test_a_run_without_weights_says_so(copy):
    run = eae.load(copy, device="cpu")
    run.files.weights.unlink()
    assert "not trained yet" in run._repr_html_()


def test_show_has_a_row_each_of_real_rebuilt_and_new_images(run):
    shown = np.asarray(run.show(3, seed=1))
    real = run.data.validation.images[:3]
    for row, images in enumerate([real, run.reconstruct(real), run.sample(3, seed=1)]):
        grid = np.asarray(eae.picture(images, 3).convert("RGB"))
        top = 28 + row * grid.shape[0]
        assert (shown[top : top + grid.shape[0], -18 - grid.shape[1] : -18] == grid).all()
    with pytest.raises(InputError, match="at least 1, got 0"):
        run.show(0)


def test_a_run_takes_what_people_have(run, tmp_path):
    images = run.data.test.images[:4]
    path = eae.save_images(images, tmp_path / "photos")
    codes = run.encode(images)
    for form in (
        images.float() / 255,
        images[:, 0].numpy(),
        sorted(path.iterdir()),
        path,
        run.data.test.at(slice(4)),
    ):
        assert torch.equal(run.encode(form), codes)
    assert torch.equal(run.encode(path / "0.png"), codes[:1])
    rebuilt = run.reconstruct(images)
    assert torch.equal(run.reconstruct([Image.fromarray(one[0].numpy()) for one in images]), rebuilt)
    assert torch.equal(run.interpolate(images[:2, 0], images[2:]), run.interpolate(images[:2], images[2:]))
    assert torch.equal(run.score(images / 255).error, run.score(images).error)


def told(run, images):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.reconstruct(images)
    data = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    return [one for one in data if "resized" in one]


def test_one_warning_tells_of_images_that_are_cut_or_much_smaller_to_fit(run, tmp_path):
    sheet = eae.save_images(run.data.test.images[:8], tmp_path / "sheet.png", columns=4)
    with Image.open(sheet) as picture:
        assert picture.size == (296, 152)
    assert told(run, sheet) == [
        f"an image is cut or resized to fit the run: {sheet} (a sheet of 4x2 images) from 296x152, "
        "of which the middle 152x152 is left, to 8x8; give images like the run's own, one thing each."
    ]
    for width, height, name in ((16, 16, "twice"), (12, 8, "wide"), (64, 64, "large"), (8, 8, "own")):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("L", (width, height)).save(tmp_path / "photos" / f"{name}.png")
    (said,) = told(run, tmp_path / "photos")
    assert said.startswith("2 of 4 images are cut or resized to fit the run, such as large.png from 64x64 to 8x8;")
    (said,) = told(run, Image.new("RGB", (8, 12)))
    assert "image 0 from 8x12, of which the middle 8x8 is left, to 8x8" in said
    assert told(run, tmp_path / "photos" / "twice.png") == told(run, run.data.test.images[:2]) == []


def test_a_run_that_cut_its_own_images_tells_of_sheets_and_strips_alone(run, tmp_path):
    cuts = Cuts(RunInfo.of({**run.info, "image_size": 8}))
    sheet = eae.save_images(run.data.test.images[:8], tmp_path / "sheet.png", columns=4)
    photo = tmp_path / "photo.png"  # of the size of a sheet of 7 x 7 images
    picture = Image.new("RGB", (512, 512), "white")
    picture.paste("grey", (100, 100, 400, 400))
    picture.save(photo)
    for name, width, height, file in (
        *(("photo.jpg", *size, None) for size in ((640, 480), (4000, 3000), (224, 224), (900, 300))),
        (str(sheet), 296, 152, sheet.read_bytes()),
        ("photo.png", 512, 512, photo),
    ):
        cuts(name, width, height, file)
    assert [one.split(" from ")[-1].split(",")[0].split()[0] for one in cuts.told] == ["900x300", "296x152"]


def test_images_of_a_file_of_arrays_are_counted(run, tmp_path):
    np.savez(
        tmp_path / "arrays.npz", images=np.random.default_rng(0).integers(0, 255, (5, 64, 64), dtype=np.uint8)
    )
    (said,) = told(run, tmp_path / "arrays.npz")
    assert said.startswith("5 of 5 images are cut or resized to fit the run, such as ")


def test_a_file_that_is_missing_may_be_one_of_an_image(run, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"face.png does not exist; give the file of an image \(.png, .jpg, ...\)"
    ):
        run.encode("face.png")
    Image.new("L", (8, 8)).save("10:30:00.png")
    assert run.encode("10:30:00.png").shape[0] == 1
    for place in ("face.png", "./face.png"):
        code, _, err = call("reconstruct", run.folder, place)
        assert (code, "face.png does not exist; give the file of an image" in err) == (2, True)


def test_the_picture_of_one_file_is_one_image_wide(run, call, tmp_path):
    photo = eae.save_images(run.data.test.images[:1], tmp_path / "photos") / "0.png"
    assert call("reconstruct", run.folder, photo, "--out", tmp_path / "r.png")[0] == 0
    with Image.open(tmp_path / "r.png") as picture:
        assert picture.size == (8 + 64 + 8, 8 + 2 * (64 + 8))


def test_a_density_that_is_given_is_sampled(run):
    fitted = eae.Gaussian.fit(run.codes[0], run.model.bottleneck.prior())
    assert torch.equal(run.sample(3, density=fitted, seed=2), run.decode(fitted.sample(3, seed=2)))
