"""What an option says reaches the function that does the work; in its place stands one that writes it down."""

from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from entropic_ae import distributed, runs
from entropic_ae.cli import experiments
from entropic_ae.cli import runs as run_commands
from entropic_ae.experiments import (
    cluster,
    convergence,
    figures,
    objectives,
    objectives_table,
    studies,
    sweep,
    table1,
    tuning,
)
from entropic_ae.experiments.cells import Cell
from entropic_ae.storage import run_folder

TRAIN = ("train eae digits --device cpu", "train")
SAMPLE = ("sample RUN --density prior --device cpu", "together")
SHARED_EVALUATE = ("evaluate RUN --device cpu", "together")
EVALUATE = ("evaluate RUN --device cpu", "evaluate")
TABLE1 = ("table1 digits", "run_cells")
ON_RAY = ("table1 digits --workers 2", "run_on_ray")
TUNE = ("tune digits", "tune")
OBJECTIVES = ("objectives digits", "run_objectives")
FIGURE = ("figure 1", "draw_all")
STUDY = ("figure bottleneck digits", "run_study")
LENGTHS = ("figure budget digits", "run_budget")
FEW = "--budget small --epochs 2 --width 4 --set second-stage.hidden=8"
FEW_SHARED = {"second-stage.hidden": "8", "second-stage.epochs": 20, "width": "4", "epochs": "2"}

OPTIONS = [  # command and the function it calls; option, argument, value; the value without the option
    (*TRAIN, "--devices 2", "devices", 2, 1),
    (*TRAIN, "--nodes 3", "nodes", 3, 1),
    (*TRAIN, "--precision bf16", "precision", "bf16", "32"),
    (*TRAIN, "--compile", "compile", True, False),
    (*TRAIN, "--value-range=-1,1", "value_range", (-1.0, 1.0), None),
    (*TRAIN, "--size small", "size", "small", None),
    (*TRAIN, "--like there", "like", "there", None),
    (*TRAIN, "--overwrite", "overwrite", True, False),
    (*TRAIN, "--logger csv", "logger", "csv", None),
    (*TRAIN, "--picture-every 3", "picture_every", 3, 5),
    (*TRAIN, "--preview-every 3", "preview_every", 3, None),
    (*SAMPLE, "--devices 2", "devices", 2, 1),
    (*SAMPLE, "--nodes 3", "nodes", 3, 1),
    ("sample RUN", "load", "--data there", "data", "there", None),
    ("evaluate RUN", "load", "--data there", "data", "there", None),
    (*SHARED_EVALUATE, "--devices 2", "devices", 2, 1),
    (*SHARED_EVALUATE, "--nodes 3", "nodes", 3, 1),
    (*EVALUATE, "--compile", "compile", True, False),
    *(
        (*command, *option)
        for command in (TABLE1, ON_RAY, TUNE, OBJECTIVES, FIGURE, STUDY, LENGTHS)
        for option in (
            ("--device cuda", "device", "cuda", "auto"),
            ("--precision bf16", "precision", "bf16", "32"),
            ("--compile", "compile", True, False),
        )
    ),
    (*TABLE1, "--budget small", "limit", 10_000, None),
    (*TABLE1, "--budget small --limit 60", "limit", 60, None),
    (*TABLE1, "--budget small", "n", 5_000, 10_000),
    (*TABLE1, "--budget small --n 7", "n", 7, 10_000),
    (*TABLE1, FEW, "shared", FEW_SHARED, {}),
    (*TABLE1, "--budget paper", "out", Path("results/table1/digits-paper"), Path("results/table1/digits")),
    (*STUDY, "--budget paper", "shared", {"width": 128}, {}),
    (
        *STUDY,
        "--budget paper",
        "out",
        *(Path("results/figures/bottleneck-digits" + end) for end in ("-paper", "")),
    ),
    (*STUDY, "--render", "render", True, False),
    (*LENGTHS, "--budget small", "budget", "small", "converged"),
    (*LENGTHS, "--recipes ae,eae:entropy=1", "systems", ["ae", "eae:entropy=1"], convergence.SYSTEMS),
    (*LENGTHS, "--steps 3,6", "steps", [3, 6], convergence.STEPS),
    (*LENGTHS, "--tuned there", "tuned", Path("there"), None),
    (*LENGTHS, "--render", "render", True, False),
    (*ON_RAY, "--workers 4", "workers", 4, 2),  # of two, the last counts
    (*ON_RAY, "--ray head:6379", "address", "head:6379", None),
    (*TUNE, "--workers 4", "workers", 4, 1),
    (*TUNE, "--ray head:6379", "address", "head:6379", None),
    (*TUNE, "--shares 0.3,1", "shares", [0.3, 1.0], [0.67, 1.0]),
    (*TUNE, "--validation-images 9", "shared", {"validation_images": "9"}, {"validation_images": "2000"}),
    (*OBJECTIVES, "--objectives none,KoLeo", "objectives", ["none", "KoLeo"], [*objectives.OBJECTIVES]),
    (*OBJECTIVES, "--bottlenecks whitening", "bottlenecks", ["whitening"], ["batch-norm", "whitening"]),
    (*OBJECTIVES, "--seeds 1,2", "seeds", [1, 2], [0]),
    (*OBJECTIVES, "--rates 1e-3", "rates", [1e-3], [3e-3]),
    (*OBJECTIVES, "--factors 1,5", "factors", [1.0, 5.0], [0.04, 0.2, 1.0, 5.0, 25.0, 125.0]),
    (*OBJECTIVES, "--workers 4", "workers", 4, 1),
]


