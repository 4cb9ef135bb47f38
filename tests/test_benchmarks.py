"""What the benchmarks compare is the same work, and what they write can be rendered."""

import json
import runpy
import sys
import warnings
from pathlib import Path

import benchmarks.__main__
import pytest
import torch
from benchmarks import accelerator, tables
from benchmarks.densities import bent
from benchmarks.pairs import compared, interleave
from benchmarks.ranking import _Kinds, _least, compare
from benchmarks.sizes import BATCH, SHAPE
from benchmarks.training import LOSSES, Bare, configured
from benchmarks.transports import halved

from entropic_ae import provenance
from entropic_ae.errors import InputError
from entropic_ae.priors import Normal
from entropic_ae.recipes import RECIPES
from entropic_ae.storage.files import write_json
from entropic_ae.training import loop
from entropic_ae.transports import MixtureTransport

RENDER = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "update_docs.py"))


@pytest.mark.parametrize("recipe", LOSSES)
def test_a_bare_loop_minimises_what_the_system_does(recipe):
    model, objective = configured(recipe, 2).build(SHAPE)
    bare = Bare(recipe, 2)
    bare.encoder.load_state_dict(model.encoder.state_dict())
    bare.decoder.load_state_dict(model.decoder.state_dict())
    x = torch.rand(BATCH, *SHAPE)
    torch.manual_seed(1)
    loss, values = objective(model, model(x))
    torch.manual_seed(1)
    same = LOSSES[recipe](bare, x)
    assert {term.setting for term in objective.terms} == {term.setting for term in RECIPES[recipe].terms}
    assert same.item() == pytest.approx(loss.item(), rel=1e-4), values
    loss.backward()
    same.backward()
    for part in ("encoder", "decoder"):
        one, other = (
            torch.cat([weight.grad.flatten() for weight in getattr(of, part).parameters()]) for of in (model, bare)
        )
        assert (other - one).norm() < 1e-3 * one.norm(), part


def test_each_has_its_turns_and_another_begins_each_round():
    turns = []
    contenders = {name: lambda name=name: turns.append(name) or len(turns) for name in "abc"}
    assert interleave(contenders, 3) == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert "".join(turns) == "abcbcacab"


def test_ratios_are_of_neighbours():
    found = compared({"ours": [1.0, 10.0, 2.0], "theirs": [2.0, 30.0, 8.0]}, "ours")
    assert found["seconds"] == {"ours": 2.0, "theirs": 8.0}
    assert found["ratios"] == {"theirs": {"median": 3.0, "quartiles": [2.5, 3.5]}}


def test_one_with_fewer_turns_is_paired_with_the_first():
    found = compared({"ours": [1.0, 10.0], "theirs": [3.0]}, "ours")
    assert found["ratios"] == {"theirs": {"median": 3.0, "quartiles": [3.0, 3.0]}}


