"""A sweep on a local Ray: two workers, the same files as in one process, none measured twice."""

from dataclasses import replace

import pytest

from entropic_ae import InputError
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.cluster import run_on_ray
from entropic_ae.experiments.sweep import run_cells
from entropic_ae.training import Execution

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
CPU = Execution("cpu")
CELL = Cell(
    "eae", "digits", 0, {}, {"width": "2", "epochs": "1"}, limit=100, n=50, features="pixels", execution=CPU
)
CELLS = [replace(CELL, recipe=recipe) for recipe in ("eae", "ae", "bn-ae")]


def test_ray_is_started_for_the_sweep_and_ended_with_it(tmp_path):
    with pytest.raises(InputError, match="device cuda was requested, but Ray has no GPU; use --device cpu"):
        run_on_ray([replace(CELL, execution=Execution("cuda"))], tmp_path / "out", tmp_path / "runs", 1)
    assert not ray.is_initialized()


def test_an_address_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no cluster of Ray answers at 'nowhere' .*; give --ray the HOST:PORT"):
        run_on_ray([CELL], tmp_path / "out", tmp_path / "runs", 1, address="nowhere")


@pytest.fixture(scope="module")
def started():
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(("cells", "workers"), [(CELLS[:2], 1), pytest.param(CELLS, 2, marks=pytest.mark.slow)])
def test_workers_share_a_sweep_and_measure_what_one_process_does(tmp_path, started, cells, workers):
    run_cells(cells, tmp_path / "one", tmp_path / "runs-one")
    run_cells(cells[:1], tmp_path / "ray", tmp_path / "runs-ray")  # it goes on from there
    before = (tmp_path / "ray" / f"{CELLS[0].name}.json").read_bytes()
    run_on_ray(cells, tmp_path / "ray", tmp_path / "runs-ray", workers)
    assert (tmp_path / "ray" / f"{CELLS[0].name}.json").read_bytes() == before
    one, by_ray = ({cell["name"]: cell for cell in read_cells(tmp_path / name)} for name in ("one", "ray"))
    assert one.keys() == by_ray.keys()
    for name, cell in one.items():
        rows = [one["metrics"]["distances"]["prior"] for one in (by_ray[name], cell)]
        assert rows[0].pop("neighbours")["samples"] == rows[1].pop("neighbours")["samples"]
        assert rows[0] == pytest.approx(rows[1], rel=1e-3)


def test_wrong_cells_end_with_their_sentence(tmp_path, started):
    with pytest.raises(InputError, match="n must be at least 2 images, got 1"):
        run_on_ray([replace(CELL, n=1)], tmp_path / "out", tmp_path / "runs", 1)
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        run_on_ray([CELL], tmp_path / "out", tmp_path / "runs", 0)
