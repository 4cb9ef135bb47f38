"""Runs on the Hub: there and back through HTTP, the card, what stays private, and what a stranger may send."""

import json
import pickle
import re
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load, load_file, save

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.sharing import shareable
from entropic_ae.storage.run_info import RunInfo
from hub_stand_in import TOKEN, Hub

pytestmark = pytest.mark.usefixtures("brief")
REPO = "owner/small"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of own images, measured, with densities: its data lie in a folder with a telling name."""
    place = tmp_path_factory.mktemp("private") / "somebody"
    images = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    eae.save_images(images, place / "photos")
    small = {"width": 2, "latent_dim": 3, "batch_size": 20}
    run = eae.train("ae", place / "photos", set=small, epochs=1, out=place / "run", device="cpu", progress=False)
    run.evaluate(features="pixels", n=20)
    run.draw("prior", "mixture")
    eae.write_report(run.folder)
    return run


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub() as one:
        monkeypatch.setenv("HF_ENDPOINT", one.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.chdir(tmp_path)
        yield one


def as_it_is(folder):
    """The content of a folder, to see whether anything has been written into it."""
    return {p: (p.readlink() if p.is_symlink() else p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


def test_a_run_goes_there_and_back(hub, folder, tmp_path):
    run = eae.load(folder, device="cpu")
    assert run.push_to_hub(REPO, message="first") == f"{hub.url}/{REPO}"
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.messages == ["first"]
    assert sorted(repository.files("main")) == [
        ".gitattributes", "README.md", "densities/gaussian.safetensors", "densities/mixture.safetensors",
        "log.csv", "metrics.json", "run.json", "samples-mixture.png", "samples-prior.png", "weights.safetensors",
    ]  # fmt: skip
    expected = {density: run.sample(5, density=density) for density in ("prior", "gaussian", "mixture")}
    shutil.rmtree(folder)
    loaded = eae.load(f"hf:{REPO}", device="cpu")
    assert loaded.origin == f"hf:{REPO}"
    before = as_it_is(tmp_path / "cache")
    for density, images in expected.items():
        assert torch.equal(loaded.sample(5, density=density), images)
    assert as_it_is(tmp_path / "cache") == before
    with pytest.raises(InputError, match="is read-only: nothing is written"):
        loaded.draw("prior")


def test_a_transport_goes_with_its_weights(hub, folder):
    run = eae.load(folder, device="cpu")
    plain = run.sample(5, density="prior")
    run.fit_transport("gaussian")
    expected = run.sample(5, density="prior")
    run.push_to_hub(REPO)
    assert "transport.safetensors" in hub.repositories[REPO].files("main")
    loaded = eae.load(f"hf:{REPO}", device="cpu")
    assert torch.equal(loaded.sample(5, density="prior"), expected)
    assert not torch.equal(plain, expected)
    run.remove_transport()
    run.push_to_hub(REPO)
    assert "transport.safetensors" not in hub.repositories[REPO].files("main")


def test_a_run_starts_from_one_on_the_hub(hub, folder, tmp_path):
    eae.load(folder, device="cpu").push_to_hub(REPO)
    images = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    run = eae.train(
        data=images, start_from=f"hf:{REPO}", epochs=1, out=tmp_path / "new", device="cpu", progress=False
    )
    digest = eae.load(folder, device="cpu").weights_sha256()
    assert run.info.start_from == {"run": f"hf:{REPO}", "weights_sha256": digest}
    assert run.system.settings()["latent_dim"] == 3


def test_nothing_that_shows_real_images_or_names_this_machine_is_pushed(hub, folder, trained):
    secrets = [str(trained.folder.parent).encode(), str(folder).encode(), b"somebody", str(Path.home()).encode()]
    (folder / "notes.py").write_text("x")
    eae.load(folder, device="cpu").push_to_hub(REPO)
    files = hub.repositories[REPO].files("main")
    for name, content in files.items():
        assert not any(secret in content for secret in secrets), name
    assert not any(re.search(r"real|reconstruct|interpol|report|ckpt|\.py", name) for name in files)
    info = json.loads(files["run.json"])
    assert (info["source"], info["data"]) == ("./photos", "photos")


def test_pictures_and_report_are_pushed_if_asked_for(hub, folder):
    run = eae.load(folder, device="cpu")
    page = folder / "report.html"
    own = page.read_text()
    page.write_text(own.replace("entropic-ae sample run", f"entropic-ae sample {Path.home()}/other"))
    with pytest.raises(InputError, match=r"report\.html names folders of this machine"):
        run.push_to_hub(REPO, include=["report.html"])
    eae.write_report(folder)
    run.push_to_hub(REPO, include=["report.html", "reconstructions.png", "real.png"])
    files = hub.repositories[REPO].files("main")
    page = files["report.html"].decode()
    assert "entropic-ae sample hf:owner/small" in page
    assert "train ae ./photos" in page
    assert "somebody" not in page
    for name in ("reconstructions.png", "real.png"):
        assert files[name] == (folder / name).read_bytes()
    with pytest.raises(InputError, match=r"unknown file to include 'checkpoints'.*interpolations\.png"):
        run.push_to_hub(REPO, include=["checkpoints"])
    run.push_to_hub(REPO)  # what is no longer pushed is gone
    assert "reconstructions.png" not in hub.repositories[REPO].files("main")


def test_only_what_belongs_to_the_weights_is_pushed(hub, folder):
    other = load_file(folder / "weights.safetensors")
    (folder / "weights.safetensors").write_bytes(save({k: v * 2 for k, v in other.items()}))
    run = eae.load(folder, device="cpu")
    run.__dict__["codes"] = (torch.randn(40, 3), None)
    run.push_to_hub(REPO)
    files = hub.repositories[REPO].files("main")
    assert "metrics.json" not in files
    assert "densities/gaussian.safetensors" not in files
    assert "densities/mixture.safetensors" in files  # that it draws from: fitted anew
    assert "Not measured yet." in files["README.md"].decode()


def test_the_card_is_what_the_hub_and_people_understand(hub, folder, tmp_path):
    run = eae.load(folder, device="cpu")
    measured = json.loads((folder / "metrics.json").read_text())
    if measured["pixels"].pop("withheld", None):  # as distances of twenty images should be
        run.push_to_hub(REPO)
        card = hub.repositories[REPO].files("main")["README.md"].decode()
        assert "| withheld |" in card
        assert "model-index" not in card
        (folder / "metrics.json").write_text(json.dumps(measured))
    run.push_to_hub(REPO, license="mit")
    card = hub.repositories[REPO].files("main")["README.md"].decode()
    data = yaml.safe_load(card.split("---\n")[1])
    assert data["library_name"] == "entropic-ae"
    assert data["license"] == "mit"
    assert "datasets" not in data
    metrics = json.loads((folder / "metrics.json").read_text())["pixels"]
    (row,) = data["model-index"]
    results = row["results"]
    assert len(results) == 1
    named = {metric["name"]: metric["value"] for metric in results[0]["metrics"]}
    expected, number = metrics["distances"]["mixture"]["frechet"], metrics["number"]
    assert named[f"Frechet distance of mixture (pixels features, n = {number})"] == pytest.approx(
        expected, abs=1e-3
    )
    assert f"| held-out images (the floor) | {metrics['distances']['held-out images']['images']} |" in card
    assert "| width | 2 |" in card
    assert f"torch {run.info['versions']['torch']}" in card
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", card):
        assert picture in hub.repositories[REPO].files("main")
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    images = run.data.test.images[:2]
    scope = {}
    exec(block, scope)
    assert (tmp_path / "samples.png").exists()
    assert scope["codes"].shape == (64, 3)
    assert torch.equal(scope["run"].encode(images), run.encode(images))


def test_a_registered_set_is_named_and_features_lose_their_path():
    run = {
        "recipe": "eae", "data": "mnist", "shape": [1, 32, 32], "source": "mnist",
        "preset": "mnist", "overrides": {"features": "/home/me/net.pt"},
        "expanded": {"settings": {"features": "/home/me/net.pt"}},
    }  # fmt: skip
    shared = shareable(RunInfo.of(run))
    assert (shared["source"], shared["overrides"]) == ("mnist", {})
    assert shared["expanded"]["settings"] == {"features": "classifier"}
    for streamed in ("hf-stream:owner/set", "hf:owner/set"):
        run["source"], run["overrides"]["features"] = streamed, f"classifier:{streamed}"
        shared = shareable(RunInfo.of(run))
        assert (shared.source, shared.overrides) == (streamed, run["overrides"])
    run["overrides"]["features"] = "classifier:/home/me/photos"
    assert shareable(RunInfo.of(run)).overrides == {"features": "classifier:./photos"}
    assert run["overrides"]["features"] == "classifier:/home/me/photos"


def test_a_run_of_the_first_images_is_measured_on_the_whole_set(hub, tmp_path):
    small = {"set": {"width": 2}, "epochs": 1, "limit": 50, "device": "cpu", "progress": False}
    run = eae.train("eae", "digits", out=tmp_path / "run", **small)
    run.push_to_hub("owner/first")
    found = eae.load("hf:owner/first", device="cpu").evaluate(features="pixels", n=20, densities=["prior"])
    assert found["distances"] == run.evaluate(features="pixels", n=20, densities=["prior"])["distances"]


def test_a_density_that_is_not_there_needs_the_data(hub, folder, trained, tmp_path):
    run = eae.load(folder, device="cpu")
    run.push_to_hub(REPO)
    loaded = eae.load(f"hf:{REPO}", device="cpu")
    with pytest.raises(InputError, match=r"hf:owner/small holds no density 'copula' .*photos does not exist"):
        loaded.sample(2, density="copula")
    with pytest.raises(InputError, match="photos does not exist"):
        loaded.evaluate(features="pixels", n=20)
    shutil.copytree(trained.info["source"], tmp_path / "photos")  # now here, under its name
    before = as_it_is(tmp_path / "cache")
    images = loaded.sample(2, density="copula")
    assert torch.equal(images, run.sample(2, density="copula"))
    assert loaded.density("copula") is loaded.density("copula")
    assert loaded.evaluate(features="pixels", n=20)["distances"]["prior"]["frechet"] > 0
    assert as_it_is(tmp_path / "cache") == before
    (tmp_path / "photos" / "00.png").unlink()
    with pytest.raises(InputError, match="are not those that hf:owner/small was trained on"):
        eae.load(f"hf:{REPO}", device="cpu").sample(2, density="copula")
    with pytest.raises(InputError, match="are not those that hf:owner/small was trained on"):  # nor measured
        eae.load(f"hf:{REPO}", device="cpu").evaluate(features="pixels", n=20, densities=["prior"])


def test_a_copy_is_a_run_folder_like_any_other(hub, folder, tmp_path, call):
    eae.load(folder, device="cpu").push_to_hub(REPO)
    copy = eae.load(f"hf:{REPO}", out=tmp_path / "copy", device="cpu")
    assert copy.origin is None
    assert copy.folder == tmp_path / "copy"
    assert not any(path.is_symlink() for path in copy.folder.rglob("*"))
    with pytest.raises(InputError, match="copy exists and is not overwritten"):
        eae.load(f"hf:{REPO}", out=tmp_path / "copy")
    with pytest.raises(InputError, match="out is for a run on the Hub"):
        eae.load(folder, out=tmp_path / "other")
    copy.push_to_hub("owner/again")
    with pytest.raises(InputError, match="hf:owner/again is read-only"):
        eae.load("hf:owner/again", device="cpu").push_to_hub("owner/third")
    assert call("pull", f"hf:{REPO}")[:2] == (0, f"{Path('runs/small')}\n")
    assert call("sample", "runs/small", "--n", 3)[:2] == (0, f"{Path('runs/small/samples-mixture.png')}\n")


class Tight(eae.Gaussian):
    """A density of one's own."""

    name = "tight"