@pytest.mark.parametrize(
    "name",
    ["densities", "entropy", "neighbours", "networks", "sampling", "spaces", "transports"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("coverage", "gpu", "reading")],  # many processes
)
def test_a_benchmark_runs_in_little(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", name, "--dry", "--out", str(tmp_path)])
    benchmarks.__main__.main()
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert result["rows"]
    kinds = {"gpu": "gpu", "neighbours": "neighbours", "reading": "memory", "spaces": "spaces", "networks": "cost"}
    assert RENDER["KINDS"][kinds.get(name, "speed")](tmp_path / f"{name}.json")


def test_the_inverse_by_halving_is_the_transports():
    transport = MixtureTransport.fit(bent(500, 3, 1), Normal.standard(3), components=5)
    u = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    assert halved(transport, u) == pytest.approx(transport.inverse(u), abs=1e-8)


def test_known_images_are_ranked():
    """Normal rows, each kind farther off; copies of training rows, nearly equal and far from equal."""
    source = torch.Generator().manual_seed(0)
    real, good, poor, training = torch.randn(4, 600, 4, generator=source)
    own = {"real": real, "reconstructions": real + 0.3, "blurred": real + 4, "smears": real + 4, "noise": real + 9}
    copies = {"training": training, "copies with noise": training + 1e-3, "shifted copies": training.roll(1, 1)}
    kinds = _Kinds(own, {"good samples": good + 0.6, "poor samples": poor + 2}, copies, training.mean(0)[None])
    found = compare(kinds, 120, 4)
    assert (found["images"], found["draws"], found["disjoint"]) == (120, 4, False)
    right = found["right"]
    for name in ("frechet", "kernel", "sliced"):
        for pair in ("real > reconstructions", "good samples > poor samples", "poor samples > smears"):
            assert right[name][pair] == 1, (name, pair)
        assert right[name]["good samples > copies with noise"] == 0, name
    assert right["recall"]["good samples > mean image"] == right["coverage"]["good samples > ten images"] == 1
    assert right["precision"]["real > mean image"] == 0  # which lies where real rows are
    assert right["near_copies"]["good samples > copies with noise"] == 1
    assert right["near_copies"]["good samples > shifted copies"] == 0


def test_the_fewest_images_from_which_on_an_order_is_right():
    assert _least([(60, 1.0), (600, 0.9), (6000, 0.95)]) == "6,000"
    assert [_least([(60, 1.0), (600, share)]) for share in (1.0, 0.5, 0.05)] == ["60", "-", "✗"]
    assert _least([]) == ""


def test_waits_in_lightnings_lines_are_counted(monkeypatch):
    def fit(*_, **__):
        with loop.quiet_lightning():
            for module in ("pytorch_lightning.loops", "torch"):
                message = "called a synchronizing CUDA operation"
                warnings.warn_explicit(message, UserWarning, f"{module}.py", 7, module=module)

    monkeypatch.setattr(accelerator, "fit", fit)
    images = torch.zeros(4, *SHAPE, dtype=torch.uint8)
    assert accelerator._waits("ae", images, 2, "cpu") == {"pytorch_lightning.loops.py:7": 1, "torch.py:7": 1}


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("triton_poi_fused__to_copy_relu_3", "fused by the compiler"),
        ("void cutlass::Kernel<cute::Copy_Atom>", "convolutions and matrix products"),
        ("void cudnn::ops::nchwToNhwcKernel<float>", "changes of layout"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW", "batch norm"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("void at::native::vectorized_gather_kernel", "minibatches"),
        ("void at::native::vectorized_elementwise_kernel", "elementwise, sums"),
    ],
)
def test_kernels_by_their_kind(kernel, kind):
    assert accelerator._kind(kernel) == kind


WHERE = {
    "machine": {"processor": "x86_64", "cores": 2},
    "threads": 1,
    "versions": {"entropic-ae": "1", "torch": "2", "python": "3", "pythae": "4"},
}
PAIR = {"rounds": 3, "seconds": {"entropic-ae": 0.5}, "ratios": {"bare": {"median": 1.5, "quartiles": [1, 2]}}}


