"""A run that is killed at any moment, and resumed, ends as one that was not; and its folder is one process's."""

import csv
import errno
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

import entropic_ae as eae
from entropic_ae import InputError, training
from entropic_ae.storage.run_folder import LOG
from forked import start

SYSTEMS = {"eae": {"entropy.memory": 50}, "vae": {}}  # one with a memory, one with draws in training
KILLS = [2, pytest.param(10, marks=pytest.mark.slow)]  # of each


def train(folder, recipe="eae", epochs=4, **more):
    small = {"width": 2, "batch_size": 20, "learning_rate": 0.01, "patience": 1, **SYSTEMS[recipe]}
    options = {"limit": 100, "device": "cpu", "progress": False, "resume": True, **more}
    return eae.train(recipe, "digits", set=small, epochs=epochs, out=folder, **options)


def state(folder):
    """What a run leaves, but for times and speeds."""
    with (folder / LOG).open() as file:
        log = [{name: x for name, x in row.items() if name != "images_per_s"} for row in csv.DictReader(file)]
    checkpoint = torch.load(folder / training.CHECKPOINT, weights_only=True)
    kept = {name: checkpoint[name] for name in ("epoch", "global_step", "optimizer_states", "lr_schedulers")}
    files = {
        path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.suffix in (".safetensors", ".png")
    }
    return flat([kept, checkpoint["state_dict"], log, files])


def flat(value, place=""):
    """The leaves of nested lists and dictionaries by their place; tensors as bytes."""
    if isinstance(value, torch.Tensor):
        return {place: (value.shape, value.numpy().tobytes())}
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, one in pairs for key, leaf in flat(one, f"{place}/{name}").items()}
    return {place: value}


def leftovers(folder, besides=()):
    return [path.name for path in folder.rglob(".*") if path.name != ".lock" and path.suffix not in besides]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """By system, what an undisturbed run leaves, and the seconds that it took."""
    found = {}
    start(bool).join()  # not to be timed: the process that others are forked from starts with it
    for recipe in SYSTEMS:
        folder = tmp_path_factory.mktemp("whole") / recipe
        started = time.monotonic()
        child = start(train, folder, recipe)
        child.join()
        assert child.exitcode == 0
        found[recipe] = state(folder), time.monotonic() - started
    return found


@pytest.mark.parametrize("wanted", KILLS)
@pytest.mark.parametrize("recipe", SYSTEMS)
def test_a_run_killed_at_random_moments_ends_with_the_bits_of_an_undisturbed_one(recipe, wanted, whole, tmp_path):
    """A run may be killed several times on its way."""
    expected, seconds = whole[recipe]
    seed = int(os.environ.get("ENTROPIC_AE_TEST_SEED") or time.time_ns() % 2**32)
    print(f"ENTROPIC_AE_TEST_SEED={seed}")
    moments = random.Random(seed)
    kills, runs = 0, 0
    while kills < wanted:
        folder = tmp_path / str(runs)
        runs += 1
        done = False
        while not done:
            child = start(train, folder, recipe)
            if kills < wanted:
                time.sleep(moments.uniform(0, seconds))
                child.kill()
            child.join()
            done = child.exitcode == 0
            assert done or child.exitcode == -signal.SIGKILL
            kills += not done
        assert state(folder) == expected
        assert leftovers(folder, [".png"]) == []  # which may be another process's until they are a day old


@pytest.mark.parametrize("precision", ["bf16", "64"])
def test_precisions_resume_to_the_bits_of_an_undisturbed_run_too(precision, tmp_path):
    train(tmp_path / "whole", epochs=3, precision=precision)
    for epochs in (1, 3):
        train(tmp_path / "resumed", epochs=epochs, precision=precision)
    assert state(tmp_path / "resumed") == state(tmp_path / "whole")


def until(last, fail, use, *arguments, **options):
    """Call ``use``, and ``fail`` with the finished temporary file in place of that write, from 1 on."""
    replace, count = Path.replace, 0

    def counted(path, target):
        nonlocal count
        count += 1
        return fail(path) if count == last else replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        use(*arguments, **options)
    return count


def train_until(folder, last, fail, **options):
    return until(last, fail, train, folder, epochs=2, **options)


