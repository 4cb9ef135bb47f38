"""What train chooses when it is not told: width, length and schedule by device and images, and what it says."""

import json
import shutil
import subprocess
import sys
import warnings
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

import entropic_ae as eae
from entropic_ae import RECIPES, InputError, runs
from entropic_ae.data import DataWarning, ImageData, Split
from entropic_ae.recipes import SIZES, fitted, system_for
from entropic_ae.recipes.sizes import ENTROPY
from entropic_ae.runs.overview import Overview
from entropic_ae.storage.files import locked
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.storage.runs_table import read_runs

EAE = RECIPES["eae"]
FEW = {"epochs": 1, "width": 2}


def images(number=486, shape=(3, 32, 32), source="photos", classes=None):
    def split(n):
        return Split(torch.zeros(n, *shape, dtype=torch.uint8), None)

    return ImageData("photos", split(number), split(54), split(60), classes, source)


def test_photographs_get_a_schedule_in_steps_and_weights_by_their_size():
    found = fitted(EAE, images(), {})
    assert found == {
        "width": 16,
        "latent_dim": 64,
        "entropy": float(f"{ENTROPY * 3072:.3g}"),
        "ema": 0.99,
        "batch_size": 100,
        "epochs": 750,  # of 4 steps
        "learning_rate": 2e-3,
        "patience": 1,
        "patience_steps": SIZES["small"].patience_steps,
        "stop_after": SIZES["small"].stop_after,
        "stop_rate": 0.01,
    }
    settings = system_for("eae", images(), found).settings()
    assert {name: settings[name] for name in found} == found


@pytest.mark.parametrize("side", [8, 16, 64])
def test_the_weight_of_the_entropy_grows_as_the_sum_over_pixels(side):
    small, large = (fitted(EAE, images(shape=(3, one, one)), {})["entropy"] for one in (side, 2 * side))
    assert large / small == pytest.approx(4, rel=1e-2)
    grey = fitted(EAE, images(shape=(1, side, side)), {})["entropy"]
    assert small / grey == pytest.approx(3, rel=1e-2)


@pytest.mark.parametrize(
    ("number", "batch", "epochs"),
    [(8, 8, 3000), (60, 16, 1000), (200, 50, 750), (486, 100, 750), (60_000, 100, 5), (10**6, 100, 2)],
)
def test_batch_and_epochs_follow_the_number_of_images(number, batch, epochs):
    one = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    many = replace(images(), train=Split(one.expand(number, 1, 8, 8), None))
    found = fitted(EAE, many, {})
    assert (found["batch_size"], found["epochs"]) == (batch, epochs)
    assert fitted(EAE, many, {}, processes=3)["batch_size"] % 3 == 0


def test_the_batch_is_as_large_as_the_terms_need():
    whitened = {"bottleneck": "whitening"}
    assert fitted(EAE, images(number=80), {})["batch_size"] == 20
    assert fitted(EAE, images(number=80), whitened)["batch_size"] == 65  # one more than dimensions
    assert fitted(EAE, images(number=30), {"batch_size": "10"})["epochs"] == 1000


def test_registered_presets_keep_their_numbers_but_for_the_width():
    assert fitted(EAE, images(source="mnist"), {}) == {"width": 16}
    assert fitted(EAE, images(source="mnist"), {}, gpu=True) == {"width": 128}
    assert fitted(EAE, images(source="mnist"), {"width": "8"}) == {}
    assert fitted(EAE, images(source="digits"), {}, gpu=True) == {}
    assert fitted(EAE, images(), {}, preset="celeba", named=True) == {"width": 16}
    assert fitted(EAE, images(), {}, preset="mlp", named=True) == {}
    assert fitted(EAE, images(), {}, gpu=True)["width"] == 128
    assert fitted(EAE, images(), {}, gpu=True)["epochs"] == 5000  # 20,000 steps
    assert fitted(EAE, images(), {}, size="medium")["epochs"] == 5000


