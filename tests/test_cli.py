import csv
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import entropic_ae as eae
from entropic_ae import cli
from entropic_ae.cli import commands
from entropic_ae.errors import InputError
from entropic_ae.pictures import image_grid
from entropic_ae.registry import Registry

pytestmark = pytest.mark.usefixtures("brief")
SMALL = ["--set", "width=4", "batch_size=20", "learning_rate=0.002", "--limit", "300", "--device", "cpu"]
TRAIN = [sys.executable, "-m", "entropic_ae", "train", "eae", "digits", *SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["entropic-ae", *TRAIN[3:], "--epochs", "2", "--out", str(folder)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    assert not exit_.value.code
    return folder


def test_train_leaves_a_run_folder_with_pictures(folder):
    names = {p.name for p in folder.iterdir()}
    assert {"run.json", "log.csv", "weights.safetensors", "samples-prior.png", "reconstructions.png"} <= names
    assert {"interpolations.png"} <= names
    assert json.loads((folder / "run.json").read_text())["overrides"] == {
        "width": "4", "batch_size": "20", "learning_rate": "0.002", "epochs": "2",
    }  # fmt: skip


def test_images_are_drawn_without_the_libraries_of_training(folder):
    script = f"""
import sys
from entropic_ae import cli, explore, runs
for command in ("sample", "reconstruct", "interpolate", "report"):
    sys.argv = ["entropic-ae", command, {str(folder)!r}, "--quiet"]
    try:
        cli.main()
    except SystemExit as stop:
        assert not stop.code, command
run = runs.load({str(folder)!r}, device="cpu")
run.encode(run.data.test.images)
explore.Explorer(run).sample("prior", 3, seed=0)
heavy = ("pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics")
heavy += ("torch._dynamo", "datasets", "pandas", "sklearn", "scipy.stats", "scipy.special")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_train_says_what_it_was_asked_for_before_pytorch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    train = [*TRAIN, "--set", "entropy=0.5", "--seed", "3"]
    done = subprocess.run(
        train, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    settings = "width=4, batch_size=20, learning_rate=0.002, entropy=0.5"
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == f"reading digits to train eae, seed 3, {settings}\n"


def test_what_does_not_exist_is_told_before_pytorch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    script = """
import sys
from entropic_ae import cli
for words in sys.argv[1:]:
    sys.argv = ["entropic-ae", *words.split()]
    try:
        cli.main()
    except SystemExit as stop:
        print(stop.code)
"""
    commands = [
        *(f"{name} nowhere" for name in ("sample", "reconstruct", "score", "interpolate", "export", "explore")),
        *("edit nowhere --toward 3", "train --like nowhere", "train --from nowhere", "train eae ./nowhere"),
        "train eae digits --out .",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *commands],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2"] * len(commands)
    assert done.stderr.count("error: ") == done.stderr.count("\n") == len(commands)


def test_width_and_epochs_are_short_for_settings(call, tmp_path):
    small = ["--limit", 100, "--device", "cpu", "--out", tmp_path / "run", "--set", "latent_dim=2"]
    assert call("train", "eae", "digits", "--width", 2, "--epochs", 1, *small)[0] == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["expanded"]["settings"]
    assert (settings["width"], settings["epochs"], settings["latent_dim"]) == (2, 1, 2)
    code, _, err = call("train", "eae", "digits", "--width", 2, "--set", "width=4")
    assert (code, err.count("\n")) == (2, 1)
    assert "width was given twice, as 4 and as 2; give it once." in err


def test_recipes_lists_systems_and_settings(call):
    code, out, _ = call("recipes")
    assert code == 0
    registries = [one for name in eae.__all__ if isinstance(one := getattr(eae, name), Registry)]
    for registry in registries:
        if registry is not eae.TERMS:  # which recipes hold
            assert re.search(rf"^{registry.kind}  ", out, re.MULTILINE)
            assert all(name in out for name in registry)
    code, out, _ = call("recipes", "eae")
    assert code == 0
    for word in ("BatchNorm", "entropy * NegativeEntropy", "0.0516", "latent_dim", "celeba", "equation (2)"):
        assert word in out
    assert re.search(r"classifier +classifier +inception", out)  # nothing is folded where no terminal has a width
    assert call("recipes", "eea")[0] == 2


def test_what_the_library_logs_is_shown(call, capsys):
    call("--version")
    logging.getLogger("entropic_ae.features").info("training [once]")
    assert capsys.readouterr().err == "training [once]\n"


def test_version(call):
    assert call("--version")[:2] == (0, eae.__version__ + "\n")


def test_sample_writes_grid_array_and_folder(call, folder, tmp_path):
    images = eae.load(folder, device="cpu").sample(5, density="gaussian", seed=2)
    arguments = ["sample", folder, "--density", "gaussian", "--n", 5, "--seed", 2, "--out"]
    assert call(*arguments, tmp_path / "grid.png")[0] == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "grid.png")), eae.image_grid(images)[0].numpy())
    assert call(*arguments, tmp_path / "array.npz")[0] == 0
    assert np.array_equal(np.load(tmp_path / "array.npz")["images"], images.numpy())
    assert call(*arguments, tmp_path / "folder")[0] == 0
    files = sorted((tmp_path / "folder").iterdir())
    assert len(files) == 5
    assert np.array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), images[:, 0].numpy())
    for taken in ("grid.png", "array.npz", "folder"):
        code, _, err = call(*arguments, tmp_path / taken)
        assert code == 2
        assert "exists and is not overwritten; give another place" in err
    code, _, err = call(*arguments, tmp_path / "grid.jpg")
    assert code == 2
    assert "cannot write '.jpg' files" in err
    assert call("sample", folder)[:2] == (0, f"{folder / 'samples-prior.png'}\n")  # the run's own, made anew


def test_sample_writes_a_row_of_each_label(call, folder):
    assert call("sample", folder, "--label", 3, "--label", 5, "--n", 4)[:2] == (
        0,
        f"{folder / 'labels-gaussian-3-5.png'}\n",
    )
    run = eae.load(folder, device="cpu")
    rows = torch.cat([run.sample(4, label=label) for label in (3, 5)])
    drawn = np.asarray(Image.open(folder / "labels-gaussian-3-5.png"))
    assert np.array_equal(drawn, image_grid(rows, 4)[0])
    assert "has no training images of label 77" in call("sample", folder, "--label", 77)[2]


def test_pictures_of_classes_are_called_by_their_names(call, folder, tmp_path):
    named = tmp_path / "named"
    shutil.copytree(folder, named)
    info = json.loads((named / "run.json").read_text())
    info["classes"]["names"][3:6] = ["golden retriever/old", "..", "ü" * 99]
    (named / "run.json").write_text(json.dumps(info))
    labels = ("--label", "golden retriever/old", "--label", 4, "--label", 5)
    place = named / f"labels-gaussian-golden-retriever-old-4-{'ü' * 40}.png"
    assert call("sample", named, *labels, "--n", 1)[:2] == (0, f"{place}\n")
    place = named / "edits-golden-retriever-old.png"
    assert call("edit", named, "--toward", 3, "--n", 1)[:2] == (0, f"{place}\n")
    assert place.is_file()


def test_label_and_labels_are_one_argument(folder):
    run = eae.load(folder, device="cpu")
    assert torch.equal(run.sample(2, labels=3), run.sample(2, label=3))
    assert torch.equal(run.density("gaussian", labels=3).sample(2), run.density("gaussian", label=3).sample(2))
    images = run.data.test.images[:2]
    for given in ({"label": 3}, {"labels": 3}):
        for method in (run.encode, run.reconstruct, run.score, run.anomalies):
            with pytest.raises(InputError, match="is not conditional: it encodes and decodes without labels"):
                method(images, **given)
    with pytest.raises(InputError, match="labels and label are the same argument; give one of them"):
        run.encode(images, label=3, labels=3)


def test_a_transport_says_what_it_gains(call, folder, tmp_path):
    """The likelihood of validation codes with the map and without, of one kind and of all."""
    folder = shutil.copytree(folder, tmp_path / "run")
    run = eae.load(folder, device="cpu")
    codes = run.encode(run.data.validation.images).double()
    without = run.model.bottleneck.prior().log_prob(codes).mean().item()
    code, out, _ = call("transport", folder, "--compare", "--json", "--device", "cpu")
    by_kind = json.loads(out)["log_likelihood"]
    assert code == 0
    assert {*by_kind} >= {"none", "gaussian", "marginals", "copula", "mixture"}
    assert by_kind["none"] == pytest.approx(without, abs=1e-4)
    assert not (folder / "transport.safetensors").exists()
    code, out, _ = call("transport", folder, "--kind", "gaussian", "--json", "--device", "cpu")
    found = json.loads(out)["log_likelihood"]
    transport = eae.load(folder, device="cpu").transport
    assert found["transport"] == pytest.approx(transport.log_prob(codes).mean().item(), abs=1e-4)
    assert found == pytest.approx({"transport": by_kind["gaussian"], "prior": without}, abs=1e-4)
    assert call("transport", folder, "--compare", "--device", "cpu")[1].splitlines()[0] == (
        "Mean log likelihood of validation codes, nats (higher is better):"
    )
    assert call("transport", folder, "--compare", "--set", "components=3")[::2] == (
        2, "error: --compare fits every kind at its default settings; leave --set out.\n"
    )  # fmt: skip
    code, _, err = call("transport", folder, "--kind", "gaussian", "--set", "components=3")
    assert (code, "unknown setting of the transport 'gaussian' 'components'; known: none." in err) == (2, True)


def test_a_transport_of_few_codes_or_without_gain_is_warned_of(call, tmp_path, monkeypatch):
    run = eae.train(
        "bn-ae",
        "digits",
        set={"width": 4, "latent_dim": 8},
        limit=60,
        epochs=1,
        out=tmp_path / "few",
        progress=False,
    )
    _, out, err = call("transport", run.folder, "--set", "components=30", "--device", "cpu")
    assert "60 training codes of 8 dimensions are few for a transport" in err
    assert "Mean log likelihood of validation codes: " in out
    monkeypatch.setattr("entropic_ae.runs.transporting.likelihoods", lambda _: (-9.0, -8.0))
    _, out, err = call("transport", run.folder, "--kind", "marginals", "--device", "cpu")
    assert "Mean log likelihood of validation codes: -9.00 nats, without the transport -8.00." in out
    assert "describes validation codes worse than the prior does; fit another one, or none." in err


def test_score_writes_a_row_an_image(call, folder, tmp_path):
    run = eae.load(folder, device="cpu")
    images = run.data.test.images
    code, out, err = call("score", folder, "--density", "prior", "--device", "cpu")
    assert (code, err) == (0, "")
    with (folder / "scores-prior.csv").open() as file:
        rows = list(csv.DictReader(file))
    error, log_prob = run.score(images, density="prior")
    assert [row["image"] for row in rows] == [str(i) for i in range(len(images))]
    assert [float(row["error"]) for row in rows] == pytest.approx(error.tolist(), rel=1e-4)
    assert [float(row["log_prob"]) for row in rows] == pytest.approx(log_prob.tolist(), rel=1e-4)
    assert out.startswith(
        f"likelihood under the density prior; highest errors, of images: {error.argmax().item()} ("
    )
    photos = tmp_path / "photos"
    eae.save_images(torch.randint(256, (5, 3, 40, 30), dtype=torch.uint8), photos)
    found = run.anomalies(images, density="prior")
    assert [float(row["surprise"]) for row in rows] == pytest.approx(found.surprise.tolist(), rel=1e-4)
    assert [float(row["p_value"]) for row in rows] == pytest.approx(found.p_value.tolist(), rel=1e-4)
    out = call("score", folder, photos)[1]
    assert out.splitlines()[-1] == str(folder / "scores-prior-photos.csv")
    assert re.search(r"highest errors, of images: \d\.png \(", out)
    with (folder / "scores-prior-photos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{i}.png" for i in range(5)]
    with pytest.warns(UserWarning, match="5 of 5 images are cut"):
        error = run.score(photos).error
    assert [float(row["error"]) for row in rows] == pytest.approx(error.tolist(), rel=1e-4)
    again = call("score", folder, "--out", folder / "scores-prior.csv")
    assert again[::2] == (2, f"error: {folder / 'scores-prior.csv'} exists; give another --out.\n")
    assert "--out expects a file .csv, got x.png" in call("score", folder, "--out", "x.png")[2]


def test_reconstruct_and_interpolate_other_images(call, folder, tmp_path):
    photos = tmp_path / "photos"
    eae.save_images(torch.randint(256, (5, 3, 40, 30), dtype=torch.uint8), photos)
    assert call("reconstruct", folder, photos, "--out", tmp_path / "r.npz")[0] == 0
    images = eae.load(folder, device="cpu")
    expected = images.reconstruct(eae.data.read_images(photos, (1, 8, 8)))
    assert np.array_equal(np.load(tmp_path / "r.npz")["images"], expected.numpy())
    assert call("reconstruct", folder, photos, "--out", tmp_path / "r.png")[0] == 0
    assert call("interpolate", folder, photos, "--steps", 4, "--out", tmp_path / "i.npz")[0] == 0
    assert np.load(tmp_path / "i.npz")["images"].shape == (2 * 4, 1, 8, 8)
    assert call("reconstruct", folder)[0] == call("interpolate", folder, "--kind", "linear")[0] == 0
    own = (folder / "reconstructions.png").read_bytes()
    assert call("reconstruct", folder, photos)[:2] == (0, f"{folder / 'reconstructions-photos.png'}\n")
    assert (folder / "reconstructions.png").read_bytes() == own
    some = [photos / "3.png", photos / "1.png"]
    for files in (some[:1], some):
        place = tmp_path / "missing" / "folders" / f"{len(files)}.npz"
        assert call("reconstruct", folder, *files, "--out", place)[0] == 0
        assert np.array_equal(np.load(place)["images"], expected[[3, 1][: len(files)]].numpy())
    assert call("reconstruct", folder, *some)[1] == f"{folder / 'reconstructions-3-and-1-more.png'}\n"
    assert "none.png does not exist" in call("reconstruct", folder, photos / "none.png")[2]


def test_folders_above_a_file_are_created(call, folder, tmp_path):
    commands = [
        ("sample", folder, "--n", 2, "a/b/x.png"), ("sample", folder, "--n", 2, "c/d/folder"),
        ("interpolate", folder, "--n", 1, "e/f/x.npz"), ("interpolate", folder, "--n", 2, "g/h/x.gif"),
        ("score", folder, "--density", "prior", "i/j/x.csv"), ("report", folder, "k/l/x.html"),
        ("export", folder, "--to", "safetensors", "m/n/folder"),
    ]  # fmt: skip
    for *command, place in commands:
        assert call(*command, "--out", tmp_path / place)[0] == 0
        assert (tmp_path / place).exists()


def test_reconstruction_grid_shows_each_image_above_its_reconstruction(call, folder, tmp_path):
    call("reconstruct", folder, "--n", 20, "--out", tmp_path / "r.png")
    run = eae.load(folder, device="cpu")
    images = run.data.test.images[:20]
    side = 64 + 8  # 8 pixels enlarged 8 times, and the gap
    grid = torch.from_numpy(np.asarray(Image.open(tmp_path / "r.png")).copy())

    def at(row, column):
        return grid[8 + row * side :, 8 + column * side :][:64, :64][::8, ::8]

    rebuilt = run.reconstruct(images)
    assert torch.equal(at(0, 3), images[3, 0])
    assert torch.equal(at(1, 3), rebuilt[3, 0])
    assert torch.equal(at(2, 1), images[17, 0])
    assert torch.equal(at(3, 1), rebuilt[17, 0])
    assert at(3, 9).eq(255).all()


@pytest.mark.parametrize(("epochs", "seen"), [(7, None), (1, 15)])
def test_short_training_is_told(folder, tmp_path, epochs, seen):
    run = tmp_path / "run"
    shutil.copytree(folder, run, ignore=shutil.ignore_patterns("metrics.json"))
    losses = [f"{epoch},{abs(epoch - epochs)}" for epoch in range(1, 9)]  # lowest at that one
    (run / "log.csv").write_text("\n".join(["epoch,validation_loss", *losses[: epochs + 1]]))
    caution = eae.load(run, device="cpu").caution
    assert caution == (
        seen
        and f"the weights have seen {seen} minibatches, and the running averages of the norms have not converged "
        "before 100: entropies, distances and images mean little yet; train for more than 7 epochs "
        "(continue with --resume)."
    )


def test_a_run_without_a_readable_log_has_no_caution(folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    for text in ("", "epoch,validation_loss\n", "epoch,validation_loss\none,0\n", "epoch,validation_loss\n1\n"):
        (run / "log.csv").write_text(text)
        assert eae.load(run, device="cpu").caution is None
    (run / "log.csv").unlink()
    assert eae.load(run, device="cpu").caution is None


def test_evaluate_prints_a_table_and_writes_pictures(call, folder):
    code, out, err = call("evaluate", folder, "--features", "pixels", "--n", 200)
    assert (code, err) == (0, f"measuring {folder}\n")
    for word in (
        "held-out images",
        "reconstructions",
        "interpolations",
        "prior",
        "gaussian",
        "mixture",
        "below the same estimate of as many prior samples",
        "x floor",
    ):
        assert word in out
    metrics = json.loads((folder / "metrics.json").read_text())["pixels"]
    assert f"{metrics['distances']['prior']['frechet']:.2f}" in out
    for density in eae.RECIPES["eae"].densities:
        assert (folder / f"samples-{density}.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "eea", "digits"], "unknown recipe 'eea'; did you mean 'eae'?"),
        (
            ["train", "eae", "digist"],
            "no folder or file 'digist' here; unknown data set 'digist'; did you mean 'digits'?",
        ),
        (["train", "my photos", "eae"], "which is a recipe; write train eae 'my photos'."),
        (["train", "digits"], "such as eae mnist, got only digits; give both"),
        (["train", "eae", "digits", "--set", "widht=4"], "unknown setting 'widht'; did you mean 'width'?"),
        (
            ["train", "eae", "digits", "--set", "imagesize=8"],
            "unknown setting 'imagesize'; did you mean 'image_size'?",
        ),
        (
            ["train", "eae", "digits", "--image-size", 12],
            "image_size must be a multiple of 8 from 8 to 256, got 12",
        ),
        (["train", "eae", "digits", "--set", "width"], "--set expects NAME=VALUE, got 'width'"),
        (["train", "eae", "digits", "--set", "width=wide"], "width expects a whole number, got 'wide'"),
        (
            ["train", "eae", "digits", "--limit", "1"],
            "limit must be at least 2 images, got 1; give more, or none for all.",
        ),
        (["train", "eae", "digits", "--set", "batch_size=1"], "batch_size must be at least 2, got 1."),
        (["train", "eae", "digits", "--device", "cuda"], "PyTorch sees no GPU; use --device cpu."),
        (["train", "eae", "digits", "--set", "width=4", "width=8"], "width was given twice, as 4 and as 8"),
        (["table1", "digits", "--recipes", "ae,foo"], "unknown recipe 'foo'"),
        (["table1", "digits", "--recipes", "ae:foo=1"], "unknown setting 'foo'"),
        (["table1", "digits", "--recipes", ""], "unknown recipe ''"),
        (["table1", "digits", "--seeds", "0,x"], "--seeds expects whole numbers separated by commas, got '0,x'"),
        (["train", "eae", "digits", "--devices", "0"], "devices and nodes must be at least 1, got 0 and 1."),
        (
            ["train", "eae", "digits", "--device", "cpu", "--devices", "3"],
            "batch_size must be a multiple of the 3 processes, got 100.",
        ),
        (
            ["train", "eae", "digits", "--device", "cpu", "--limit", "3", "--devices", "2"],
            "2 processes need at least 4 images to share, got 3; take fewer.",
        ),
        (["table1", "digits", "--features", "pixel"], "unknown feature space 'pixel'; did you mean 'pixels'?"),
        (
            ["table1", "digits", "--features", "net.pt"],
            "net.pt does not exist; --features must name a feature space or a TorchScript file",
        ),
        (["table1", "digits", "--device", "cud"], "device must be auto, cpu, cuda or mps, got 'cud'."),
        (["table1", "digits", "--picture", "all.jpg"], "got all.jpg; give FILE.png or FILE.pdf."),
        (["train", "nothing", "digits"], "unknown recipe 'nothing'; known: 2seae"),
        (["tune", "digits", "--rates", "x"], "--rates expects numbers separated by commas, got 'x'."),
        (["tune", "digits", "--shares", "0.5"], "shares of the epochs must rise from above 0 to 1, got [0.5]."),
        (["table1", "digits", "--densities", "mixtur"], "unknown density 'mixtur'; did you mean 'mixture'?"),
        (
            ["figure", "constraint"],
            "unknown figure 'constraint'; expected 1 to 11, all, constraints, estimator, or of",
        ),
        (["figure", "1", "digits"], "figure 1 has its own data, got 'digits'; leave it out."),
        (["figure", "constraints", "--limit", "9"], "figure constraints trains no network; leave --limit out."),
        (
            ["figure", "5", "--budget", "small", "--render"],
            "--budget and --render: only for figure bottleneck, weight,",
        ),
        (
            ["figure", "weight", "digits", "--steps", "9"],
            "--steps: only for figure budget, not weight; leave it out.",
        ),
        (
            ["figure", "weight", "digits", "--tuned", "there", "--tables", "there"],
            "--tuned: only for figure budget, 4, 10, 11, all, not weight; leave it out.",
        ),
        (["table1", "digits", "--budget", "smal"], "unknown budget 'smal'; did you mean 'small'?"),
        (["figure", "constraints", "--n", "9", "--runs", "r"], "trains no network; leave --n and --runs out."),
        (["figure", "constraints", "--precision", "64", "--compile"], "leave --precision and --compile out."),
        (["sample", "nowhere"], "nowhere does not exist; give the folder that train made"),
        (["evaluate", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(call, arguments, sentence, tmp_path, monkeypatch):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert code == 2
    *before, last = err.splitlines()
    assert len(before) <= (arguments[0] == "train")  # which first says what it was asked for
    assert last.startswith("error: ")
    assert sentence in last
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir())


def test_a_warning_is_one_line_and_gives_the_terminal_no_orders(capsys):
    """It may name a stranger's file, and a file's name may hold anything."""
    commands._show_warning("1 of 9 images cannot be read: a\n\x1b[31mred.png.", UserWarning)
    assert capsys.readouterr().err == "warning: 1 of 9 images cannot be read: a [31mred.png.\n"


def test_unknown_names_on_a_run(call, folder):
    assert (
        "unknown density 'gausian'; did you mean 'gaussian'?" in call("sample", folder, "--density", "gausian")[2]
    )
    code, _, err = call("evaluate", folder, "--features", "inceptoin")
    assert code == 2
    assert "unknown feature space 'inceptoin'; did you mean 'inception'?" in err
    assert "steps" in call("interpolate", folder, "--steps", 1)[2]


@pytest.mark.parametrize("n", [0, -3])
def test_counts_below_one(call, folder, n):
    for command in ("sample", "reconstruct", "interpolate"):
        code, _, err = call(command, folder, "--n", n)
        assert code == 2
        assert err.count("\n") == 1


def test_existing_out_is_refused(call, folder, tmp_path):
    code, _, err = call("train", "eae", "digits", "--out", folder)
    assert code == 2
    assert "holds a run already; give another folder" in err
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"")
    code, _, err = call("train", "eae", "digits", "--out", tmp_path / "photos")
    assert code == 2
    assert "is not empty, and no run folder: it has no run.json" in err
    assert "overwrite" not in err


def test_what_a_name_stands_for_is_said(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    short = ("--epochs", 1, "--limit", 100, "--set", "width=2", "--out", "run")
    code, _, err = call("train", "eae", "digits", *short, "--resume")
    assert code == 0
    said = re.sub(r"\s+", " ", err)
    assert f"digits is the registered data set of that name; for what lies here, write .{os.sep}digits." in said
    assert "run holds no run yet, so training starts from the beginning" in said
    assert "into run; preview.png there shows how far it is" in said
    assert call("sample", "runn")[2].endswith(
        "runn does not exist; give the folder that train made, such as run.\n"
    )


@pytest.mark.parametrize("broken", ["a file in the way", "no permission"])
def test_places_that_cannot_be_written(call, folder, tmp_path, broken):
    place = tmp_path / "place"
    if broken == "a file in the way":
        place.write_text("")
    else:
        place.mkdir(mode=0o500)
        if os.access(place, os.W_OK):
            pytest.skip("this user may write anywhere")
    for arguments in (
        ["sample", folder, "--out", place / "x" / "a.png"],
        ["train", "eae", "digits", "--out", place / "x"],
    ):
        code, _, err = call(*arguments)
        assert code == 2
        assert err.splitlines()[-1].startswith("error: ")  # train first says what it was asked for
        assert "place" in err
        assert "Traceback" not in err


def test_memory_that_is_not_enough_is_told_with_a_remedy(call, monkeypatch, tmp_path):
    """That of this machine, by an absurd size; of a GPU, by PyTorch's error."""
    huge = ("--set", "width=2", f"latent_dim={2**40}", "--out", tmp_path / "run")
    code, out, err = call("train", "eae", "digits", *huge)
    assert (code, out) == (2, "")
    assert "error: there is not enough memory (" in err
    assert "lower batch_size, width or latent_dim, or take fewer images." in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    for error, expected in (
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore"),
            "CUDA out of memory. Tried to",
        ),
        (MemoryError(), "not enough memory (of this machine)"),
    ):
        monkeypatch.setattr(commands, "_expand", raising(error))
        code, _, err = call("recipes")
        assert code == 2
        assert expected in err
        assert "More" not in err
    monkeypatch.setattr(commands, "_expand", raising(RuntimeError("a defect")))
    monkeypatch.setattr(sys, "argv", ["entropic-ae"])
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main()


def raising(error):
    def fail(_):
        raise error

    return fail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_no_space(call, folder, tmp_path, monkeypatch):
    """Every write fails as on a full disk: one sentence, and no half-written file."""
    real = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", lambda self, *_: real(self, "/dev/full", format="PNG"))
    code, _, err = call("sample", folder, "--out", tmp_path / "a.png")
    assert code == 2
    assert "No space left on device" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("space", ["100k", "700k"])
def test_training_on_a_full_disk(call, tmp_path, space):
    """No space for the weights, or for the checkpoint after them: a sentence, and a folder that can be told of."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={space}", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        small = ["--set", "width=8", "--epochs", "2", "--limit", "300", "--device", "cpu", "--out", disk / "run"]
        code, _, err = call("train", "eae", "digits", *small)
        assert code == 2
        assert "No space left on device" in err
        assert "Traceback" not in err
        if (disk / "run" / "weights.safetensors").exists():
            assert eae.load(disk / "run", device="cpu").sample(1).shape == (1, 1, 8, 8)
        else:
            assert "has no weights.safetensors" in call("sample", disk / "run")[2]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_several_set_values_in_every_form():
    assert commands._expand(["train", "--set", "a=1", "b=2", "--epochs", "3", "--set", "c=4"]) == [
        "train", "--set", "a=1", "--set", "b=2", "--epochs", "3", "--set", "c=4",
    ]  # fmt: skip
    assert commands._expand(["train", "--set=a=1"]) == ["train", "--set=a=1"]
    assert commands._expand(["train", "--set"]) == ["train", "--set"]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_keeps_the_best_weights_so_far(tmp_path):
    folder = tmp_path / "run"
    command = [*TRAIN, "--epochs", "2000", "--seed", "1", "--out", folder]
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs do not
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)  # noqa: PLW1509
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    said = re.sub(r"\s+", " ", err)
    assert said.endswith("interrupted; no file is incomplete. ")
    again = re.search(
        r"of 2000 epochs, and can be sampled; to resume: entropic-ae (.* --resume) interrupted", said
    )[1]
    assert "Traceback" not in err
    assert eae.load(folder, device="cpu").sample(2).shape == (2, 1, 8, 8)
    epochs = len((folder / "log.csv").read_text().splitlines()) - 1
    words = [str(epochs + 1) if word == "2000" else word for word in shlex.split(again)]
    subprocess.run([sys.executable, "-m", "entropic_ae", *words], check=True, capture_output=True)
    assert len((folder / "log.csv").read_text().splitlines()) - 1 == epochs + 1
    resumed = eae.train(out=folder, resume=True, epochs=epochs + 2, device="cpu", progress=False)  # seed 1, too
    assert len((folder / "log.csv").read_text().splitlines()) - 1 == epochs + 2
    assert resumed.sample(1).shape == (1, 1, 8, 8)
