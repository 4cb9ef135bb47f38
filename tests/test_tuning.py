import inspect
import json
from dataclasses import replace

import pytest

from entropic_ae import PRESETS, RECIPES, InputError, configure
from entropic_ae.cli import experiments as commands
from entropic_ae.experiments import sweep, tuning
from entropic_ae.experiments.cells import Cell, read_cells
from entropic_ae.experiments.sweep import run_cells
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
SMALL = {"width": "2", "epochs": "3", "batch_size": "2", "validation_images": "20"}  # 50 minibatches an epoch
TABLE = Cell("ae", "digits", 0, {}, SMALL, limit=100, n=50, features="pixels", execution=Execution("cpu"))
GRID = {"rates": (1e-3, 1e-2), "factors": (0.1, 1.0, 10.0)}


def search(recipes, out, runs, **more):
    told = []
    tuning.tune(recipes, TABLE, out, runs, **{**GRID, "tell": told.append, **more})
    return told


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A whole search: its results, its run folders and what it told."""
    folder = tmp_path_factory.mktemp("searched")
    return folder / "out", folder / "runs", search(["ae", "rae-l2"], folder / "out", folder / "runs")


def test_the_command_searches_what_the_function_does():
    defaults = {name: p.default for name, p in inspect.signature(commands.tune).parameters.items()}
    for name, values in (("rates", tuning.RATES), ("factors", tuning.FACTORS), ("shares", tuning.SHARES)):
        assert tuple(map(float, defaults[name].split(","))) == values


def test_every_system_has_equally_many_candidates_and_minibatches_on_validation_images(searched):
    out, _, told = searched
    assert told[0] == "2 systems, candidates of each: 3 after 100 minibatches, then 1 after 150 minibatches"
    first, last = read_cells(out / "rung-1"), read_cells(out / "rung-2")
    assert {cell["cell"]["split"] for cell in (*first, *last)} == {"validation"}
    assert {cell["cell"]["shared"]["validation_images"] for cell in (*first, *last)} == {"20"}
    for cells, candidates, epochs in ((first, 3, 2), (last, 1, 3)):  # running averages need 100 minibatches
        for recipe in ("ae", "rae-l2"):
            mine = [cell for cell in cells if cell["cell"]["recipe"] == recipe]
            assert len(mine) == candidates
            assert {cell["expanded"]["settings"]["epochs"] for cell in mine} == {epochs}
            for cell in mine:
                recorded = {name: cell["tuning"][name] for name in ("candidates", "minibatches", "density")}
                assert recorded == {"candidates": candidates, "minibatches": 50 * epochs, "density": "mixture"}
    assert sorted(c["cell"]["own"]["learning_rate"] for c in first if c["cell"]["recipe"] == "ae") == [
        1e-3,
        pytest.approx(1e-3 * 10**0.5, rel=1e-2),
        1e-2,
    ]
    weights = {"code_norm": 0.0064, "decoder_decay": 1.024e-4}  # the recipe's on digits
    tried = [cell["cell"]["own"] for cell in first if cell["cell"]["recipe"] == "rae-l2"]
    for rate, factor in ((1e-3, 0.1), (1e-3, 10.0)):  # every second point of the grid
        own = {"learning_rate": rate, **{name: float(f"{factor * value:.3g}") for name, value in weights.items()}}
        assert own in tried
    assert {"learning_rate": 1e-2} in tried


def test_the_best_train_on_and_decide(searched, tmp_path):
    out, runs, _ = searched
    for recipe in ("ae", "rae-l2"):
        first = [cell for cell in read_cells(out / "rung-1") if cell["cell"]["recipe"] == recipe]
        (last,) = (cell for cell in read_cells(out / "rung-2") if cell["cell"]["recipe"] == recipe)
        assert last["cell"]["own"] == min(first, key=tuning.score)["cell"]["own"] == tuning.best(out, recipe)
        assert f"**{tuning.score(last):.2f}**" in tuning.render_tries(out).split("trained on; they decide:")[1]
        assert (runs / last["run"]).is_dir()
    assert len([path for path in runs.iterdir() if not path.name.startswith(".")]) == 6  # no run is trained twice
    # the run that was continued is the one that is trained at once
    once = replace(TABLE, own=tuning.best(out, "ae"), split="validation", densities=("mixture",))
    run_cells([once], tmp_path / "out", tmp_path / "runs")
    (cell,) = read_cells(tmp_path / "out")
    continued = next(c for c in read_cells(out / "rung-2") if c["cell"]["recipe"] == "ae")
    assert cell["metrics"] == continued["metrics"]
    assert (cell["name"], cell["run"]) == (continued["name"], continued["run"])


def test_a_search_with_all_its_results_does_nothing_again(searched):
    out, runs, _ = searched
    assert [text for text in search(["ae", "rae-l2"], out, runs) if ";" in text] == []
    assert tuning.best_of_all(out).keys() == {"ae", "rae-l2"}
    assert len(tuning.tries(out)) == 8


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"rates": ()}, "rates and factors must be above 0"),
        ({"rates": (0.0,)}, "rates and factors must be above 0"),
        ({"factors": (-1.0,)}, "rates and factors must be above 0"),
        ({"shares": (0.5,)}, r"must rise from above 0 to 1, got \[0.5\]"),
        ({"shares": (0.5, 0.5, 1.0)}, r"must rise from above 0 to 1, got \[0.5, 0.5, 1.0\]"),
        ({"rates": (1e-3, 2e-2)}, r"search with rates \[0.001, 0.01\], got \(0.001, 0.02\): its tries are not"),
        ({"factors": (0.1, 1.0, 9.0)}, r"search with factors \[0.1, 1.0, 10.0\]"),
        ({"shares": (1.0,)}, "search with rounds 2, got 1"),
    ],
)
def test_another_search_in_the_same_folder_and_wrong_tries_are_refused(searched, more, sentence):
    out, runs, _ = searched
    with pytest.raises(InputError, match=sentence):
        search(["ae"], out, runs, **more)
    assert len(tuning.tries(out)) == 8


def test_what_is_no_search_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no tries"):
        tuning.render_tries(tmp_path)
    with pytest.raises(InputError, match="unknown recipe 'nothing'"):
        search(["nothing"], tmp_path, tmp_path)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        tuning.best(tmp_path / "nowhere", "ae")


@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10", "celeba"])
def test_no_system_has_more_candidates_than_another(data):
    for recipe in RECIPES.values():
        cell = replace(TABLE, recipe=recipe.name, shared={})
        cell.__dict__["system"] = configure(recipe, PRESETS[data])  # in place of one from the images
        found = tuning._candidates(cell, tuning.RATES, tuning.FACTORS)
        assert len({str(own) for own in found}) == 9
        assert {min(tuning.RATES), max(tuning.RATES)} <= {own["learning_rate"] for own in found}
        if recipe.name == "eae":  # the rate and the weight are searched together
            usual = cell.system.settings()["entropy"]
            assert {"learning_rate": 0.003, "entropy": float(f"{25 * usual:.3g}")}.items() <= next(
                own for own in found if own["learning_rate"] == 0.003 and own.get("entropy", 0) > usual
            ).items()


def test_an_interrupted_search_makes_the_tries_of_one_that_was_not(searched, tmp_path, monkeypatch):
    out = tmp_path / "out"
    whole = {one["name"]: one["metrics"] for one in tuning.tries(searched[0]) if one["cell"]["recipe"] == "rae-l2"}
    write, written = sweep.write_json, []

    def write_one(*result):
        if written:
            raise KeyboardInterrupt
        written.append(write(*result))

    monkeypatch.setattr(sweep, "write_json", write_one)
    for _ in range(2):  # each time one result more is written, and the next is trained and lost
        written.clear()
        with pytest.raises(KeyboardInterrupt):
            search(["rae-l2"], out, tmp_path / "runs")
    monkeypatch.undo()
    search(["rae-l2"], out, tmp_path / "runs")
    assert {one["name"]: one["metrics"] for one in tuning.tries(out)} == whole


def test_test_images_are_not_read(tmp_path, monkeypatch):
    """Were the test images other ones, the tries would score the same."""
    from entropic_ae import runs

    scores = []
    load = runs.planning.load_images
    for flip in (False, True):

        def loaded(*args, flip=flip, **kwargs):
            data = load(*args, **kwargs)
            test = data.test._replace(images=255 - data.test.images)
            return replace(data, test=test) if flip else data

        monkeypatch.setattr(runs.planning, "load_images", loaded)
        out = tmp_path / str(flip)
        search(["ae"], out, tmp_path / f"runs{flip}", rates=[1e-3], factors=[2.0], shares=[1.0])
        scores.append([tuning.score(cell) for cell in tuning.tries(out)])
    assert scores[0] == scores[1]


def test_score_is_of_the_density_that_the_system_draws_from():
    drawn = {"prior": 1.0, "mixture": 2.0, "second-stage": 3.0, "autoregressive": 4.0}
    distances = {name: {"frechet": value} for name, value in drawn.items()}
    scores = {
        name: tuning.score({"cell": {"recipe": name}, "metrics": {"distances": distances}}) for name in RECIPES
    }
    assert (
        scores.items()
        >= {
            **dict.fromkeys(("ae", "ae-l2", "rae", "rae-l2", "rae-gp", "rae-sn"), 2.0),
            **dict.fromkeys(("vae", "cv-vae", "wae", "bn-ae", "eae", "eae-linear"), 1.0),
            **dict.fromkeys(("2svae", "2seae"), 3.0),
            "q-ae": 4.0,
            "q-eae": 1.0,
        }.items()
    )


def write(folder, distance, *, recipe="eae", data="mnist", rung=None, **own):
    """Write a result by hand; infinity stands for a diverged training."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"cell": {"recipe": recipe, "own": own, "data": data}}
    if distance == float("inf"):
        content["diverged"] = "a loss"
    else:
        content["metrics"] = {"distances": {RECIPES[recipe].density: {"frechet": distance}}}
    if rung is not None:
        content["tuning"] = {"number": rung, "of": 2, "candidates": {1: 4, 2: 2}[rung]}
    (folder / f"{recipe}-{len(list(folder.glob('*.json')))}.json").write_text(json.dumps(content))


