"""Two processes with half of each minibatch train the same model as one, whatever the system."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from entropic_ae import runs
from entropic_ae.recipes import RECIPES
from entropic_ae.training import LOG, WEIGHTS

SYSTEMS = {name: (name, {}) for name in RECIPES} | {
    "memory": ("eae", {"entropy.memory": 40}),
    "whitening": ("eae", {"bottleneck": "whitening"}),
    "l1-norm": ("eae", {"bottleneck": "l1-norm"}),
    "sphere": ("eae", {"bottleneck": "sphere"}),
    "cube": ("eae", {"bottleneck": "cube"}),
    "perceptron": ("eae", {"network": "mlp"}),
}
TWO = "from test_distributed import train; import sys; train(sys.argv[1], devices=2)"


def train(folder, devices):
    for name, (recipe, own) in SYSTEMS.items():
        small = {"width": 2, "batch_size": 20, "learning_rate": 1e-2, **own}
        preset = "mlp" if small.pop("network", None) else None
        if preset:
            small.pop("width")
        options = {"set": small, "preset": preset, "limit": 80, "epochs": 2, "precision": "64", "device": "cpu"}
        runs.train(recipe, "digits", **options, devices=devices, out=Path(folder) / name, progress=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--no-python"]
    command += [sys.executable, "-c", TWO, str(two)]
    done = subprocess.run(
        command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    train(one, devices=1)
    return one, two


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_processes_equal_one(folders, name):
    one, two = (load_file(folder / name / WEIGHTS) for folder in folders)
    for parameter, value in one.items():
        assert (two[parameter] - value).abs().max() < 1e-8, parameter
    rows = [list(csv.DictReader((folder / name / LOG).open())) for folder in folders]
    for before, after in zip(*rows, strict=True):
        for column in before.keys() - {"images_per_s"}:
            assert float(after[column]) == pytest.approx(float(before[column]), rel=1e-8, abs=1e-8), column