def test_a_run_with_parts_of_one_s_own_needs_them_on_both_sides(hub, tmp_path, monkeypatch):
    for registry in (eae.RECIPES, eae.DENSITIES):  # forgotten afterwards
        monkeypatch.setattr(registry, "data", dict(registry.data))
    eae.DENSITIES["tight"] = Tight
    eae.RECIPES["mine"] = replace(eae.RECIPES["ae"], name="mine", densities={"tight": {}}, density="tight")
    images = torch.randint(256, (60, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = {"width": 2, "latent_dim": 3, "batch_size": 20}
    run = eae.train("mine", images, set=small, epochs=1, out=tmp_path / "run", device="cpu", progress=False)
    run.push_to_hub(REPO)
    files = hub.repositories[REPO].files("main")
    assert "densities/tight.safetensors" in files
    card = files["README.md"].decode()
    assert "Custom parts, not in this repository: recipe `mine`, density `tight`." in card
    loaded = eae.load(f"hf:{REPO}", device="cpu")
    assert torch.equal(loaded.sample(4, seed=1), run.sample(4, seed=1))
    with pytest.raises(
        InputError, match="was trained on images in memory, which are needed here; pass them again"
    ):
        loaded.evaluate(features="pixels", n=20)
    recipe = eae.RECIPES.pop("mine")
    with pytest.raises(InputError, match=r"unknown recipe 'mine'.*or pass it: load\(folder, recipe="):
        eae.load(f"hf:{REPO}", device="cpu")
    assert torch.equal(
        eae.load(f"hf:{REPO}", recipe=recipe, device="cpu").sample(4, seed=1), run.sample(4, seed=1)
    )


def test_branches_commits_and_tokens(hub, folder, monkeypatch):
    run = eae.load(folder, device="cpu")
    run.push_to_hub(REPO, private=False)
    run.push_to_hub(REPO, revision="half")
    repository = hub.repositories[REPO]
    assert not repository.private
    assert "run.json" in repository.branches["half"][-1]
    commit = repository.sha(repository.files("main"))
    for revision in ("half", commit):
        assert eae.load(f"hf:{REPO}@{revision}", device="cpu").sample(1).shape == (1, 1, 8, 8)
    repository.private = True
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="no run 'owner/small' that you can access; check the name, or if it is"):
        eae.load(f"hf:{REPO}@never-loaded", device="cpu")
    assert eae.load(f"hf:{REPO}", token=TOKEN, device="cpu").sample(1).shape == (1, 1, 8, 8)


def test_the_command_line(hub, folder, call, tmp_path):
    assert call("push", folder, REPO, "--device", "cpu", "--license", "mit", "--public")[:2] == (
        0, f"{hub.url}/{REPO}\n",
    )  # fmt: skip
    assert not hub.repositories[REPO].private
    assert call("sample", f"hf:{REPO}", "--n", 3)[:2] == (0, "small-samples-mixture.png\n")
    assert (tmp_path / "small-samples-mixture.png").exists()
    assert call("report", f"hf:{REPO}")[:2] == (0, "small-report.html\n")
    page = (tmp_path / "small-report.html").read_text()
    assert "entropic-ae sample hf:owner/small" in page
    assert str(tmp_path / "cache") not in page
    assert call("sample", "hf:owner/nothing")[0] == 2
    code, _, err = call("explore", f"hf:{REPO}")
    assert code == 2
    assert "explore does not use the network" in err or "NiceGUI" in err


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("no repository", "the Hugging Face Hub has no run 'owner/small' that you can access; check the name"),
        (
            "no revision",
            "owner/small has no revision 'v2' on the Hugging Face Hub; give a branch, a tag or a commit.",
        ),
        ("no run", "hf:owner/small is not a run of entropic-ae: it has no run.json"),
        ("offline", "owner/small is not on this machine and the Hugging Face Hub cannot be reached"),
        ("no server", "owner/small is not on this machine and the Hugging Face Hub cannot be reached"),
        ("broken", "owner/small is not on this machine and the Hugging Face Hub cannot be reached"),
        ("no owner", "expected hf:owner/name or hf:owner/name@revision, got 'hf:small'."),
        ("outside", "expected hf:owner/name or hf:owner/name@revision, got 'hf:../small'."),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(hub, call, monkeypatch, problem, sentence):
    name = {"no revision": f"hf:{REPO}@v2", "no owner": "hf:small", "outside": "hf:../small"}.get(
        problem, f"hf:{REPO}"
    )
    if problem in ("no revision", "no run"):
        hub.put(REPO, {"README.md": b"a cat"})
    if problem == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if problem == "no server":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.broken = problem == "broken"
    code, out, err = call("sample", name)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("no token", "the Hugging Face Hub does not permit this for owner/small; log in with hf auth login"),
        ("no server", "the Hugging Face Hub cannot be reached for owner/small"),
        ("broken", "the Hugging Face Hub refused"),
        ("no owner", "expected hf:owner/name"),
        ("a link", "log.csv is a link to a place outside of the run folder; put the file itself there."),
        ("no folder", "does not exist; give the folder that train made"),
    ],
)
def test_what_cannot_be_pushed_is_one_sentence(hub, folder, call, monkeypatch, tmp_path, problem, sentence):
    if problem == "no token":
        monkeypatch.delenv("HF_TOKEN")
    if problem == "no server":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    if problem == "a link":
        (tmp_path / "letters").write_text("private")
        (folder / "log.csv").unlink()
        (folder / "log.csv").symlink_to(tmp_path / "letters")
    hub.broken = problem == "broken"
    repo = "small" if problem == "no owner" else REPO
    code, out, err = call("push", tmp_path / "nowhere" if problem == "no folder" else folder, repo)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert REPO not in hub.repositories or len(hub.repositories[REPO].branches["main"]) == 1