def test_a_search_that_is_not_complete_does_not_decide(tmp_path):
    first, last, inf = tmp_path / "rung-1", tmp_path / "rung-2", float("inf")

    def refused(sentence):
        with pytest.raises(InputError, match=sentence):
            tuning.best(tmp_path, "eae")

    for distance in (3.0, inf, 1.0):
        write(first, distance, rung=1, entropy=distance)
        refused("search for 'eae' in .* is not complete; finish entropic-ae tune first")
    write(first, 2.0, rung=1, entropy=2.0)
    refused("is not complete")
    write(last, 5.0, rung=2, entropy=1.0)
    refused("is not complete")
    assert tuning.best_of_all(tmp_path) == {}
    write(last, 4.0, rung=2, entropy=2.0)
    assert tuning.best(tmp_path, "eae") == {"entropy": 2.0}
    with pytest.raises(
        InputError, match="has no tries of '2seae'; run entropic-ae tune with it first, or leave it"
    ):
        tuning.best(tmp_path, "2seae")  # not those of its first stage
    for _ in range(3):
        write(first, inf, recipe="vae", rung=1)
    write(first, 1.0, recipe="vae", rung=1, kl=1.0)
    write(last, 9.0, recipe="vae", rung=2, kl=1.0)
    assert tuning.best(tmp_path, "vae") == {"kl": 1.0}  # of four candidates, three diverged
    for _ in range(4):
        write(first, inf, recipe="wae", rung=1)
    with pytest.raises(InputError, match=r"all tries of 'wae' in .* diverged; run entropic-ae tune with lower"):
        tuning.best(tmp_path, "wae")


