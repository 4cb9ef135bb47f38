import json
from dataclasses import replace

import pytest

from entropic_ae import PRESETS, RECIPES, InputError, configure
from entropic_ae.experiments import sweep, tuning
from entropic_ae.experiments.sweep import Cell, read_cells
from entropic_ae.training import Execution

pytestmark = pytest.mark.usefixtures("brief")
CPU = Execution("cpu")
TABLE = Cell(
    "ae", "digits", 0, {}, {"width": "2", "epochs": "1"}, limit=100, n=50, features="pixels", execution=CPU
)


def test_every_system_has_as_many_tries_on_validation_images(tmp_path):
    told = []
    rates, factors = (1e-3, 1e-2), (0.1, 10.0, 100.0)
    tuning.tune(["ae", "rae-l2"], TABLE, tmp_path / "out", tmp_path / "runs", rates=rates, factors=factors,
                tell=told.append)  # fmt: skip
    cells = read_cells(tmp_path / "out")
    assert len(cells) == 10
    assert {cell["cell"]["split"] for cell in cells} == {"validation"}
    own = {name: [c["cell"]["own"] for c in cells if c["cell"]["recipe"] == name] for name in ("ae", "rae-l2")}
    assert len(own["ae"]) == len(own["rae-l2"]) == 5
    first = [c for c in cells if c["cell"]["recipe"] == "rae-l2" and set(c["cell"]["own"]) == {"learning_rate"}]
    rate = min(first, key=tuning.score)["cell"]["own"]["learning_rate"]
    assert sorted(c["cell"]["own"]["learning_rate"] for c in first) == [1e-3, 1e-2]
    weights = {"code_norm": 0.0064, "decoder_decay": 1.024e-4}  # the recipe's on digits
    for factor in factors:
        assert {"learning_rate": rate, **{k: float(f"{factor * v:.3g}") for k, v in weights.items()}} in own[
            "rae-l2"
        ]
    rates = sorted(one["learning_rate"] for one in own["ae"])
    assert len(set(rates)) == 5
    best = min((c for c in cells if c["cell"]["recipe"] == "rae-l2"), key=tuning.score)
    assert tuning.best(tmp_path / "out", "rae-l2") == best["cell"]["own"]
    assert f"**{tuning.score(best):.2f}**" in tuning.render_tries(tmp_path / "out")
    told.clear()
    tuning.tune(["ae", "rae-l2"], TABLE, tmp_path / "out", tmp_path / "runs", rates=(1e-3, 1e-2), factors=factors,
                tell=told.append)  # fmt: skip
    assert [text for text in told if ";" in text] == []  # nothing is done again
    for _ in range(2):  # the second time finds all done
        tuning.tune(["ae", "rae-l2"], TABLE, tmp_path / "out", tmp_path / "runs", rates=(1e-3, 1e-2),
                    factors=factors, refine=True)  # fmt: skip
        own = [c["cell"]["own"] for c in read_cells(tmp_path / "out") if c["cell"]["recipe"] == "rae-l2"]
        half = {**best["cell"]["own"], "learning_rate": best["cell"]["own"]["learning_rate"] / 2}
        assert len(own) == 6
        assert half in own


@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10", "celeba"])
def test_no_system_has_more_tries_than_another(data):
    factors = (0.2, 5.0, 25.0)
    for recipe in RECIPES.values():
        cell = replace(TABLE, recipe=recipe.name, shared={})
        cell.__dict__["system"] = configure(recipe, PRESETS[data])  # in place of one from the images
        tries = tuning._second_round(cell, 1e-3, factors)
        assert len({str(own) for own in tries}) == len(factors)
        assert {"learning_rate": 1e-3} not in tries