def test_a_run_that_was_loaded_once_is_there_offline(hub, folder, monkeypatch):
    eae.load(folder, device="cpu").push_to_hub(REPO)
    first = eae.load(f"hf:{REPO}", device="cpu").sample(3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert torch.equal(eae.load(f"hf:{REPO}", device="cpu").sample(3), first)


# what a stranger may send


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def header(length):
    return struct.pack("<Q", length) + b"{}"


def claimed(shape, dtype="F32"):
    """A safetensors file whose header claims a tensor that is not in it."""
    size = 4
    for side in shape:
        size *= side
    text = json.dumps({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 16


def changed(content, **changes):
    info = json.loads(content)
    for name, value in changes.items():
        *path, last = name.split("__")
        place = info
        for step in path:
            place = place[step]
        place[last] = value
    return json.dumps(info).encode()


def sized(name, value):
    """run.json with a setting that asks for much memory, in both of the places that must agree."""
    return lambda run: changed(run, **{f"overrides__{name}": value, f"expanded__settings__{name}": value})


def with_weights(change):
    return lambda weights: save(change(load(weights)))


def first(change):
    """Change the first tensor of floating-point values."""

    def both(tensors):
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        return {**tensors, name: change(tensors[name])}

    return both


HOSTILE = {
    "header of absurd length": ("weights.safetensors", header(2**62), "is damaged or of another model"),
    "no header": ("weights.safetensors", b"", "is damaged or of another model"),
    "claims 4 TiB": ("weights.safetensors", claimed([2**20, 2**20]), "is damaged or of another model"),
    "claims more than fits": ("weights.safetensors", claimed([2**62, 2**62]), "is damaged or of another model"),
    "wrong shapes": ("weights.safetensors", with_weights(first(lambda t: torch.cat([t, t]))), "of another model"),
    "tensors missing": ("weights.safetensors", with_weights(lambda ts: dict(list(ts.items())[:2])), "train again"),
    "tensors too many": ("weights.safetensors", with_weights(lambda ts: {**ts, "x": torch.ones(1)}), "of another"),
    "NaN": ("weights.safetensors", with_weights(first(lambda t: t * float("nan"))), "values that are not finite"),
    "infinity": ("weights.safetensors", with_weights(first(lambda t: t / 0)), "values that are not finite"),
    "recipe is a path": ("run.json", lambda run: changed(run, recipe="../../x"), "unknown recipe '../../x'"),
    "recipe is long": ("run.json", lambda run: changed(run, recipe="x" * 10**6), "unknown recipe 'xxx"),
    "recipe is a list": ("run.json", lambda run: changed(run, recipe=["ae"]), "recipe is ['ae'], expected a text"),
    "lines and colours": (
        "run.json",
        lambda run: changed(run, recipe="a\n\x1b[31mb"),
        r"unknown recipe 'a\n\x1b[31mb'",
    ),
    "preset is a path": ("run.json", lambda run: changed(run, preset="/etc"), "unknown preset '/etc'"),
    "width of 10**9": ("run.json", sized("width", 10**9), "asks for a network that cannot be built"),
    "width of 10**30": ("run.json", sized("width", 10**30), "asks for a network that cannot be built"),
    "latent_dim of 10**9": ("run.json", sized("latent_dim", 10**9), "asks for a network of"),
    "kernel_size of 10**9": ("run.json", sized("kernel_size", 10**5), "asks for a network of"),
    "width of 10**5": ("run.json", sized("width", 10**5), "asks for a network of"),
    "depth of 10**9": ("run.json", sized("depth", 10**9), "asks for 1,000,000,000 layers"),
    "unknown setting": ("run.json", lambda run: changed(run, overrides__evil=1), "unknown setting 'evil'"),
    "settings nested": ("run.json", lambda run: changed(run, overrides__width=[[1]]), "overrides.width is a list"),
    "shape is huge": ("run.json", lambda run: changed(run, shape=[10**9, 8, 8]), "asks for a network of"),
    "shape is text": ("run.json", lambda run: changed(run, shape="188"), "shape is '188', expected a list of 3"),
    "seed is text": ("run.json", lambda run: changed(run, seed="0"), "seed is '0', expected a whole number"),
    "seed is negative": ("run.json", lambda run: changed(run, seed=-1), "seed must be a whole number from 0"),
    "limit is text": ("run.json", lambda run: changed(run, limit="x"), "limit is 'x', expected"),
    "versions": ("run.json", lambda run: changed(run, versions=[]), "versions is [], expected a dictionary"),
    "no settings": ("run.json", lambda run: changed(run, expanded={}), "run.json is damaged: expanded."),
    "nested too deep": ("run.json", b"[" * 10**6, "run.json is damaged"),
    "nested in a value": (
        "run.json",
        lambda run: run.replace(b'"ae"', b"[" * 900 + b"]" * 900, 1),
        "is a list, exp",
    ),
    "too large": ("run.json", b" " * (17 << 20), "more than 16 MiB of JSON"),
    "digits": ("run.json", b'{"seed": ' + b"9" * 10**5 + b"}", "run.json is damaged"),
    "not text": ("run.json", b"\xff\xfe", "run.json is damaged"),
    "data is a path": ("run.json", lambda run: changed(run, source="/etc"), "names its data by a path, '/etc'"),
    "data is above": ("run.json", lambda run: changed(run, source="./.."), "names its data by a path"),
    "data is beside": ("run.json", lambda run: changed(run, source="hf:../private"), "names its data by a path"),
    "data is hidden": ("run.json", lambda run: changed(run, source="hf:.ssh/keys"), "names its data by a path"),
    "features of data beside": (
        "run.json",
        sized("features", "classifier:hf:../private"),
        "names a file as its feature space",
    ),
    "data is a share": ("run.json", lambda run: changed(run, source="//host/x"), "names its data by a path"),
    "features are a program": ("run.json", sized("features", "net.pt"), "names a file as its feature space"),
}


@pytest.fixture
def files(hub, folder):
    eae.load(folder, device="cpu").push_to_hub("owner/good")
    return dict(hub.repositories["owner/good"].files("main"))


def refused(call, sentence, *command):
    code, out, err = call(*command)
    assert code == 2, out
    assert sentence in err
    assert len(err) < 1000
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert "\x1b" not in err


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_with_a_sentence(hub, files, call, kind, tmp_path):
    name, content, sentence = HOSTILE[kind]
    files[name] = content(files[name]) if callable(content) else content
    hub.put(REPO, files)
    refused(call, sentence, "sample", f"hf:{REPO}", "--n", 2)
    if "by a path" not in sentence and "feature space" not in sentence:  # one's own folder may name a path
        for file, whole in files.items():
            (tmp_path / "local" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "local" / file).write_bytes(whole)
        refused(call, sentence, "sample", tmp_path / "local", "--n", 2)


@pytest.mark.parametrize("name", ["weights.safetensors", "densities/mixture.safetensors", "run.json"])
def test_no_pickle_is_read(hub, files, call, tmp_path, name):
    marker = tmp_path / "marker"
    files[name] = pickle.dumps(Bomb(marker))
    hub.put(REPO, files)
    refused(call, "error: ", "sample", f"hf:{REPO}", "--n", 2)
    torch.save(Bomb(marker), tmp_path / "zip.pt")
    files[name] = (tmp_path / "zip.pt").read_bytes()
    hub.put("owner/other", files)
    refused(call, "error: ", "sample", "hf:owner/other", "--n", 2)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Bomb(marker)))  # it would have shown
    assert marker.exists()


def test_programs_and_strange_names_are_not_downloaded(hub, files, tmp_path):
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Bomb(marker))
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()".encode()
    strange = {
        **dict.fromkeys(("x.py", "entropic_ae.py", "densities/__init__.py", "sitecustomize.py"), code),
        **dict.fromkeys(("x.pkl", "pytorch_model.bin", "checkpoints/last.ckpt", "net.pt"), bomb),
        **dict.fromkeys(("../escaped.txt", "densities/../../escaped.safetensors", "/escaped.txt"), b"x"),
        "samples-x.png": b"x",
    }
    hub.put(REPO, {**files, **strange})
    run = eae.load(f"hf:{REPO}", out=tmp_path / "copy", device="cpu")
    assert run.sample(2).shape == (2, 1, 8, 8)
    there = {str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file()}
    assert there == set(files) - {".gitattributes"}
    assert not list(tmp_path.parent.rglob("escaped*"))
    assert not marker.exists()
    assert not any(strange_name.rpartition("/")[2] in path for strange_name in strange for _, path in hub.requests)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {**state, "means": state["means"][:, :2].contiguous()},
        lambda state: {**state, "means": state["means"][0]},
        lambda state: {**state, "covariances": state["covariances"][:, :1].contiguous()},
        lambda state: {**state, "weights": state["weights"][:0]},
        lambda state: {**state, "weights": -state["weights"]},
        lambda state: {**state, "means": state["means"] * float("nan")},
        lambda state: {**state, "means": state["means"].long()},
        lambda state: {"weights": state["weights"]},
        lambda state: {name: tensor[..., None] for name, tensor in state.items()},
    ],
)
def test_densities_that_do_not_fit_are_not_used(hub, files, call, change):
    name = "densities/mixture.safetensors"
    text = files[name][8 : 8 + struct.unpack("<Q", files[name][:8])[0]]
    files[name] = save(change(load(files[name])), json.loads(text)["__metadata__"])
    hub.put(REPO, files)
    refused(call, "hf:owner/small holds no density 'mixture' that fits its weights", "sample", f"hf:{REPO}")
    assert call("sample", f"hf:{REPO}", "--density", "gaussian", "--n", 2)[0] == 0


