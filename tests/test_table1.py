import json
from dataclasses import asdict, replace

import pytest

from entropic_ae import InputError
from entropic_ae.experiments import table1
from entropic_ae.experiments.table1 import Cell, parse_system, render, run_cells

SHARED = {"width": "2", "epochs": "1", "batch_size": "50"}
CELL = Cell("eae", "digits", 0, {"entropy": "0.3"}, SHARED, limit=100, n=50, features="pixels")


def test_a_sweep_writes_a_file_a_cell_and_goes_on(tmp_path, monkeypatch):
    cells = [CELL, replace(CELL, recipe="ae", own={}), replace(CELL, seed=1)]
    run_cells(cells[:2], tmp_path / "out", tmp_path / "runs", device="cpu")
    monkeypatch.setattr(table1, "run_cells", None)
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert len(first) == 2
    told = []
    run_cells(cells, tmp_path / "out", tmp_path / "runs", device="cpu", tell=told.append)
    assert [text.partition(": ")[2] for text in told] == [
        "measured already",
        "measured already",
        "training",
        "measuring",
    ]
    second = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert len(second) == 3
    assert {name: second[name] for name in first} == first
    lines = render(tmp_path / "out").splitlines()
    assert lines[0].startswith("| system | seeds | reconstruction error")
    assert lines[2].startswith("| ae | 1 | ")
    assert lines[2].split(" | ")[3] == "-"  # no entropy gap without constraints
    assert lines[3].startswith("| eae entropy=0.3 | 2 | ")
    values = [json.loads(text) for text in second.values()]
    errors = [v["metrics"]["reconstruction_error"] for v in values if v["cell"]["recipe"] == "eae"]
    assert f"| {sum(errors) / 2:.2f} ± {abs(errors[0] - errors[1]) / 2**0.5:.2f} |" in lines[3]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"own": {}}, {"shared": {}}, {"limit": 99}, {"n": 51}, {"features": None}, {"data": "mnist"}],
)
def test_a_changed_setting_is_another_cell(change):
    assert replace(CELL, **change).name != CELL.name


def test_another_protocol_is_refused_before_training(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"cell": {**asdict(CELL), "n": 10_000}}))
    with pytest.raises(InputError, match=r"holds results of another protocol .* give another --out"):
        run_cells([CELL], tmp_path, tmp_path / "runs", device="cpu", tell=lambda _: pytest.fail("started"))


def test_systems_are_read():
    assert parse_system("ae") == ("ae", {})
    assert sorted(["x", 2, "10"], key=table1._number) == [2, "10", "x"]
    with pytest.raises(InputError, match="expected RECIPE:NAME=VALUE, got 'eae:entropy'"):
        parse_system("eae:entropy")


def test_render_refuses_nothing_and_mixtures(tmp_path):
    with pytest.raises(InputError, match="has no results"):
        render(tmp_path)
    result = {
        "cell": {"recipe": "ae", "own": {}, "shared": {"width": 2}, "seed": 0, "limit": None},
        "label": "ae",
        "data": "digits",
        "training_images": 5,
        "metrics": {"features": "pixels", "n": 1, "test_images": 3},
    }
    (tmp_path / "a.json").write_text(json.dumps(result))
    (tmp_path / "b.json").write_text(json.dumps(result))
    with pytest.raises(InputError, match="holds ae, seed 0, twice"):
        render(tmp_path)
    wider = {**result, "cell": {**result["cell"], "shared": {"width": 4}, "seed": 1}}
    for other in ({**result, "training_images": 6}, wider):
        (tmp_path / "b.json").write_text(json.dumps(other))
        with pytest.raises(InputError, match="measured in 2 different ways"):
            render(tmp_path)