@pytest.mark.parametrize(
    ("kind", "rows", "lines"),
    [
        (
            "speed",
            [{"images": 2000, **PAIR}, {"images": 10, **PAIR, "rounds": 2}],
            ["| 2,000 | 500 ms | 1.50 (1.00 to 2.00) |", "Medians of 2 to 3 rounds", "python 3, pythae 4."],
        ),
        (
            "pace",
            [{"system": "ae", **PAIR}, {"system": "vae", **PAIR, "ratios": {"bare": {"median": 0.75}}}],
            ["this library, lowest and highest: bare 0.75 (`vae`) to 1.50 (`ae`), 2 systems. x86_64"],
        ),
        (
            "startup",
            [
                {"command": "sample", "rounds": 3, "first_line": 0.25}
                | {
                    clock: {
                        "seconds": {"sample": seconds},
                        "ratios": {"sample": {"median": 1.2, "quartiles": [1, 2]}},
                    }
                    for clock, seconds in (("cpu", 1.5), ("wall", 2.5))
                }
            ],
            ["| `sample` | 1.5 s | 1.20 (1.00 to 2.00) | 2.5 s | 1.20 (1.00 to 2.00) | 250 ms |"],
        ),
        (
            "neighbours",
            [
                {"codes": 100, "dimensions": 2, "queries": 10, "standard_error": 0.5, "difference": -0.25, **PAIR}
                | {"ratios": {"all codes": {"median": 9, "quartiles": [8, 10]}}},
                {"codes": 200, "dimensions": 2, "queries": 10, "standard_error": 0.5, **PAIR, "ratios": {}}
                | {"extrapolated": 20.0},
            ],
            [
                "| 100 | 2 | 10 | 0.500 nats | -0.250 | 500 ms | 9.00 (8.00 to 10.00) |",
                "| 200 | 2 | 10 | 0.500 nats | - | 500 ms | 40, extrapolated |",
            ],
        ),
        (
            "memory",
            [
                {"task": "train", "images": 9, "pixels_mib": 1.0, "peak_mib": 2.0, "resident_mib": 3.0}
                | {"at_start_mib": 1.5, "seconds": 60.0},
                {"task": "entropy", "codes": 5, "dimensions": 4, "peak_mib": 2.0, "resident_mib": 3.0}
                | {"at_start_mib": 1.0, "seconds": 1500.0},
            ],
            [
                "| train | 9 | - | 1 MiB | - | 2 MiB | 3 MiB | 2 MiB | 60 s |",
                "| entropy | 5 | 4 | - | - | 2 MiB | 3 MiB | 1 MiB | 25 min |",
            ],
        ),
        (
            "likelihood",
            [
                {"codes": 500, "dimensions": 2, "components": 10}
                | {"log_likelihood": {"entropic-ae": -1.25, "kmeans": -1.5}}
            ],
            [
                "| codes | dimensions | components | entropic-ae | kmeans |",
                "| 500 | 2 | 10 | -1.250 | -1.500 |",
            ],
        ),
        (
            "spaces",
            [
                {"data": name, "images": images, "space": space, "features": 9, "draws": 2}
                | {"margins": {"a > b": margin, "b > c": 2.5}}
                for name, images, space, margin in [
                    ("cifar10", 60, "pixels", -1.25),
                    ("mnist", 6000, "pixels", 3.0),
                    ("mnist", 60, "random", 1.0),
                ]
            ],
            [
                "| data | images | space | features | a > b | b > c |\n| --- | --- | --- | --- | --- | --- |\n"
                "| mnist | 60 | `random` | 9 | 1.0 | 2.5 |\n| mnist | 6,000 | `pixels` | 9 | 3.0 | 2.5 |",
                "| cifar10 | 60 | `pixels` | 9 | -1.2 | 2.5 |",
                "draws: `pixels` has 3 of 4 above 2 and 1 below 0; `random` has 1 of 2 above 2 and 0 below 0.",
            ],
        ),
        (
            "ranking",
            [
                {"data": name, "space": "pixels", "images": images, "draws": 2}
                | {"right": {"frechet": {"real > smears": share}, "recall": {"smears > noise": 0.0}}}
                for name, images, share in [("mnist", 60, 0.5), ("mnist", 600, 1.0), ("cifar10", 60, 1.0)]
            ],
            [
                "| pair | space | frechet | kernel |",
                "| real > smears | `pixels` | 600 / 60 |  |",
                "| smears > noise | `pixels` |  |  |  |  | ✗ / ✗ |",
                "number (600 of mnist, 60 of cifar10); -: neither. Draws: 2 of 60, 2 of 600 images.",
            ],
        ),
        (
            "gpu",
            [
                {"device": "card", "matrix": 8192, "bf16_tflops": 700.0},
                {"system": "ae", "precision": "bf16", "images": 10, "width": 4, **PAIR}
                | {"images_per_second": {"entropic-ae": 2e4, "bare": 1e4}}
                | {"share_of_matrix_rate": {"entropic-ae": 0.2, "bare": 0.1}},
                {"waits": {"ae": {"per_step": 0.0, "lines": {}}, "vae": None}},
                {"profile": "eae", "compiled": True, "seconds": 1.0, "shares": {"copies": 0.25}},
                {"mixture": 10, "codes": 5000, "dimensions": 8, "seconds": {"CPU": 20.0, "device": 2.0}}
                | {"log_likelihood": {"CPU": -1.5, "device": -1.5}},
                {"row": "eae, 100 epochs", "validation_images": 1000, "seconds": 170.0}
                | {"seconds_of_steps": 120.0},
            ],
            [
                "card: 700 TFLOP/s",
                "| `ae` | bf16 | entropic-ae | 20,000 | 20.0 % | - |",
                "| `ae` | bf16 | bare | 10,000 | 10.0 % | 1.50 (1.00 to 2.00) |",
                "| `ae` | 0.00 |",
                "| no kernel | 75 % |",
                "| mixture of 10, 5,000 codes of 8 | time | log likelihood of held-out codes |",
                "| device | 2 s | -1.5000 |",
                "eae, 100 epochs; 1,000 images validated each epoch: 170 s, of which its steps 120 s.",
            ],
        ),
    ],
)
def test_results_are_rendered(kind, rows, lines, tmp_path):
    write_json(tmp_path / "a.json", {"rows": rows, **WHERE})
    text = RENDER["KINDS"][kind](tmp_path / "a.json")
    for line in lines:
        assert line in text


def test_a_result_names_the_vector_instructions():
    text = tables.where({**WHERE, "machine": {**WHERE["machine"], "instructions": "AVX2"}})
    assert text == ("x86_64 with AVX2, 2 cores, 1 threads; entropic-ae 1, torch 2, python 3, pythae 4.")
    assert "instructions" in provenance.machine()


