"""Runs in a notebook: pictures, and HTML that nobody's names can break."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import entropic_ae as eae
from entropic_ae import InputError


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


def test_a_density_that_is_given_is_sampled(run):
    fitted = eae.Gaussian.fit(run.codes[0], run.model.bottleneck.prior())
    assert torch.equal(run.sample(3, density=fitted, seed=2), run.decode(fitted.sample(3, seed=2)))