def die(path):
    os.truncate(path, path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def no_space(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """What an undisturbed run of two epochs leaves, and how many files it writes."""
    folder = tmp_path_factory.mktemp("short") / "run"
    count = train_until(folder, 0, None)
    assert count >= 10  # run.json; checkpoint, weights and log of two epochs; three pictures
    return state(folder), count


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_killed_in_the_middle_of_any_file_ends_with_the_same_bits(short, tmp_path, every):
    expected, count = short
    for last in range(1, count + 1) if every else (3, 4, 5, count):  # weights, checkpoint, log, the last
        folder = tmp_path / str(last)
        child = start(train_until, folder, last, die)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert len(leftovers(folder)) == 1
        train(folder, epochs=2)
        assert state(folder) == expected, f"write {last}"
        assert leftovers(folder, [".png"]) == []


def measure(folder):
    """Fit two densities, one of which is trained, and measure samples of them."""
    run = eae.load(folder, device="cpu")
    return run.evaluate(features="pixels", n=20, densities=["gaussian", "second-stage"])


def measure_until(folder, last, fail):
    return until(last, fail, measure, folder)


def test_measuring_that_is_killed_in_the_middle_of_any_file_ends_with_the_same_figures(tmp_path):
    whole = tmp_path / "whole"
    small = {"width": 2, "second-stage.epochs": 2, "second-stage.hidden": 16}
    options = {"limit": 100, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    eae.train("2svae", "digits", set=small, epochs=1, **options)
    shutil.copytree(tmp_path / "run", whole)
    expected = measure(whole)["distances"]
    count = measure_until(shutil.copytree(tmp_path / "run", tmp_path / "counted"), 0, None)
    assert count >= 3  # a file of each density, and metrics.json
    for last in range(1, count + 1):
        folder = shutil.copytree(tmp_path / "run", tmp_path / str(last))
        child = start(measure_until, folder, last, die)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert measure(folder)["distances"] == expected, f"write {last}"
        for path in (whole / "densities").iterdir():
            assert (folder / "densities" / path.name).read_bytes() == path.read_bytes()


def log_until(folder, last, fail):
    train_until(folder, last, fail, logger="tensorboard", picture_every=1)


@pytest.mark.parametrize("last", [2, 5])  # of run.json; checkpoint, weights and log of each epoch
def test_a_logger_that_goes_on_has_each_epoch_once_after_a_kill(last, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    child = start(log_until, tmp_path / "run", last, die)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    time.sleep(1)  # by whose second TensorBoard orders the files of events
    log_until(tmp_path / "run", 0, None)
    events = reader.EventAccumulator(str(tmp_path / "run" / "logs")).Reload()
    losses = [float(row["validation_loss"]) for row in csv.DictReader((tmp_path / "run" / LOG).open())]
    assert [event.value for event in events.Scalars("validation_loss")] == pytest.approx(losses, rel=1e-6)
    assert [event.step for event in events.Scalars("validation_loss")] == [1, 2]
    assert [event.step for event in events.Images("samples")] == [1, 2]


def test_a_disk_that_is_full_at_a_file_leaves_a_run_that_loads_and_goes_on(short, tmp_path):
    """At run.json, weights, checkpoint and the last file."""
    expected, count = short
    alone = 0
    for last in (1, 3, 4, count):
        folder = tmp_path / str(last)
        with pytest.raises(OSError, match="No space left on device"):
            train_until(folder, last, no_space)
        assert leftovers(folder) == []
        if (folder / training.WEIGHTS).exists():
            assert eae.load(folder, device="cpu").sample(1).shape == (1, 1, 8, 8)
        else:
            with pytest.raises(InputError, match=r"has no (run\.json|weights\.safetensors)"):
                eae.load(folder)
        if (folder / training.WEIGHTS).exists() and not (folder / training.CHECKPOINT).exists():
            alone += 1  # which say nothing of the optimiser
            with pytest.raises(InputError, match=r"has weights but no checkpoints/last\.ckpt"):
                train(folder, epochs=2)
            continue
        train(folder, epochs=2)
        assert state(folder) == expected, f"write {last}"
    assert alone == 1


def test_a_folder_is_trained_in_by_one_process_which_frees_it_even_when_it_is_killed(tmp_path):
    folder = tmp_path / "run"
    child = start(train, folder, "eae", 100_000)
    deadline = time.monotonic() + 100
    while not (folder / LOG).exists() or len((folder / LOG).read_text().splitlines()) < 3:
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = (folder / "run.json").read_bytes()
    with pytest.raises(InputError, match="run is being trained by another process; wait for it, or give another"):
        train(folder)
    assert (folder / "run.json").read_bytes() == before
    assert eae.load(folder, device="cpu").sample(2).shape == (2, 1, 8, 8)  # a run in training may be used
    child.kill()
    child.join()
    with pytest.raises(
        InputError, match=r"has been trained for \d+ epochs, got epochs=1"
    ):  # and no word of a lock
        train(folder, epochs=1)


def test_what_is_measured_of_weights_that_training_has_replaced_is_not_kept(tmp_path):
    train(tmp_path / "run", epochs=1)
    before = eae.load(tmp_path / "run", device="cpu")
    train(tmp_path / "run", epochs=2)
    pictures = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.png")}
    with pytest.warns(UserWarning, match="other weights since it was loaded: the metrics are not saved; load it"):
        result = before.evaluate(features="pixels", n=20, densities=["prior", "gaussian"])
    assert result["distances"]["gaussian"]["frechet"] > 0
    assert not (tmp_path / "run" / "metrics.json").exists()
    with pytest.warns(UserWarning, match="other weights since it was loaded: its pictures are not drawn"):
        before.draw("prior")
    assert pictures == {path: path.read_bytes() for path in (tmp_path / "run").glob("*.png")}
    after = eae.load(tmp_path / "run", device="cpu").evaluate(features="pixels", n=20, densities=["gaussian"])
    assert after["distances"]["gaussian"] != result["distances"]["gaussian"]  # not the density of before


def test_pictures_of_weights_before_are_drawn_again_if_a_resumed_run_was_killed(tmp_path):
    folder = tmp_path / "run"
    train(folder, epochs=1)
    (folder / "samples-gaussian.png").write_bytes(b"of before")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eae.runs.training, "draw_again", lambda run: no_space(run.folder))
        with pytest.raises(OSError, match="No space"):
            train(folder, epochs=2)
    with pytest.warns(UserWarning, match=r"samples-gaussian\.png in .* belonged to earlier weights"):
        train(folder, epochs=2)  # nothing is left to train, but the pictures are of other weights
    train(tmp_path / "whole", epochs=2)
    assert state(folder) == state(tmp_path / "whole")


def test_a_read_only_folder_can_be_loaded_and_says_that_it_cannot_be_written(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("this user may not mount a disk")
    try:
        train(disk / "run", epochs=1)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            train(disk / "run", epochs=2)
        with pytest.raises(OSError, match="Read-only file system"):
            train(disk / "other", epochs=1)
        assert eae.load(disk / "run", device="cpu").sample(1, density="prior").shape == (1, 1, 8, 8)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_data_that_have_vanished_are_named_and_the_run_stays(tmp_path):
    eae.save_images(torch.randint(256, (30, 1, 8, 8), dtype=torch.uint8), tmp_path / "photos")
    small = {"set": {"width": 2, "batch_size": 10}, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    eae.train("eae", tmp_path / "photos", epochs=1, **small)
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(InputError, match="photos does not exist"):
        eae.train("eae", tmp_path / "photos", epochs=2, resume=True, **small)
    run = eae.load(tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="photos does not exist"):
        run.evaluate(features="pixels", n=20)
    assert run.sample(2, density="prior").shape == (2, 1, 8, 8)
    assert files == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["a byte", "another model"])
def test_a_checkpoint_that_would_resume_to_something_else_is_refused(damage, tmp_path):
    """PyTorch reads a checkpoint with a flipped byte without a word."""
    train(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / training.CHECKPOINT
    if damage == "a byte":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        sentence = r"last\.ckpt is damaged \(the checksum of .* is wrong\), so training cannot resume from it"
    else:
        train(tmp_path / "other", "vae", epochs=1)
        shutil.copy(tmp_path / "other" / training.CHECKPOINT, path)
        sentence = r"last\.ckpt is of another model, so training cannot resume from it; restore the run's own"
    with pytest.raises(InputError, match=sentence):
        train(tmp_path / "run", epochs=2)
    assert eae.load(tmp_path / "run", device="cpu").sample(1).shape == (1, 1, 8, 8)


def test_weights_with_a_flipped_byte_are_refused(tmp_path):
    train(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / training.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged or of another model \(its values do not match its digest\)"):
        eae.load(tmp_path / "run")
