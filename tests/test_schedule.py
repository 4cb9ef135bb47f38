"""How long it is trained, what is averaged, and how images are changed: the settings of the schedule."""

import json
import warnings

import pytest
import torch
from torch import nn

from entropic_ae import (
    Autoencoder,
    BatchNorm,
    Identity,
    InputError,
    MLPDecoder,
    MLPEncoder,
    NegativeEntropy,
    Objective,
    Settings,
    SquaredError,
    fit,
    load_images,
    runs,
)
from entropic_ae.report.folder import read_folder
from entropic_ae.report.view import view
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.training.stopping import stopped

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def images():
    data = load_images("digits")
    return data.train.images[:230], data.validation.images[:90]  # two minibatches of 100 an epoch


def make():
    torch.manual_seed(0)
    model = Autoencoder(MLPEncoder(SHAPE, 4, hidden=32), BatchNorm(4), MLPDecoder(SHAPE, 4, hidden=32))
    return model, Objective([SquaredError(), NegativeEntropy(0.05)], model)


class Still(nn.Module):
    """A decoder whose images are all grey: its loss is constant."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return 0 * self.idle * z.sum() + torch.full((len(z), *SHAPE), 0.5)


def still():
    torch.manual_seed(0)
    model = Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), Identity(4), Still())
    return model, Objective([SquaredError()], model)


def test_training_stops_after_so_many_steps_without_a_new_best(images, tmp_path, capsys):
    # the first epoch is the best; five steps are three epochs
    settings = {"stop_after": 5, "patience": 2, "learning_rate": 1.0}
    rows = fit(*still(), *images, Settings(epochs=9, **settings), device="cpu", folder=tmp_path, progress=True)
    assert len(rows) == 4
    reason = "6 steps brought no lower validation loss than epoch 1 (stop_after=5)"
    assert capsys.readouterr().err.splitlines()[-1] == f"training stopped after epoch 4: {reason}"

    resumed = {"device": "cpu", "folder": tmp_path, "resume": True}
    with pytest.warns(UserWarning, match=r"training stopped after epoch 4: .*; nothing more is trained: to train"):
        assert fit(*still(), *images, Settings(epochs=12, **settings), **resumed) == rows
    settings["stop_after"] = 9  # five epochs: the fourth is not met by it
    further = fit(*still(), *images, Settings(epochs=12, **settings), **resumed)
    assert [row["epoch"] for row in further] == [1, 2, 3, 4, 5, 6]
    assert [row["learning_rate"] for row in further] == [1, 1, 1, 0.5, 0.5, 0.25]  # as if it had not stopped


def test_training_stops_when_the_learning_rate_has_died(images):
    settings = Settings(epochs=9, patience=1, learning_rate=1.0, encoder_rate=0.5, stop_rate=0.2)
    rows = fit(*still(), *images, settings, device="cpu")
    assert [row["learning_rate"] for row in rows] == [1, 1, 0.5, 0.25]  # 0.125 is below 0.2


def test_the_rules_for_stopping():
    losses, both = [3.0, 1.0, 2.0, 2.0], Settings(stop_after=200, stop_rate=0.1)
    assert stopped([], 1.0, both, 100) is None
    assert stopped(losses[:3], 0.1, both, 100) is None
    assert stopped(losses, 1.0, both, 100).steps == 400
    assert (
        stopped(losses[:3], 0.05, both, 100).reason
        == "the learning rate fell to 0.05 of the initial one (stop_rate=0.1)"
    )
    assert stopped(losses, 0.0, Settings(), 100) is None
    assert stopped(losses, 0.0, Settings(epochs=4, stop_after=1, stop_rate=0.5), 100) is None  # it has had all


def test_a_run_that_stopped_says_so_in_its_folder_and_report(tmp_path):
    rules = {"stop_after": 1, "learning_rate": 0.5, "width": 2}
    options = {"limit": 200, "epochs": 40, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    run = runs.train("eae", "digits", set=rules, **options)
    folder = RunFolder(tmp_path / "run")
    epochs = len(folder.read_log()["epoch"])
    record = json.loads((tmp_path / "run/run.json").read_text())["stopped"]
    assert run.info.stopped == folder.read_info().stopped == record
    assert (record["epoch"], record["steps"]) == (epochs, 2 * epochs)
    assert run.best_epoch == epochs - 1
    facts = dict(view(read_folder(folder.path), "run", "run").facts)
    assert facts["epochs"] == f"{epochs} of 40: stopped, as {record['reason']}"
    with pytest.warns(UserWarning, match=f"training stopped after epoch {epochs}: "):
        again = runs.train("eae", "digits", set=rules, **options, resume=True)
    assert again.info.stopped == record
    assert again.weights_sha256() == run.weights_sha256()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training stopped")
        longer = {**rules, "stop_after": 0}
        further = runs.train("eae", "digits", set=longer, **options | {"epochs": epochs + 1}, resume=True)
    assert further.info.stopped is None
    assert len(folder.read_log()["epoch"]) == epochs + 1
    with pytest.raises(InputError, match=r"ema was 0\.0 and is 0\.9"):
        runs.train("eae", "digits", set={**rules, "ema": 0.9}, **options, resume=True)
