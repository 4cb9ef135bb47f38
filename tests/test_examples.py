"""The trained runs that come with the library: used at once, without data and network, and never written to."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.storage.examples import EXAMPLE, example_folder, examples
from entropic_ae.storage.run_folder import METRICS_FILE, WEIGHTS, RunFolder, samples_file
from entropic_ae.storage.tensors import read_tensors


def _picture(name):
    return Image.open(example_folder(name) / samples_file("prior"))


def held(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=examples())
def name(request):
    """An example, of which no file has changed afterwards."""
    before = held(example_folder(request.param))
    yield EXAMPLE + request.param
    assert held(example_folder(request.param)) == before


def test_an_example_is_small_and_measured(name):
    folder = example_folder(name)
    assert max(map(len, held(folder).values())) < 1_000_000
    tensors, _ = read_tensors(folder / WEIGHTS)
    assert {one.dtype for one in tensors.values() if one.is_floating_point()} == {torch.float16}
    files = RunFolder(folder)
    assert files.read_metrics()  # of these weights
    assert files.has_transport
    assert not any(b"/home/" in content or b"/tmp/" in content for content in held(folder).values())


def test_samples_reconstruct_and_encode_to_the_codes_that_they_were_decoded_from(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(tmp_path))  # there are no images
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = eae.load(name, device="cpu")
    codes = torch.randn(200, run.model.bottleneck.latent_dim, generator=torch.Generator().manual_seed(0))
    images = run.decode(codes)
    assert images.float().std(0).mean() > 20  # they differ
    again = run.reconstruct(images)
    assert (again.float() - images.float()).square().mean() < 0.25 * images.float().var(0).mean()
    drawn = np.asarray(eae.picture(run.sample(64, seed=0), 8), dtype=float)
    assert np.abs(drawn - np.asarray(_picture(name))).mean() < 1  # another machine rounds otherwise
    with pytest.warns(UserWarning, match=f"reconstructions are not shown: .*{run.info.data}"):
        shown = np.asarray(run.show(3, seed=1).convert("L"))
    grid = np.asarray(eae.picture(run.sample(3, seed=1), 3).convert("L"))
    assert (shown[28 : 28 + len(grid), -18 - grid.shape[1] : -18] == grid).all()
    found = run.encode(images)
    assert torch.nn.functional.cosine_similarity(found, codes).median() > 0.7
    assert found.mean().abs() < 0.1
    assert found.std() == pytest.approx(1, abs=0.15)


def test_nothing_is_written_into_an_example_and_pull_makes_a_run_of_it(name, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("sample", name, "--n", 4)
    assert (code, out.strip()) == (0, f"{name.replace(':', '-')}-samples-prior.png"), err
    code, _, err = call("transport", name, "--kind", "none")
    assert (code, "is read-only" in err) == (2, True)
    with pytest.raises(InputError, match="is read-only"):
        eae.load(name, device="cpu").push_to_hub("owner/name")
    code, out, _ = call("pull", name, "--out", "own")
    assert (code, out.strip()) == (0, "own")
    before, after = (RunFolder(place).read_metrics() for place in (example_folder(name), tmp_path / "own"))
    assert before == after
    assert (tmp_path / "own" / METRICS_FILE).is_file()
    own = eae.load("own", device="cpu")
    assert torch.equal(own.sample(3, seed=1), eae.load(name, device="cpu").sample(3, seed=1))
    assert own.origin is None
    code, out, _ = call("report", name)
    assert (code, out.strip()) == (0, f"{name.replace(':', '-')}-report.html")
    page = Path(out.strip()).read_text()
    for density in ("prior", "gaussian", "mixture"):  # pictures of samples need no images
        shown = base64.b64encode((example_folder(name) / samples_file(density)).read_bytes()).decode()
        assert shown in page


def test_an_unknown_example_is_refused_before_pytorch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "entropic_ae", "sample", "example:mnits"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown example 'mnits'; did you mean 'mnist'? Known: cifar10, mnist.\n"