def test_a_patience_in_epochs_is_what_counts():
    found = fitted(EAE, images(), {"patience": 3})
    assert "patience" not in found
    assert system_for("eae", images(), {**found, "patience": 3}).preset.training.patience_of(4) == 3


def test_a_run_of_a_size_is_resumed_again_and_again(tmp_path):
    options = {"device": "cpu", "progress": False, "limit": 60, "out": tmp_path / "run"}
    own = {"width": 2, "latent_dim": 2, "patience": 3}
    for epochs, size in ((1, "small"), (2, None), (3, "small")):
        run = eae.train("ae", "digits", set=own, size=size, epochs=epochs, resume=epochs > 1, **options)
        assert (run.info.size, run.info.expanded.settings["learning_rate"]) == ("small", 0.002)
        assert "patience_steps" in run.info.fitted
    with pytest.raises(InputError, match="trained with size small, got medium; leave the size out"):
        eae.train("ae", "digits", set=own, size="medium", epochs=4, resume=True, **options)


def test_sizes_set_width_batch_and_schedule_together():
    small = fitted(EAE, images(source="mnist"), {"learning_rate": 1e-3}, size="small")
    assert (small["width"], small["epochs"], small["batch_size"]) == (16, 750, 100)
    assert "learning_rate" not in small
    assert "latent_dim" not in small
    assert fitted(EAE, images(), {}, size="medium")["width"] == 64
    assert fitted(EAE, images(), {}, size="paper") == {}
    with pytest.raises(InputError, match="unknown size 'smal'; did you mean 'small'"):
        fitted(EAE, images(), {}, size="smal")


def test_what_a_recipe_sets_itself_is_kept():
    assert "learning_rate" not in fitted(RECIPES["vae"], images(), {})  # published for the VAE
    own = replace(EAE, name="mine", encoder=system_for("eae", images()).encoder)
    assert not {"entropy", "width"} & fitted(own, images(), {}).keys()


NUMBERS = {"parameters": 12_345_678, "device": "cuda", "epochs": 1000, "steps": 20_000, "batch_size": 100}