def test_a_second_stage_that_claims_to_be_large_takes_no_memory():
    prior = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    hidden = 10**6  # whose square is 4 TB
    state = {
        "mean": torch.zeros(2), "deviation": torch.ones(2), "gamma": torch.ones(()),
        "decoder.layers.0.weight": torch.zeros(1, 2), "decoder.layers.0.bias": torch.zeros(hidden),
        "decoder.layers.1.weight": torch.zeros(1, 1), "decoder.layers.1.bias": torch.zeros(1),
        "decoder.output.weight": torch.zeros(1, 1), "decoder.output.bias": torch.zeros(1),
    }  # fmt: skip
    with pytest.raises(KeyError, match="do not fit"):
        eae.SecondStage.from_state(state, prior)


def test_links_out_of_a_folder(folder, call, tmp_path):
    """Reading follows a link, and judges what it finds; a device is no file."""
    (tmp_path / "letters").write_text("private")
    for target, sentence in (
        (tmp_path / "letters", "is damaged"),
        (Path("/dev/zero"), "has no weights.safetensors"),
    ):
        (folder / "weights.safetensors").unlink()
        (folder / "weights.safetensors").symlink_to(target)
        refused(call, sentence, "sample", folder)
        assert "private" not in call("sample", folder)[2]


def test_a_picture_that_unpacks_to_a_huge_one(hub, files, call):
    huge = struct.pack(">IIBBBBB", 10**5, 10**5, 8, 0, 0, 0, 0)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    files["samples-prior.png"] = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    hub.put(REPO, files)
    refused(call, "samples-prior.png is damaged", "report", f"hf:{REPO}")