CHECKS = [{"check": "check_a", "status": "passed"}, {"check": "check_b", "status": "skipped", "reason": "no b"}]
PARITY = [
    {"recipe": "ae", "settings": {}, "differences": {"encoder": 1e-7, "sampler-prior": 2e-6}},
    {
        "recipe": "eae",
        "settings": {"bottleneck": "cube"},
        "differences": {"encoder": 3e-7, "sampler-copula": 4e-7},
    },
]


def test_conformance_is_rendered(tmp_path):
    libraries = {"versions": {"scikit-learn": "1.9", "onnxruntime": "2.0", "torch": "3.0"}}
    write_json(tmp_path / "a.json", {"outcomes": {"passed": 1, "skipped": 1}, "checks": CHECKS, **libraries})
    said = RENDER["KINDS"]["checks"](tmp_path / "a.json")
    assert said == "Of the 2 checks of scikit-learn 1.9, 1 passed; check_b skipped (no b)."
    write_json(tmp_path / "b.json", {"rows": PARITY, "batches": [1, 7], **libraries})
    text = RENDER["KINDS"]["parity"](tmp_path / "b.json")
    assert "|  | encoder | sampler-prior | sampler-copula |" in text
    assert "| `ae` | 1.0e-07 | 2.0e-06 | - |" in text
    assert "| `eae` bottleneck=cube | 3.0e-07 | - | 4.0e-07 |" in text
    assert "batches of 1 and 7: 2.0e-06. torch 3.0, onnxruntime 2.0." in text


def test_damages_and_supported_versions_are_rendered(tmp_path):
    found = {
        "array": {"cut": {"refused": 2}, "grown": {"refused": 1, "same": 1200}},
        "picture": {"cut": {"hang": 1}},
    }
    write_json(tmp_path / "a.json", {"by_subject": found})
    text = RENDER["KINDS"]["damages"](tmp_path / "a.json")
    assert "| array | 3 | 0 | 1,200 | 0 | 0 | 0 | 0 |" in text
    assert "| all | 3 | 0 | 1,200 | 0 | 0 | 1 | 0 |\n\n1,204 damaged inputs." in text
    for name, release in (("oldest", "2.6"), ("newest", "2.15")):
        versions = {
            "versions": {"entropic-ae": "1", "torch": release, "numpy": "1.26"},
            "outcomes": {"passed": 1000},
        }
        write_json(tmp_path / "versions" / f"{name}.json", versions)
    lines = RENDER["KINDS"]["supported"](tmp_path / "versions").splitlines()
    assert lines[0] == "|  | oldest | newest |"
    assert lines[2:] == ["| torch | 2.6 | 2.15 |", "| numpy | 1.26 | 1.26 |", "| tests passed | 1,000 | 1,000 |"]


def test_precisions_are_rendered_side_by_side(tmp_path):
    for precision, error in (("32", 2.0), ("bf16", 3.0)):
        for seed in (0, 1):
            metrics = {
                "reconstruction_error": error + seed,
                "codes": {"entropy": 4.0},
                "distances": {"prior": {"frechet": 5.0}, "mixture": {"frechet": 6.0}},
                "features": "pixels",
            }
            made = {"recipe": "ae", "seed": seed, "data": "digits", "precision": precision}
            cell = {"cell": made, "data": "digits", "training_images": 1000}
            settings = {"expanded": {"settings": {"epochs": 7}}, "machine": WHERE["machine"]}
            write_json(tmp_path / precision / f"{seed}.json", {**cell, **settings, "metrics": metrics})
    more = {**cell, **settings, "cell": {**made, "seed": 2}}  # which bf16 has not
    write_json(tmp_path / "32" / "more.json", more)
    text = RENDER["KINDS"]["precisions"](tmp_path / "bf16", tmp_path / "32")
    assert "| `ae` | 32 | 2.50 ± 0.71 | 4.00 ± 0.00 | 5.00 ± 0.00 | 6.00 ± 0.00 |" in text
    assert "| `ae` | bf16 | 3.50 ± 0.71 |" in text
    assert "digits, 1,000 training images, 7 epochs. Frechet distances in pixels features." in text
    assert "over 2 seeds. x86_64, 2 cores." in text
    (tmp_path / "32" / "0.json").unlink()
    with pytest.raises(InputError, match="bf16 has 2 cells, of which the table has 1; measure them"):
        RENDER["KINDS"]["precisions"](tmp_path / "bf16", tmp_path / "32")