def test_results_of_the_search_before_are_read_and_not_mixed_with_others(tmp_path):
    for distance in (3.0, 2.0):
        write(tmp_path, distance, entropy=distance)
    assert tuning.best(tmp_path, "eae") == {"entropy": 2.0}
    write(tmp_path / "final", 1.0, entropy=3.0)
    assert tuning.best(tmp_path, "eae") == {"entropy": 3.0}
    write(tmp_path / "beyond", 0.5, entropy=6.0)
    assert tuning.best(tmp_path, "eae") == {"entropy": 6.0}
    with pytest.raises(
        InputError, match="holds tries from before all were judged after equal minibatches; give ano"
    ):
        search(["eae"], tmp_path, tmp_path / "runs")
    write(tmp_path / "rung-1", 1.0, rung=1)
    for read in (tuning.render_tries, tuning.tries, lambda out: tuning.best(out, "eae")):
        with pytest.raises(InputError, match="besides others, which are not comparable; remove one kind"):
            read(tmp_path)


def test_settings_tried_on_other_data_are_taken_with_a_warning(tmp_path, recwarn):
    write(tmp_path, 1.0, entropy=2.0)
    assert tuning.best(tmp_path, "eae", "mnist") == {"entropy": 2.0}
    assert not recwarn
    with pytest.warns(UserWarning, match="were tried on mnist, and are used for digits"):
        assert tuning.best(tmp_path, "eae", "digits") == {"entropy": 2.0}


def test_systems_of_different_length_are_not_compared(tmp_path, monkeypatch):
    longer = replace(RECIPES["ae"], name="longer", settings={"digits": {"epochs": 7}})
    monkeypatch.setitem(RECIPES.data, "longer", longer)
    table = replace(TABLE, shared={"width": "2"})
    with pytest.raises(
        InputError, match="after equally many minibatches, got epochs of ae 100, longer 7; give one"
    ):
        tuning.tune(["ae", "longer"], table, tmp_path / "out", tmp_path / "runs")


@pytest.mark.parametrize(("estimated", "ends"), [({}, [2, 3]), ({"ema": "0.9"}, [1, 3])])
def test_a_round_waits_for_running_averages_and_has_an_epoch(estimated, ends):
    """Of 3 epochs of 50 minibatches; averages need 100, unless they are estimated anew."""
    cell = replace(TABLE, shared={**SMALL, **estimated})
    rungs = tuning._rungs([cell], GRID["rates"], GRID["factors"], (0.01, 1.0))
    assert [rung.epochs for rung in rungs] == ends