def test_finalists_are_trained_for_longer_and_decide(tmp_path):
    out = tmp_path / "out"
    tuning.tune(["rae"], TABLE, out, tmp_path / "runs", rates=(1e-3, 1e-2), factors=(10.0,), finalists=2,
                final_epochs=2)  # fmt: skip
    tries, final = read_cells(out), read_cells(out / "final")
    assert len(tries) == 3
    best_two = [cell["cell"]["own"] for cell in sorted(tries, key=tuning.score)[:2]]
    assert sorted(map(str, best_two)) == sorted(str(cell["cell"]["own"]) for cell in final)
    assert {cell["expanded"]["settings"]["epochs"] for cell in final} == {2}
    assert {cell["expanded"]["settings"]["epochs"] for cell in tries} == {1}
    winner = min(final, key=tuning.score)
    assert tuning.best(out, "rae") == winner["cell"]["own"]
    assert f"**{tuning.score(winner):.2f}**" in tuning.render_tries(out).split("they decide:")[1]
    unfinished = {**winner, "cell": {**winner["cell"], "recipe": "ae"}}
    (out / "ae-0.json").write_text(json.dumps(unfinished))
    with pytest.raises(InputError, match="has 0 of 2 finalists of 'ae'; finish entropic-ae tune first"):
        tuning.best(out, "ae")
    with pytest.raises(
        InputError, match="finalists need final epochs, got 2 finalists and no final epochs; give both"
    ):
        tuning.tune(["rae"], TABLE, out, tmp_path / "runs", finalists=2)


def test_a_step_is_taken_beyond_the_ends_of_what_was_tried(tmp_path):
    def steps(recipe, own, *tried):
        return tuning._steps_beyond([replace(TABLE, recipe=recipe, own=one) for one in tried], own)

    rates = [{"learning_rate": rate} for rate in (1e-3, 3e-3)]
    assert steps("ae", rates[0], *rates) == [{"learning_rate": 5e-4}]
    assert steps("ae", rates[1], *rates) == [{"learning_rate": 6e-3}]
    assert steps("ae", rates[0], *rates, {"learning_rate": 5e-4}) == []
    usual = replace(TABLE, recipe="rae").system.settings()["code_norm"]
    weighted = [{"learning_rate": 1e-3, "code_norm": factor * usual} for factor in (0.2, 5, 25)]
    assert steps("rae", rates[0], *rates, *weighted) == [{"learning_rate": 5e-4}]
    low, high = (steps("rae", weighted[i], *rates, {"learning_rate": 5e-4}, *weighted) for i in (0, 2))
    assert [step["code_norm"] for step in (*low, *high)] == pytest.approx([0.04 * usual, 125 * usual], rel=1e-2)
    assert {step["learning_rate"] for step in (*low, *high)} == {1e-3}


def test_steps_beyond_are_trained_as_long_as_the_finalists_and_decide(tmp_path):
    out = tmp_path / "out"
    tuning.tune(["ae"], TABLE, out, tmp_path / "runs", rates=(1e-3,), factors=(2.0,), finalists=1, final_epochs=2,
                beyond=True)  # fmt: skip
    (final,), (step,) = read_cells(out / "final"), read_cells(out / "beyond")
    rate = final["cell"]["own"]["learning_rate"]
    assert step["cell"]["own"]["learning_rate"] in (rate / 2, rate * 2)
    assert step["expanded"]["settings"]["epochs"] == 2
    assert tuning.best(out, "ae") == min(final, step, key=tuning.score)["cell"]["own"]
    shown = tuning.render_tries(out).split("a step beyond where the best lay at an end of what was tried")[1]
    assert all(f"{tuning.score(one):.2f}" in shown for one in (final, step))
    with pytest.raises(InputError, match="give finalists and final epochs"):
        tuning.tune(["ae"], TABLE, out, tmp_path / "runs", beyond=True)