@pytest.fixture
def heard(call, monkeypatch, tmp_path):
    """Run a command; return what it printed, and the arguments of each function, those of cells by their field."""
    calls = {}

    def replace(home, function, returned):
        arguments_of = signature(getattr(home, function)).bind

        def listen(*positional, **named):
            found = arguments_of(*positional, **named).arguments
            for cell in (found.get("base"), found.get("table"), *found.get("cells", ())):
                found = found | ({**vars(cell), **vars(cell.execution)} if isinstance(cell, Cell) else {})
            calls[function] = found
            return returned

        monkeypatch.setattr(home, function, listen)
        return listen

    run = SimpleNamespace(folder=tmp_path, origin=None, caution=None, best_epoch=1, draw=lambda *_: None)
    run.info, run.overview = SimpleNamespace(imports=()), None
    run.system = SimpleNamespace(recipe=SimpleNamespace(density="prior"))
    run.sample = lambda n, **_: torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr(run_folder, "check_run_folder", lambda _: None)
    monkeypatch.setattr(run_commands, "print_metrics", lambda *_: None)
    monkeypatch.setattr(runs.measuring, "judged", lambda *_: None)
    run.evaluate = replace(runs.Run, "evaluate", {"features": "pixels", "distances": {}}).__get__(run)
    for home, function, returned in (
        (runs, "train", run),
        (runs, "load", run),
        (distributed, "together", nullcontext()),
        (sweep, "run_cells", None),
        (cluster, "run_on_ray", None),
        (tuning, "tune", None),
        (objectives, "run_objectives", None),
        (figures, "draw_all", []),
        (studies, "run_study", []),
        (convergence, "run_budget", []),
    ):
        replace(home, function, returned)
    for home, function in (
        (table1, "render"),
        (tuning, "render_tries"),
        (objectives_table, "render_objectives"),
    ):
        monkeypatch.setattr(home, function, lambda _: "a table")
    monkeypatch.setattr(experiments, "read_json", lambda _: {})

    def run_command(command):
        calls.clear()
        code, out, err = call(*command.split())
        assert code == 0, err
        return out, dict(calls)

    return run_command


@pytest.mark.parametrize(("command", "function", "option", "argument", "value", "default"), OPTIONS)
def test_an_option_reaches_the_work(heard, command, function, option, argument, value, default):
    for text, expected in ((command, default), (f"{command} {option}", value)):
        calls = heard(text)[1]
        assert function in calls
        assert calls[function].get(argument) == expected


@pytest.mark.parametrize("option", ["--workers 2", "--ray head:6379"])
def test_either_option_of_ray_sends_a_sweep_there(heard, option):
    assert heard(f"{TABLE1[0]} {option}")[1].keys() == {"run_on_ray"}


@pytest.mark.parametrize("command", [TRAIN[0], SAMPLE[0], EVALUATE[0]])
def test_the_first_of_several_processes_speaks_for_all(heard, monkeypatch, command):
    monkeypatch.setenv("RANK", "1")
    assert heard(command)[0]
    assert heard(f"{command} --devices 2")[0] == heard(f"{command} --nodes 2")[0] == ""
