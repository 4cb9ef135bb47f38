"""Two processes with half of each minibatch train and use the same model as one, whatever the system."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from brief import briefly
from entropic_ae import distributed, runs
from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.distributed import synchronise, together
from entropic_ae.errors import InputError
from entropic_ae.recipes import RECIPES
from entropic_ae.storage.files import write_json
from entropic_ae.storage.run_folder import LOG
from entropic_ae.storage.tensors import write_tensors
from entropic_ae.training import CHECKPOINT, WEIGHTS, loop

QUICK = {"second-stage.epochs": 1, "second-stage.hidden": 8}
SLOW = {"learning_rate": 1e-3}  # a decoder that knows the label makes codes constant soon, up to rounding
AVERAGED = {"ema": 0.5, "augment": "mirror+shift+crop"}
BOUNDING = {name: kind for name, kind in BOTTLENECKS.items() if kind.bounds_entropy}
CONTINUOUS, FINITE = (
    [n for n, kind in BOUNDING.items() if kind.is_discrete == finite] for finite in (False, True)
)
DISCRETE = "squared_error+negative_discrete_entropy"
SYSTEMS = (
    {name: (name, QUICK if recipe.density == "second-stage" else {}) for name, recipe in RECIPES.items()}
    | {name: (name, SLOW) for name, recipe in RECIPES.items() if recipe.conditional}
    | {name: ("eae", {"bottleneck": name}) for name in CONTINUOUS}
    | {name: ("eae", {"bottleneck": name, "terms": DISCRETE, "entropy.memory": 40}) for name in FINITE}
    | {"memory": ("eae", {"entropy.memory": 40}), "perceptron": ("eae", {"preset": "mlp", **AVERAGED})}
    | {"residual": ("eae", {"network": "residual"})}
    | {"features": ("eae", {"terms": "absolute_error+feature_error"})}
)
MOMENTS = tuple(name for name, kind in BOTTLENECKS.items() if kind(2).least_batch > 1)
# a system for each piece that looks at the whole minibatch; the others have no piece of their own
QUICKLY = (
    *("eae", "2seae", "wae", "rae-gp", "rae-sn", "vae", "2svae", "c-vae", "t-bn-ae"),
    *("l1-norm", "whitening", "sphere", "binary", "memory", "perceptron", "residual", "features"),
)
DENSITIES = ("prior", "gaussian", "mixture", "second-stage")
TWO = "from test_distributed import die_resume_and_use; import sys; die_resume_and_use(*sys.argv[1:])"


def train(folder, devices, names=SYSTEMS):
    for name in names:
        recipe, own = SYSTEMS[name]
        small = {"width": 2, "batch_size": 20, "learning_rate": 1e-2, "validation_images": 40, **own}
        preset = small.pop("preset", None)
        if preset:
            small.pop("width")
        options = {"set": small, "preset": preset, "limit": 80, "epochs": 2, "precision": "64", "device": "cpu"}
        out = Path(folder) / name
        runs.train(recipe, "digits", **options, devices=devices, out=out, resume=True, progress=False)


def train_and_die(folder):
    """Train two systems until the process that writes is killed in the second epoch of the second."""
    replace, logs = Path.replace, []

    def counted(path, target):
        logs.extend([target] if Path(target).name == LOG else [])
        if len(logs) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    Path.replace = counted
    train(folder, 2, ["eae", "vae"])


def die_resume_and_use(folder, port, *names):
    """Do all that two processes do: to start them takes longer. What is killed is a fork of each.

    The forks meet at a port of their own: torchrun's, where they would leave their addresses, is for those after.
    """
    child = os.fork()
    if not child:
        os.environ.update(TORCHELASTIC_USE_AGENT_STORE="False", MASTER_PORT=port)
        train_and_die(Path(folder) / "killed")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if os.environ["RANK"] == "0":
        assert code == -signal.SIGKILL
        shutil.copytree(Path(folder) / "killed", Path(folder) / "left")
    train(Path(folder) / "two", 2, names)
    train(Path(folder) / "killed", 2, ["eae", "vae"])
    use(Path(folder) / "shared", 2)


def use(folder, devices):
    """Draw, encode and measure with a run, and write down what each process has."""
    with briefly(), together(torch.device("cpu"), devices):
        run = runs.load(Path(folder) / "run", device="cpu")
        calls = count_rows(run.model.decoder)
        images = run.sample(131, density="mixture", seed=3)  # 66 and 65 for two
        drawn = sum(calls)
        result = run.evaluate(features="pixels", n=100, densities=DENSITIES)
        rank = int(os.environ.get("RANK", "0"))
        found = {"images": images, "codes": run.encode(images), "decoded": torch.tensor(drawn)}
        write_tensors(Path(folder) / f"{rank}.safetensors", found | normalised(rank, devices))
        write_json(Path(folder) / f"{rank}.json", result)


def normalised(rank, devices):
    """What bottlenecks make of a process's share of some rows in a loop of one's own, and what they keep of it."""
    rows = 5 + torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    found = {}
    for name in MOMENTS:
        bottleneck = BOTTLENECKS[name](3).double()
        found[name] = bottleneck(rows.chunk(devices)[rank]).z
        found |= {f"{name}.{key}": value for key, value in bottleneck.state_dict().items()}
    return found


def count_rows(module):
    calls = []
    module.register_forward_hook(lambda *call: calls.append(len(call[-1])))
    return calls


EQUAL = "test_two_processes_equal_one"


def in_two(code, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--no-python"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code, *map(str, arguments)],
        check=False,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """What one process did, alone, and two did, shared; two were killed, with a copy of what they left."""
    folder = tmp_path_factory.mktemp("distributed")
    small = {"width": 2, "second-stage.epochs": 2, "second-stage.hidden": 16}
    run = runs.train("2seae", "digits", set=small, epochs=1, device="cpu", out=folder / "run", progress=False)
    for name in ("alone", "shared"):
        shutil.copytree(run.folder, folder / name / "run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wanted = {item.callspec.params["name"] for item in request.session.items if item.originalname == EQUAL}
    names = [name for name in SYSTEMS if name in wanted or name in ("eae", "vae")]  # of the tests that will run
    in_two(TWO, folder, port, *names)
    train(folder / "one", 1, names)
    use(folder / "alone", 1)
    return folder


def test_a_run_by_itself_is_whole_as_a_later_task_of_a_job_too(tmp_path, monkeypatch):
    job = {"JOB_ID": "1", "JOB_NAME": "sweep", "NTASKS": "4", "PROCID": "2", "LOCALID": "2", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    place, numbers = loop.place, []
    monkeypatch.setattr(loop, "place", lambda *data: (numbers.append(data[-1]), place(*data))[1])
    run = runs.train("eae", "digits", set={"width": 2}, epochs=1, device="cpu", out=tmp_path, progress=False)
    assert numbers == [0]  # its GPU is the first that it sees, as for the model
    run.evaluate(features="pixels", n=20, densities=["prior"])
    found = {path.name for path in tmp_path.iterdir()}
    assert found >= {"run.json", LOG, WEIGHTS, "samples-prior.png", "metrics.json"}
    assert (tmp_path / CHECKPOINT).is_file()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in SYSTEMS]
)
def test_two_processes_equal_one(folder, name):
    one, two = (load_file(folder / processes / name / WEIGHTS) for processes in ("one", "two"))
    for parameter, value in one.items():
        assert (two[parameter] - value).abs().max() < 1e-8, parameter
    rows = [list(csv.DictReader((folder / processes / name / LOG).open())) for processes in ("one", "two")]
    for before, after in zip(*rows, strict=True):
        for column in before.keys() - {"images_per_s"}:
            assert float(after[column]) == pytest.approx(float(before[column]), rel=1e-8, abs=1e-8), column


def test_two_processes_that_are_killed_and_resumed_end_with_the_bits_of_an_undisturbed_run(folder):
    assert len((folder / "left" / "vae" / LOG).read_text().splitlines()) == 2  # of the names, and of one epoch
    for name in ("eae", "vae"):
        resumed, whole = (folder / place / name / WEIGHTS for place in ("killed", "two"))
        assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_those_of_all_processes(momentum, monkeypatch):
    shared = nn.Sequential(nn.BatchNorm1d(3, momentum=momentum))
    synchronise(shared)
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(distributed, "average", lambda x: x)  # the other process has the same rows
    whole = nn.BatchNorm1d(3, momentum=momentum)
    for seed in range(3):
        x = 5 + seed + torch.randn(10, 3, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(shared(x), whole(torch.cat([x, x]))[:10])
    torch.testing.assert_close(shared[0].state_dict(), whole.state_dict())


def test_batch_norms_that_stay_with_one_process_are_refused():
    with pytest.raises(InputError, match="expected BatchNorm1d or BatchNorm2d, got BatchNorm3d at 0; use one of"):
        synchronise(nn.Sequential(nn.BatchNorm3d(2)))


def test_two_processes_share_what_one_does(folder):
    alone = load_file(folder / "alone" / "0.safetensors")
    parts = [load_file(folder / "shared" / f"{rank}.safetensors") for rank in (0, 1)]
    assert [int(part["decoded"]) for part in (alone, *parts)] == [131, 66, 66]
    for key in (key for key in alone if key.startswith(MOMENTS)):
        rows = [torch.cat([part[key] for part in parts])] if key in MOMENTS else [part[key] for part in parts]
        for found in rows:
            torch.testing.assert_close(found, alone[key])
    for part in parts:
        assert torch.equal(part["images"], alone["images"])
        assert torch.allclose(part["codes"], alone["codes"], atol=1e-6)
    expected, *found = (
        json.loads((folder / name).read_text()) for name in ("alone/0.json", "shared/0.json", "shared/1.json")
    )
    assert json.loads((folder / "shared/run/metrics.json").read_text()) == {"pixels": found[0]}
    for name, distances in expected["distances"].items():
        for result in found:
            assert result["distances"][name]["frechet"] == pytest.approx(distances["frechet"], rel=1e-4), name


OPTIONS = ["--device", "cpu", "--devices", "2"]
TRAIN = ["train", "eae", "digits", "--epochs", "1", "--set", "width=2", "--out", "run", *OPTIONS]  # few steps
SAMPLE = ["sample", "run", "--n", "8", "--seed", "3", "--out", "new.npz", *OPTIONS]
EVALUATE = ["evaluate", "run", "--features", "pixels", "--n", "50", *OPTIONS]
COMMANDS = f"""
import os, shutil, sys
from torch.distributed import barrier