def test_a_search_that_is_interrupted_in_any_round_makes_the_tries_of_one_that_was_not(tmp_path, monkeypatch):
    def search(name):
        out = tmp_path / name
        tuning.tune(["rae"], TABLE, out, tmp_path / "runs", rates=(1e-3, 1e-2), factors=(10.0,), refine=True,
                    finalists=1, final_epochs=2, beyond=True)  # fmt: skip
        return {str(path.relative_to(out)) for path in out.rglob("*.json")}

    write, written = sweep.write_json, []

    def write_one(*result):
        if written:
            raise KeyboardInterrupt
        written.append(write(*result))

    whole = search("whole")
    assert len(whole) >= 5  # two rates, a factor, half the rate, a finalist, and at times a step beyond
    monkeypatch.setattr(sweep, "write_json", write_one)
    for _ in range(len(whole) - 1):
        written.clear()
        with pytest.raises(KeyboardInterrupt):
            search("stopped")
    written.clear()
    assert search("stopped") == whole


def test_test_images_are_not_read(tmp_path, monkeypatch):
    """Were the test images other ones, the tries would score the same."""
    from entropic_ae import runs

    scores = []
    load = runs.training.load_images
    for flip in (False, True):

        def loaded(*args, flip=flip, **kwargs):
            data = load(*args, **kwargs)
            test = data.test._replace(images=255 - data.test.images)
            return replace(data, test=test) if flip else data

        monkeypatch.setattr(runs.training, "load_images", loaded)
        out = tmp_path / str(flip)
        tuning.tune(["ae"], TABLE, out, tmp_path / f"runs{flip}", rates=[1e-3], factors=[2.0])
        scores.append([tuning.score(cell) for cell in read_cells(out)])
    assert scores[0] == scores[1]


def test_score_is_of_the_density_that_the_system_draws_from():
    distances = {"prior": {"frechet": 1.0}, "mixture": {"frechet": 2.0}, "second-stage": {"frechet": 3.0}}
    scores = {
        name: tuning.score({"cell": {"recipe": name}, "metrics": {"distances": distances}}) for name in RECIPES
    }
    assert scores == {
        **dict.fromkeys(("ae", "ae-l2", "rae", "rae-l2", "rae-gp", "rae-sn"), 2.0),
        **dict.fromkeys(("vae", "cv-vae", "wae", "bn-ae", "eae", "eae-linear"), 1.0),
        **dict.fromkeys(("2svae", "2seae"), 3.0),
    }


def test_a_second_stage_takes_the_settings_of_its_first(tmp_path):
    content = {
        "cell": {"recipe": "eae", "own": {"entropy": 2.0}},
        "metrics": {"distances": {"prior": {"frechet": 1.0}}},
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert tuning.best(tmp_path, "2seae") == {"entropy": 2.0}
    with pytest.raises(InputError, match="has no tries of 'vae'; run entropic-ae tune with it first, or leave it"):
        tuning.best(tmp_path, "vae")


def test_settings_tried_on_other_data_are_taken_with_a_warning(tmp_path, recwarn):
    content = {
        "cell": {"recipe": "eae", "own": {"entropy": 2.0}, "data": "mnist"},
        "metrics": {"distances": {"prior": {"frechet": 1.0}}},
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert tuning.best(tmp_path, "eae", "mnist") == {"entropy": 2.0}
    assert not recwarn
    with pytest.warns(UserWarning, match="were tried on mnist, and are used for digits"):
        assert tuning.best(tmp_path, "eae", "digits") == {"entropy": 2.0}


@pytest.mark.parametrize("wrong", [{"rates": ()}, {"rates": (0.0,)}, {"factors": (-1.0,)}])
def test_wrong_tries_are_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="rates and factors must be above 0"):
        tuning.tune(["ae"], TABLE, tmp_path, tmp_path, **wrong)
    with pytest.raises(InputError, match="has no tries"):
        tuning.render_tries(tmp_path)
    with pytest.raises(InputError, match="unknown recipe 'nothing'"):
        tuning.tune(["nothing"], TABLE, tmp_path, tmp_path)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        tuning.best(tmp_path / "nowhere", "ae")
