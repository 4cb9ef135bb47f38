"""Each logger gets every row of log.csv, a picture every few epochs and the settings, without a network."""

import csv
import os
import socket
import subprocess
import sys

import pytest
from pytorch_lightning.loggers import Logger

from entropic_ae import LOGGERS, InputError, LoggerKind
from entropic_ae.pictures import save_images
from entropic_ae.runs import train
from entropic_ae.training import loop

EPOCHS, EVERY = 5, 2
PICTURES = 3  # of epochs 2, 4 and 5


def read_csv(folder):
    with (folder / "metrics.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    return (
        losses,
        sorted(path.stem for path in folder.glob("samples-*.png")),
        (folder / "hparams.yaml").read_text(),
    )


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    losses = [event.value for event in events.Scalars("validation_loss")]
    return losses, [event.step for event in events.Images("samples")], (folder / "hparams.yaml").read_text()


def read_mlflow(folder):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.as_uri())
    run = client.search_runs([client.get_experiment_by_name("entropic-ae").experiment_id])[0]  # the latest
    history = client.get_metric_history(run.info.run_id, "validation_loss")
    losses = [point.value for point in sorted(history, key=lambda point: point.step)]
    return losses, [file.path for file in client.list_artifacts(run.info.run_id)], str(run.data.params)


READERS = {"csv": read_csv, "tensorboard": read_tensorboard, "mlflow": read_mlflow}
READABLE = sorted({*LOGGERS} - {"wandb"})  # whose files its server reads; it has a test of its own


def tracked(name, folder, epochs=EPOCHS, settings=None, **options):
    pytest.importorskip(LOGGERS[name].package or "pytorch_lightning")
    return train(
        "eae", "digits", set={"width": 2, **(settings or {})}, epochs=epochs, limit=200, device="cpu", out=folder,
        progress=False, picture_every=EVERY, **{"logger": name, **options},
    )  # fmt: skip


def losses_in(run):
    with (run.folder / "log.csv").open() as file:
        return [float(row["validation_loss"]) for row in csv.DictReader(file)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a logger would leave what it leaves in the working folder
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # what is set in the test is undone after it
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.parametrize("name", READABLE)
def test_a_logger_gets_rows_pictures_and_settings(name, tmp_path):
    run = tracked(name, tmp_path / "run")
    losses, pictures, settings = READERS[name](run.folder / "logs")
    assert losses == pytest.approx(losses_in(run), rel=1e-6)
    assert len(losses) == EPOCHS
    assert len(pictures) == PICTURES
    assert "learning_rate" in settings
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("logged", [[True], [False], [True, False]], ids=["logged", "not", "at first"])
@pytest.mark.parametrize("name", READABLE)
def test_the_logger_of_a_resumed_run_has_the_epochs_before_too(name, logged, tmp_path, recwarn):
    """Whether they were logged when they were trained or not."""
    for before, this in enumerate([*logged, True]):
        own = {} if this else {"logger": None}
        run = tracked(name, tmp_path / "run", epochs=before + 1, resume=before > 0, **own)
    losses, _, _ = READERS[name](run.folder / "logs")
    assert losses == pytest.approx(losses_in(run), rel=1e-6)
    assert len(losses) == len(logged) + 1
    assert not any("will be deleted" in str(one.message) for one in recwarn)  # as the CSV logger says of them


def test_an_epoch_is_logged_with_its_picture_before_its_checkpoint_is_written(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        tracked("csv", tmp_path / "run", epochs=1)
    losses, pictures, _ = read_csv(tmp_path / "run" / "logs")
    assert len(losses) == 1
    assert pictures == ["samples-0001"]


def test_a_logger_is_closed_when_training_fails(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setitem(LOGGERS.data, "csv", LOGGERS["csv"]._replace(close=closed.append))
    with pytest.raises(InputError, match="not finite in epoch"):
        tracked("csv", tmp_path / "run", settings={"learning_rate": 1e30})
    assert len(closed) == 1


def test_wandb_works_offline_and_ends_with_the_run(tmp_path):
    run = tracked("wandb", tmp_path / "run")
    import wandb

    assert wandb.run is None
    (offline,) = (run.folder / "logs" / "wandb").glob("offline-run-*")
    assert len(list((offline / "files" / "media" / "images").iterdir())) == PICTURES
    (record,) = offline.glob("*.wandb")
    assert b"validation_loss" in record.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_wandb_without_a_login_is_told_before_the_folder_is_made(tmp_path):
    pytest.importorskip("wandb")
    code = "import entropic_ae as eae; eae.train('eae', 'digits', out='run', logger='wandb')"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    sentence = "InputError: wandb refuses to log in (No API key configured"
    assert sentence in done.stderr
    assert "set WANDB_MODE=offline" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_server_of_mlflow_that_is_away_is_told_before_the_folder_is_made(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with pytest.raises(
        InputError, match=rf"127\.0\.0\.1:{port}, cannot be reached \(.*refused\); start it, or unset"
    ):
        tracked("mlflow", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mlflow_keeps_its_log_in_a_run_folder_of_any_name(tmp_path):
    run = tracked("mlflow", tmp_path / "my run#1%20x", epochs=1)
    losses, _, _ = read_mlflow(run.folder / "logs")
    assert losses == pytest.approx(losses_in(run), rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["my run#1%20x"]


def test_a_logger_of_a_program_gets_the_same(tmp_path, monkeypatch):
    class Rows(Logger):
        name = version = "rows"

        def __init__(self, folder):
            self.folder, self.rows, self.settings = folder, [], {}

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, metrics["validation_loss"]))

        def log_hyperparams(self, params):
            self.settings.update(params)

    made, epochs, closed = [], [], []
    monkeypatch.setattr(LOGGERS, "data", dict(LOGGERS.data))

    def make(folder):
        made.append(Rows(folder))
        return made[0]

    def log_picture(logger, picture, epoch):
        epochs.append(epoch)
        assert save_images(picture, logger.folder / f"{epoch}.png").is_file()

    LOGGERS["rows"] = LoggerKind(make, log_picture, close=closed.append)
    run = tracked("rows", tmp_path / "run")
    assert made[0].rows == [(epoch, pytest.approx(loss)) for epoch, loss in enumerate(losses_in(run), 1)]
    assert epochs == [2, 4, 5]
    assert "learning_rate" in made[0].settings
    assert closed == made
    LOGGERS["absent"] = LoggerKind(Rows, package="not_there")
    with pytest.raises(InputError, match="'absent' needs the package not_there; run pip install not_there"):
        tracked("absent", tmp_path / "other")


def test_the_model_is_not_disturbed(tmp_path):
    plain = train(
        "eae", "digits", set={"width": 2}, epochs=EPOCHS, limit=200, device="cpu", out=tmp_path / "plain",
        progress=False,
    )  # fmt: skip
    logged = tracked("csv", tmp_path / "run")
    weights = [(run.folder / "weights.safetensors").read_bytes() for run in (plain, logged)]
    assert weights[0] == weights[1]


def test_a_missing_package_is_named_before_the_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGERS.data, "wandb", LOGGERS["wandb"]._replace(package="not_there"))
    with pytest.raises(InputError, match=r"needs the package not_there; run pip install 'entropic-ae\[wandb\]'"):
        train("eae", "digits", out=tmp_path / "run", logger="wandb")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"logger": "tensorbord"}, "unknown logger 'tensorbord'"),
        ({"logger": "csv", "picture_every": 0}, "pictures can be logged at most once per epoch, got every 0"),
    ],
)
def test_what_cannot_be_is_said_before_the_folder_is_made(options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        train("eae", "digits", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