from brief import briefly
from entropic_ae import cli

for arguments in ({TRAIN}, {SAMPLE}, {EVALUATE}):
    sys.argv[1:] = ["--import", "arrived", *arguments]
    try:
        with briefly():
            cli.main()
    except SystemExit as stop:
        assert not stop.code
    if os.environ["LOCAL_RANK"] == "0":
        print("end of", arguments[0], flush=True)
        if arguments[0] == "train":
            shutil.copytree("run", "before")
    barrier()  # as between commands: what the first process writes is there
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder of three commands by two processes, the second of which Lightning starts, and what each printed.

    The copy before is of the run before it was used.
    """
    folder = tmp_path_factory.mktemp("launched")
    write = "import os; open('process-' + os.environ.get('LOCAL_RANK', '0'), 'x').close()"
    (folder / "arrived.py").write_text(write)
    (folder / "commands").mkdir()
    (folder / "commands" / "__main__.py").write_text(COMMANDS)
    done = subprocess.run(
        [sys.executable, "-m", "commands"],
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "OMP_NUM_THREADS": "1",  # as torchrun has it: two processes share the cores
        },
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in folder.glob("process-*")} == {"process-0", "process-1"}
    printed = re.split(r"end of \w+\n", done.stdout)
    return folder, *(lines.splitlines() for lines in printed[:3])


def test_a_command_of_two_processes_leaves_one_run(launched):
    folder, lines, *_ = launched
    assert [line.partition(":")[0] for line in lines] == ["run", "short training", "Next"]  # one speaks
    assert json.loads((folder / "before" / "run.json").read_text())["processes"] == 2
    assert [row["epoch"] for row in csv.DictReader((folder / "before" / LOG).open())] == ["1"]


def test_a_command_of_two_processes_samples_as_one(launched):
    folder, _, lines, _ = launched
    assert lines == ["new.npz"]
    images = np.load(folder / "new.npz")["images"]
    assert images.shape == (8, 1, 8, 8)
    assert np.array_equal(images, runs.load(folder / "before", device="cpu").sample(8, seed=3).numpy())


def test_a_command_of_two_processes_measures_as_one(launched, brief):
    folder, *_, lines = launched
    assert sum(line.startswith("run: metrics.json") for line in lines) == 1
    found = json.loads((folder / "run" / "metrics.json").read_text())["pixels"]
    expected = runs.load(folder / "before", device="cpu").evaluate(features="pixels", n=50)
    assert found["distances"].keys() == expected["distances"].keys() >= {"prior", "gaussian", "mixture"}
    for name, distances in expected["distances"].items():
        assert found["distances"][name]["frechet"] == pytest.approx(distances["frechet"], rel=1e-4), name
    assert found["reconstruction_error"] == pytest.approx(expected["reconstruction_error"], rel=1e-5)
    assert found["codes"]["entropy"] == pytest.approx(expected["codes"]["entropy"], rel=1e-4)
