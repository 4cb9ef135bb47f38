"""What is seen of a training while it runs: the line, the time left, the preview."""

import io
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from entropic_ae import InputError, load_images, runs
from entropic_ae.pictures import image_grid
from entropic_ae.recipes import PRESETS, RECIPES, System, configure
from entropic_ae.runs.pace import advice, flops
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.training import Execution, Settings, fit, fit_model
from entropic_ae.training import progress as progress_module
from entropic_ae.training.keeper import Keeper
from entropic_ae.training.line import State, progress_line
from entropic_ae.training.preview import Preview
from entropic_ae.training.progress import Progress

SHAPE = (1, 8, 8)
SMALL = {"width": 2, "batch_size": 20}


@pytest.fixture(scope="module")
def images():
    data = load_images("digits")
    return data.train.images[:100], data.validation.images[:60]


def system():
    return configure(RECIPES["eae"], PRESETS["digits"], SMALL).build(SHAPE)


LATE = State(108, 120, 0.9, 7 * 3600, True, "squared_error", 1295.9, 1126.31, True, 91.1, 90.8)


def test_the_line_fits_80_columns_and_has_the_entropy_of_the_prior():
    losses = "<7 h left, error 1296, val loss 1126 best"
    assert progress_line(LATE, 200) == f"epoch 108/120, 90 %, {losses}, entropy 91.1/90.8"
    assert progress_line(LATE, 81) == f"epoch 108/120, 90 %, {losses}, entropy 91.1/90.8"
    assert progress_line(LATE, 79) == f"epoch 108/120, {losses}, entropy 91.1/90.8"
    assert progress_line(LATE, 60) == f"epoch 108/120, {losses}"
    assert "left" not in progress_line(replace(LATE, share=1.0), 80)
    assert all(len(progress_line(LATE, width)) <= width for width in range(1, 130))
    first = State(1, 3, term="bernoulli_nll", error=0.01234)
    assert progress_line(first, 80) == "epoch 1/3, 0 %, bernoulli nll 0.0123"


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_line_that_is_updated_in_place(images, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress_module, "_PAUSE", 0.0)
    fit(*system(), *images, Settings(epochs=3, batch_size=20), device="cpu", progress=True, folder=tmp_path)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    lines = [line.strip() for line in shown if line.strip()]
    assert "\x1b[2K" in screen.getvalue()  # the line is erased before it is written again
    assert all(len(line) < 80 for line in lines)
    assert re.fullmatch(r"epoch 1/3, 7 %, error [\d.]+", lines[0])  # of 15 steps
    assert re.fullmatch(r"epoch 1/3, 13 %, error [\d.]+", lines[1])
    assert re.fullmatch(r"epoch 1/3, 20 %, \d+ s left, error [\d.]+", lines[2])  # two steps are timed
    numbers = r"error [\d.]+, val loss -?[\d.]+( best)?, entropy -?[\d.]+/[\d.]+"
    assert re.fullmatch(rf"epoch 3/3, 100 %, {numbers}", lines[-1])


def test_a_notebook_has_one_line_and_one_picture_in_place(monkeypatch, tmp_path):
    """IPython's interface, as its documentation has it: display returns a handle that updates what was shown."""
    cells = []

    class Handle:
        def __init__(self, content):
            cells.append([content])
            self.updates = cells[-1]

        def update(self, content, **_):
            self.updates.append(content)

    def display(content, *, display_id, raw=False):
        assert display_id is True
        assert raw == isinstance(content, dict)
        return Handle(content)

    shell = types.SimpleNamespace(kernel=object())
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    module.display = types.ModuleType("IPython.display")
    module.display.display = display
    module.display.Image = lambda data: data
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    options = {"limit": 100, "epochs": 2, "device": "cpu", "out": tmp_path / "run"}
    runs.train("eae", "digits", set=SMALL, **options, preview_every=1)
    line, picture = cells
    assert line[-1]["text/plain"].startswith("epoch 2/2, 100 %, error ")
    assert len(picture) == 2
    assert picture[-1] == (tmp_path / "run/preview.png").read_bytes()


def test_a_preview_shows_real_images_reconstructions_and_samples_and_changes_no_bit(tmp_path):
    """Of a system that draws in training, with spectral norms, batch norms and an average."""
    options = {"limit": 100, "epochs": 3, "device": "cpu", "progress": False}
    small = {**SMALL, "spectral": True, "ema": 0.5}
    seen = runs.train("vae", "digits", set=small, **options, out=tmp_path / "seen", preview_every=1)
    unseen = runs.train("vae", "digits", set=small, **options, out=tmp_path / "unseen", preview_every=0)
    assert seen.weights_sha256() == unseen.weights_sha256()
    logs = [RunFolder(run.folder).read_log() for run in (seen, unseen)]
    assert {**logs[0], "images_per_s": 0} == {**logs[1], "images_per_s": 0}
    assert not (unseen.folder / "preview.png").exists()
    assert seen.best_epoch == 3  # so the weights are those of the preview
    real = seen.data.validation.images[:16]
    expected = torch.cat([real, seen.reconstruct(real), seen.sample(48, density="prior", seed=0)])
    with Image.open(seen.folder / "preview.png") as picture:
        assert torch.equal(torch.from_numpy(np.array(picture)), image_grid(expected, 16)[0])