@pytest.mark.parametrize("width", [None, 16, 128])
@pytest.mark.parametrize("damaged", [(), ("a.png",), tuple(f"a long name of an image {i}.jpeg" for i in range(9))])
@pytest.mark.parametrize("passed_over", [{}, {"heic": 3}, {f"k{i}": 1000 for i in range(30)}])
@pytest.mark.parametrize("copies", [0, 12_345])
def test_at_most_four_lines_of_80_columns(width, damaged, passed_over, copies, monkeypatch):
    monkeypatch.setattr("entropic_ae.runs.overview.needed_for", {"heic": "pillow-heif"}.get)
    counts = {"train": 54_000, "validation": 6_000, "test": 10_000}
    left_out = {"copies": copies, "damaged": damaged, "passed_over": passed_over}
    lines = Overview(counts, (3, 128, 128), 1000, width=width, **left_out, **NUMBERS, augmentable=True).lines()
    assert len(lines) <= 4
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert ("width 16" in text) == (width == 16)
    assert ("3 .heic (needs pillow-heif)" in text) == ("heic" in passed_over)
    assert ("damaged" in text, "copies" in text) == (bool(damaged), bool(copies))
    assert "20,000 steps of 100" in text


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 40 images with a damaged one, a copy and a file of another kind; and a run on it."""
    folder = tmp_path_factory.mktemp("own") / "photos"
    noise = torch.randint(256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    eae.save_images(noise, folder)
    shutil.copy(folder / "00.png", folder / "copy.png")
    (folder / "broken.png").write_bytes(b"no image")
    for name in ("clip.mov", "notes.txt", ".hidden.txt"):
        (folder / name).touch()
    return folder


def test_it_says_once_what_it_understood(photos, tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        run = eae.train("eae", photos, set=FEW, out=tmp_path / "run", device="cpu")
        said = capsys.readouterr().err.splitlines()
        again = eae.load(tmp_path / "run", device="cpu")
        assert len(again.data.test.images) == 4
    assert said[0] == "41 images, 8x8 grey: 34 train: few, 3 validate, 4 test"
    assert said[1] == "left out 1 damaged (broken.png), 1 .mov, 1 .txt; 1 exact copy"
    assert said[2].endswith(" M weights on cpu; 1 epoch, 2 steps of 16")
    assert said[3].startswith("few: --set augment=mirror+shift+crop")
    assert run.overview.damaged == ("broken.png",)
    with pytest.warns(DataWarning, match=r"1 \.mov"), pytest.warns(UserWarning, match="1 of 41 images are exact"):
        eae.train("eae", photos, set=FEW, out=tmp_path / "quiet", device="cpu", progress=False)
    assert capsys.readouterr().err == ""


def test_resuming_does_not_depend_on_the_device(photos, tmp_path, monkeypatch):
    options = {"device": "cpu", "progress": False, "out": tmp_path / "run"}
    small = replace(SIZES["small"], width=2, steps=2)
    monkeypatch.setattr("entropic_ae.recipes.sizes._SMALL", small)
    monkeypatch.setattr("entropic_ae.recipes.sizes._CPU_WIDTH", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = eae.train("eae", photos, **options)
        assert {"width", "epochs", "latent_dim", "entropy"} <= {*run.info.fitted}
        assert (run.info.overrides["width"], run.info.overrides["epochs"]) == (2, 2)
        monkeypatch.setattr(
            runs.planning, "fitted", lambda *a, **o: fitted(*a, **o) | {"width": 128, "entropy": 7.0}
        )
        longer = eae.train("eae", photos, epochs=3, resume=True, **options)
        alike = eae.train(like=run.folder, epochs=1, **{**options, "out": tmp_path / "alike"})
        other = eae.train(like=run.folder, data="digits", limit=20, epochs=1, **{**options, "out": tmp_path / "o"})
    assert longer.info.expanded.settings["width"] == 2
    assert alike.info.expanded.settings["entropy"] == run.info.expanded.settings["entropy"]
    assert (alike.info.source, alike.info.seed) == (run.info.source, 0)
    assert "start_from" not in alike.info
    assert other.info.expanded.settings["width"] == 2
    assert other.info.expanded.settings["entropy"] == 7.0  # fits the images
    with pytest.raises(InputError, match="takes one other run, got two"):
        eae.train(like=run.folder, start_from=run.folder, **{**options, "out": tmp_path / "two"})


def test_a_run_of_a_version_without_the_average_resumes_without_it(photos, tmp_path):
    options = {"device": "cpu", "progress": False, "out": tmp_path / "run"}
    eae.train("eae", photos, set={"width": 2, "ema": 0}, epochs=1, **options)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    del info["overrides"]["ema"], info["expanded"]["settings"]["ema"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    run = eae.train("eae", photos, set={"width": 2}, epochs=2, resume=True, **options)
    assert run.system.settings()["ema"] == 0
    fresh = eae.train("eae", photos, set={"width": 2}, epochs=2, **{**options, "out": tmp_path / "fresh"})
    assert fresh.system.settings()["ema"] == 0.99


def test_overwriting_replaces_a_run_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    options = {"set": FEW, "limit": 20, "device": "cpu", "progress": False, "out": folder}
    first = eae.train("eae", "digits", **options)
    first.evaluate(features="pixels", n=20)
    (folder / "notes.txt").write_text("mine")
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="resume a run or overwrite it, not both"):
        eae.train("eae", "digits", resume=True, overwrite=True, **options)
    with monkeypatch.context() as patch:  # run.json cannot be written
        patch.setattr(
            "entropic_ae.storage.run_folder.write_json", lambda *_: (_ for _ in ()).throw(OSError("full"))
        )
        with pytest.raises(OSError, match="full"):
            eae.train("eae", "digits", overwrite=True, seed=1, **options)
    assert (folder / "weights.safetensors").read_bytes() == before
    assert (folder / "metrics.json").exists()
    second = eae.train("eae", "digits", overwrite=True, seed=1, **options)
    assert second.info.seed == json.loads((folder / "run.json").read_text())["seed"] == 1
    assert (folder / "weights.safetensors").read_bytes() != before
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "metrics.json").exists()
    with second.files.claimed(second.info, True, lambda: None), pytest.raises(InputError, match="another process"):
        eae.train("eae", "digits", overwrite=True, seed=2, **options)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("")
    with pytest.raises(InputError, match=r"other is not empty, and no run folder: it has no run\.json"):
        eae.train("eae", "digits", overwrite=True, **{**options, "out": tmp_path / "other"})
    assert (tmp_path / "other" / "letter.txt").exists()


def test_a_file_gives_the_options_and_the_command_line_beats_it(call, tmp_path, monkeypatch):
    heard = {}

    def train(*arguments, **options):
        heard.update(options, arguments=arguments)
        raise InputError("heard")

    monkeypatch.setattr(runs, "train", train)
    file = tmp_path / "run.yaml"
    more = "seed: 3\npicture_every: 2\nimage_size: 16\n"
    file.write_text(f"recipe: eae\ndata: digits\nset: {{width: 4, learning_rate: 1e-3}}\n{more}")
    assert call("train", "--config", file, "--seed", "5", "--set", "width=8", "image_size=8")[0] == 2
    assert heard["arguments"] == ("eae", "digits")
    assert heard["set"] == {"width": "8", "learning_rate": "1e-3", "image_size": "8"}
    assert (heard["seed"], heard["picture_every"]) == (5, 2)
    file.write_text(json.dumps({"recipe": "eae", "data": "digits", "resume": True, "value-range": [0, 1]}))
    call("train", "vae", "--config", file)
    assert heard["arguments"] == ("vae", "digits")
    assert (heard["resume"], heard["value_range"]) == (True, (0.0, 1.0))
    for text, sentence in (
        ("epoch: 3", "did you mean 'epochs'?"),
        ("width: 3\nset: {width: 4}", "width was given twice, as 4 and as 3"),
        ("- a", "holds no options; write one a line"),
        ("a: [", "is no YAML or JSON"),
        ("latent_dim: 16", "is a setting, expected options; write it below set:, as in set: {latent_dim: 16}."),
        ("set: width=3", "expects settings by name, as in set: {width: 16}"),
    ):
        file.write_text(text)
        code, _, err = call("train", "--config", file)
        assert (code, sentence in err) == (2, True), err
    assert "does not exist" in call("train", "--config", tmp_path / "none.yaml")[2]


def test_flags_take_no_value_in_the_help(call):
    for command in ([], ["train"], ["evaluate"]):
        code, out, _ = call(*command, "--help")
        assert code == 0
        assert "bool" not in out


@pytest.fixture
def listed(tmp_path):
    """Run folders of every state, of which one is damaged and one is measured."""
    folder = tmp_path / "runs"
    info = {"recipe": "eae", "preset": "digits", "data": "digits", "source": "digits", "shape": [1, 8, 8]}
    rest = {"image_size": None, "limit": None, "seed": 0, "overrides": {}, "versions": {}}
    names = {"bottleneck": "BatchNorm", "terms": [], "densities": []}
    rows = {"done": (2, [3.0, 1.5]), "cut": (9, [2.5]), "sub/none": (4, [])}
    for name, (epochs, losses) in rows.items():
        (folder / name).mkdir(parents=True)
        expanded = {"expanded": {**names, "settings": {"epochs": epochs}}}
        (folder / name / "run.json").write_text(json.dumps({**info, **rest, **expanded}))
        if losses:
            lines = [f"{i},{loss}" for i, loss in enumerate(losses, start=1)]
            (folder / name / "log.csv").write_text("\n".join(["epoch,validation_loss", *lines, ""]))
            (folder / name / "weights.safetensors").write_bytes(b"")
    digest = RunFolder(folder / "done").weights_sha256()
    codes = {"n": 9, "entropy": 1.0, "maximum": None, "gap": None}
    result = {"n": 9, "seed": 0, "real_images": 9, "reconstruction_error": 1.0, "weights_sha256": digest}
    rows = {"prior": {"images": 9, "frechet": 2.5, "kernel": 0.1, "kernel_std": 0.1}}
    result |= {"codes": codes, "distances": rows}
    metrics = {"pixels": {**result, "features": "pixels"}}
    metrics["random"] = {**result, "features": "random", "withheld": {"like_real": [], "needed": None}}
    (folder / "done" / "metrics.json").write_text(json.dumps(metrics))
    (folder / "odd").mkdir()
    (folder / "odd" / "run.json").write_text("{")
    return folder


def test_runs_are_listed_by_what_their_files_say(listed, call, monkeypatch):
    code, out, err = call("runs", listed, "--json")
    found = json.loads(out)
    assert code == 0
    assert {
        row["run"].rpartition("runs/")[2]: (row["epochs"], row["state"], row["loss"]) for row in found["runs"]
    } == {
        "cut": (1, "interrupted", 2.5),
        "done": (2, "finished", 1.5),
        "sub/none": (0, "interrupted", None),
    }
    (measured,) = (row["distances"] for row in found["runs"] if row["distances"])
    assert measured == {"pixels": {"prior": 2.5}}  # what evaluate withholds is not listed
    assert len(found["damaged"]) == err.count("odd/run.json is damaged") == 1
    lines = call("runs", listed, "--sort", "loss")[1].splitlines()
    assert [line.split()[3:6:2] for line in lines[1:4]] == [
        ["2/2", "1.5"], ["1/9", "2.5"], ["0/4", "-"],
    ]  # fmt: skip
    assert "did you mean 'state'" in call("runs", listed, "--sort", "stat")[2]
    assert "is no folder; give the one that holds the run folders" in call("runs", listed / "none")[2]
    with locked(listed / "done" / ".lock") as mine:
        assert mine
        monkeypatch.setattr("entropic_ae.storage.run_folder.locked", lambda *_, **__: nullcontext(False))
        assert read_runs(listed)[0][1].state == "running"


def test_listing_runs_does_not_import_torch():
    script = "import sys; from entropic_ae.cli import listing; listing.read_runs; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"False\n"


def test_a_run_is_resumed_by_its_folder_alone(tmp_path):
    """Recipe, data, settings, seed and precision are those of run.json."""
    options = {"out": tmp_path / "run", "device": "cpu", "progress": False}
    own = {"set": {"width": 2}, "limit": 60, "seed": 3, "precision": "64"}
    eae.train("ae", "digits", epochs=1, **own, **options)
    resumed = eae.train(resume=True, epochs=2, **options)
    whole = eae.train("ae", "digits", epochs=2, **own, **{**options, "out": tmp_path / "whole"})
    assert resumed.weights_sha256() == whole.weights_sha256()
    with pytest.raises(InputError, match="seed was 3 and is 4"):
        eae.train(resume=True, epochs=3, seed=4, **options)


def test_a_narrow_table_of_runs_keeps_names_whole():
    from entropic_ae.cli.listing import _fitting

    head = ["run", "recipe", "data", "epochs", "state", "loss", "pixels", "date"]
    lines = [
        ["runs/a-long-name-of-a-run", "eae", "photographs", "12/12", "finished", "44.6", "10.4", "2026-11-29"]
    ]
    shown = {width: [column.header for column in _fitting(head, lines, width).columns] for width in (200, 80, 30)}
    assert shown[200] == head
    assert "date" not in shown[80]
    assert shown[30][0] == "run"
