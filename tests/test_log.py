"""log.csv is written whole, and read by one reader wherever it is read."""

import os
import shutil

import pytest

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.report.folder import read_folder
from entropic_ae.storage.log import best_epoch, read_log, write_log
from entropic_ae.storage.run_folder import LOG
from entropic_ae.training.callbacks import EarlierEpochs

ROWS = [{"epoch": 1, "train_loss": 0.1 + 0.2, "validation_loss": 2.0}, {"epoch": 2, "train_loss": -1e-300,
         "validation_loss": float("nan")}]  # fmt: skip
DAMAGES = {
    "": "it has no epochs",
    "epoch,validation_loss\n": "it has no epochs",
    "validation_loss\n1\n": "it has no epochs",
    "\x00": "it has no epochs|NUL",
    "epoch,validation_loss\n1\n": "its rows differ in length",
    "epoch,validation_loss\n1,2\n2": "its rows differ in length",
    "epoch,validation_loss\n1,2\n\n2,1\n": "its rows differ in length",
    "epoch,validation_loss\n1,x\n": "could not convert string to float: 'x'",
    "epoch,validation_loss\n1,\n": "could not convert string to float: ''",
    "epoch,epoch\n1,1\n": "a column is duplicated",
    "epoch,validation_loss\nnan,1\n": "its epochs do not count from 1",
    "epoch,validation_loss\n1e999,1\n": "its epochs do not count from 1",
    "epoch,validation_loss\n0,1\n": "its epochs do not count from 1",
    "epoch,validation_loss\n1,1\n1,1\n": "its epochs do not count from 1",
    'epoch,validation_loss\n"1,1\n': "unexpected end of data",
    f"epoch,validation_loss\n1,{'9' * 200_000}\n": "field larger than field limit",
    "epoch,validation_loss\n" + (2 << 20) * "1,1.0e+0\n": "more than 16 MiB of CSV",
    "epoch,validation_loss\n1,1\n\udcff": "can't decode byte 0xff",
}


class Logger:
    """Lightning's, of which this much is needed; and the trainer that has it."""

    def __init__(self):
        self.logger = self
        self.rows = []

    def log_metrics(self, row, step):
        self.rows.append((step, row))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    small = {"width": 2, "batch_size": 20}
    eae.train("eae", "digits", set=small, epochs=1, limit=100, out=out, device="cpu", progress=False)
    return out


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_what_is_read_is_what_was_written(tmp_path):
    write_log(tmp_path / LOG, ROWS)
    log = read_log(tmp_path / LOG)
    assert list(log) == ["epoch", "train_loss", "validation_loss"]
    assert log["epoch"] == [1, 2]
    assert log["train_loss"] == [0.1 + 0.2, -1e-300]  # to the bit
    assert str(log["validation_loss"]) == "[2.0, nan]"
    assert best_epoch(log) == 1
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_names_of_terms_may_be_of_any_letters(tmp_path):
    write_log(tmp_path / LOG, [{"epoch": 1, "train_größe": 1.0}])
    assert read_log(tmp_path / LOG)["train_größe"] == [1.0]


def test_a_loss_that_is_not_finite_is_never_the_best():
    log = {"epoch": [1.0, 2.0, 3.0], "validation_loss": [float("nan"), 5.0, float("-inf")]}
    assert best_epoch(log) == 2
    assert best_epoch({"epoch": [1.0]}) is None


@pytest.mark.parametrize("text", DAMAGES, ids=lambda text: repr(text)[:40])
def test_every_reader_knows_damage(folder, text):
    (folder / LOG).write_bytes(text.encode(errors="surrogateescape"))
    trainer = Logger()
    sentence = rf"log\.csv is damaged \(.*({DAMAGES[text]}).*\); train the run again\."
    for read in (
        lambda: read_log(folder / LOG),
        lambda: read_folder(folder),
        lambda: EarlierEpochs("csv", folder / LOG).on_fit_start(trainer, None),
    ):
        with pytest.raises(InputError, match=sentence):
            read()
    assert trainer.rows == []
    assert eae.load(folder, device="cpu").caution is None


PIPE = pytest.param("a pipe", marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none"))


@pytest.mark.parametrize("instead", ["nothing", "a folder", "a link to nothing", PIPE])
def test_every_reader_does_without(folder, instead, tmp_path):
    (folder / LOG).unlink()
    if instead == "a folder":
        (folder / LOG).mkdir()
    elif instead == "a link to nothing":
        (folder / LOG).symlink_to(tmp_path / "nowhere")
    elif instead == "a pipe":
        os.mkfifo(folder / LOG)  # opening one would wait for somebody at its other end
    trainer = Logger()
    EarlierEpochs("csv", folder / LOG).on_fit_start(trainer, None)
    assert read_log(folder / LOG) == read_folder(folder).log == {}
    assert trainer.rows == []
    assert eae.load(folder, device="cpu").caution is None


def test_every_reader_gives_the_same(folder):
    write_log(folder / LOG, [{"epoch": 1, "validation_loss": 3.0}, {"epoch": 2, "validation_loss": 2.5}])
    trainer = Logger()
    EarlierEpochs("csv", folder / LOG).on_fit_start(trainer, None)
    assert trainer.rows == [(1, {"epoch": 1, "validation_loss": 3.0}), (2, {"epoch": 2, "validation_loss": 2.5})]
    assert read_folder(folder).log == {"epoch": [1, 2], "validation_loss": [3.0, 2.5]}
    # the best is epoch 2, and an epoch has 5 minibatches
    assert eae.load(folder, device="cpu").caution.startswith("the weights have seen 10 minibatches, ")