@pytest.mark.parametrize(
    ("epochs", "every", "drawn"),
    [(30, None, [1, *range(3, 31, 3)]), (4, None, [1, 2, 3, 4]), (9, 4, [1, 4, 8, 9])],
)
def test_previews_are_due_after_the_first_epoch_every_few_and_the_last(epochs, every, drawn, tmp_path):
    done, file = [], tmp_path / "preview.png"
    preview = Preview(file, lambda: torch.zeros(4, 1, 8, 8, dtype=torch.uint8), 4, every)
    for epoch in range(epochs):
        trainer = types.SimpleNamespace(current_epoch=epoch, max_epochs=epochs, is_global_zero=True)
        preview.on_validation_end(trainer, None)
        if file.exists():
            done.append(epoch + 1)
            file.unlink()
    assert done == drawn


def test_fewer_than_no_epochs_between_previews_are_refused(tmp_path):
    with pytest.raises(InputError, match="preview_every must be at least 1 epoch, or 0 for no preview, got -1"):
        runs.train("eae", "digits", preview_every=-1, out=tmp_path / "run")


def test_the_time_left_is_that_of_the_steps_and_validations_to_come():
    settings = Settings(epochs=10)
    keeper = Keeper(None, settings)
    progress = Progress(keeper)
    batches = types.SimpleNamespace(per_epoch=50)
    trainer = types.SimpleNamespace(current_epoch=0, max_epochs=10, num_val_batches=[6])
    task = types.SimpleNamespace(batches=batches)
    progress.steps, progress.seconds, progress.done = 1, 2.0, 2
    assert progress._left(trainer, task) is None
    progress.steps, progress.seconds, progress.done = 2, 4.0, 3
    assert progress._left(trainer, task) == pytest.approx(497 * 2.0 + 10 * 6 * 2.0 / 3)
    keeper.settings = Settings(epochs=10, ema=0.99)  # which passes 20 minibatches for its running averages
    assert progress._left(trainer, task) == pytest.approx(497 * 2.0 + 10 * (6 + 20) * 2.0 / 3)
    keeper.rows, trainer.current_epoch, progress.done, progress.rests = [{}], 1, 10, [5.0, 30.0, 4.0]
    assert progress._left(trainer, task) == pytest.approx(440 * 2.0 + 9 * 5.0)


def test_a_long_training_on_a_cpu_is_announced_once_with_a_shorter_one(images, monkeypatch, capsys):
    told = []
    monkeypatch.setattr(progress_module, "_LONG", 0)
    options = {"seed": 0, "folder": None, "resume": False, "progress": True, "logger": None, "callbacks": []}
    settings = Settings(epochs=2, batch_size=20)

    def advise(seconds):
        told.append(seconds)
        return "about 9 h"

    fit_model(*system(), *images, settings, Execution("cpu"), **options, advise=advise)
    assert len(told) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["about", "epoch", "epoch"]


def test_operations_are_those_of_the_layers():
    mlp = System(RECIPES["ae"], PRESETS["mlp"]).with_settings({"hidden": 10, "depth": 1})
    labelled, plain = (flops(System(RECIPES[name], PRESETS["mnist"]), (1, 32, 32)) for name in ("c-eae", "eae"))
    assert labelled == plain  # without what is added for labels
    assert flops(mlp, (1, 8, 8)) == 2 * (64 * 10 + 10 * 8 + 8 * 10 + 10 * 64)
    wide = System(RECIPES["eae"], PRESETS["cifar10"])
    ratio = flops(wide, (3, 32, 32)) / flops(wide.with_settings({"width": 16}), (3, 32, 32))
    assert 50 < ratio < 64  # convolutions have 64 times, the first and the last 8 times
    said = "about 8.3 h on this CPU at this width; width"
    assert advice(wide, (3, 32, 32))(3e4) == f"{said} 16 (--width 16) takes about 9 min"  # the widest of minutes
    assert advice(wide.with_settings({"width": 16}), (3, 32, 32))(3e4) == f"{said} 8 (--width 8) takes about 2.4 h"
    early = wide.with_settings({"width": 8, "stop_after": 100})
    assert advice(early, (3, 32, 32))(3e4) == "up to about 8.3 h on this CPU"


def test_the_last_preview_of_a_training_that_a_rule_ends_is_of_its_weights(tmp_path):
    rules = {**SMALL, "learning_rate": 0.05, "stop_after": 5}
    options = {"limit": 100, "epochs": 100, "device": "cpu", "progress": False, "preview_every": 100}
    run = runs.train("eae", "digits", set=rules, **options, out=tmp_path / "run")
    assert run.info.stopped is not None
    assert run.best_epoch > 1  # whose preview was drawn
    real = run.data.validation.images[:16]
    expected = torch.cat([real, run.reconstruct(real), run.sample(48, density="prior", seed=0)])
    with Image.open(run.folder / "preview.png") as picture:
        assert torch.equal(torch.from_numpy(np.array(picture)), image_grid(expected, 16)[0])
