import json

import pytest

from entropic_ae import InputError
from entropic_ae.experiments import table1
from entropic_ae.experiments.table1 import render, statements


def cell(label, seed, frechet, data="cifar10", collapsed=(), **cell):
    """A result file's content, with distances by column."""
    recipe, *pairs = label.split()
    own = dict(pair.split("=") for pair in pairs)
    mapped = {"transport": "mixture"} if recipe.startswith("t-") or "transport" in own else {}
    return {
        "cell": {
            "recipe": recipe,
            "own": own,
            "shared": {"width": 2},
            "seed": seed,
            "limit": None,
            **cell,
        },
        "label": label,
        "git_commit": None if recipe == "ae" else "abcdef1234",
        "data": data,
        "training_images": 5,
        "expanded": {"settings": {"epochs": 3, "batch_size": 100, "width": 2, "latent_dim": 8, **mapped}},
        "metrics": {
            "features": "pixels",
            "n": 10,
            "real_images": 30,
            "split": "test",
            "reconstruction_error": 7.0,
            "codes": {"corrected_gap": None},
            "distances": {name: {"frechet": value} for name, value in {"held-out images": 0.5, **frechet}.items()},
            "collapse": {
                "active_codes": 1,
                "latent_dim": 8,
                "spread": {"prior": 0.05},
                "collapsed": list(collapsed),
            },
        },
    }


def columns(prior, gaussian, mixture, **more):
    return {
        "reconstructions": 1,
        "interpolations": 2,
        "prior": prior,
        "gaussian": gaussian,
        "mixture": mixture,
        **more,
    }


def write(folder, *cells):
    for i, one in enumerate(cells):
        (folder / f"{i}.json").write_text(json.dumps(one))
    return folder


@pytest.fixture
def results(tmp_path):
    return write(
        tmp_path,
        cell("eae", 0, columns(10, 6, 4)),
        cell("eae", 1, columns(12, 6, 4)),
        cell("vae", 0, columns(20, 5, 4.5), collapsed=["prior", "codes"]),
        cell("vae", 1, columns(24, 5.5, 4.5)),
        cell("ae", 0, columns(50, 7, 4.5)),
        cell("2svae", 0, columns(60, 7, 70, **{"second-stage": 9})),
    )


def test_means_deviations_ranks_and_published_figures(results):
    lines = render(results).splitlines()
    head = [name.strip() for name in lines[0].strip("|").split("|")]
    rows = {line.split(" | ")[0].strip("| "): line.strip("|").split(" | ") for line in lines[2:6]}
    assert list(rows) == ["ae", "vae", "2svae", "eae"]  # the registry's order
    values = dict(zip(head, [value.strip() for value in rows["vae"]], strict=True))
    assert values["seeds"] == "2"
    assert values["prior"] == "22.00 ± 2.83 (2)"
    assert values["gaussian"] == "5.25 ± 0.35 (1)"
    assert values["mixture"] == "4.50 ± 0.00 (2)"  # equal to ae: both second
    assert values["second-stage"] == "-"
    assert values["paper's FID: prior / gaussian / mixture"] == "106.37 / - / 103.78"
    assert rows["2svae"][-2].strip() == "9.00 (1)"
    assert rows["2svae"][-1].strip() == "109.77 / - / -"
    assert rows["eae"][4].strip() == "1.00 ± 0.00 (1)"


def test_the_rest_of_the_page(results):
    page = render(results)
    assert "Missing: ae-l2, rae, rae-l2, rae-gp, rae-sn, cv-vae, wae, bn-ae, eae-linear, 2seae, " in page
    assert "ae (seed 1), 2svae (seed 1)." in page
    assert "real images' variance): vae (prior 0.05, 1 of 8 codes active)." in page
    assert "real held-out images are at 0.50" in page
    ahead = "`eae` (11.00 ± 1.41) ahead with prior sampling: of the paper's column, **does not hold**"
    of_all = "of all other systems here,"
    assert f"- {ahead} (ahead: the second stage of 2svae 9.00); {of_all} **does not hold**" in page
    # the paper has no vae in its gaussian column
    assert f"gaussian sampling: of the paper's column, **holds** (next: ae 7.00); {of_all} **does not" in page
    assert f"mixture sampling: of the paper's column, **holds** (next: ae 4.50); {of_all} **holds**" in page
    assert "(in the paper, but for CV-VAE on CelebA): **does not hold** for 2svae." in page
    assert "Commits: abcdef1 (5), unknown (1)." in page


def test_samples_of_odd_variance_are_named_with_their_range(tmp_path):
    cells = [cell("vae", seed, columns(1, 2, 3)) for seed in (0, 1)] + [cell("ae", 0, columns(1, 2, 3))]
    for one, spread in zip(cells, ({"prior": 0.2}, {"prior": 1.1}, {"prior": 0.9, "mixture": 1.6}), strict=True):
        one["metrics"]["collapse"]["spread"] = spread
    page = render(write(tmp_path, *cells))
    assert "(share of their variance): ae (mixture 1.60); vae (prior 0.20 to 1.10)." in page


def test_a_second_stage_stands_for_the_prior_only_where_the_system_draws_from_it(tmp_path):
    cells = [cell(name, 0, columns(10, 5, 4, **{"second-stage": 2})) for name in ("eae", "ae")]
    page = render(write(tmp_path, *cells))
    assert "`eae` (10.00) ahead with prior sampling: of all other systems here, **within the spread**" in page


def test_eae_is_compared_with_systems_without_a_transport_and_t_eae_with_all(tmp_path):
    of_recipe = {"eae": 10, "wae": 12, "t-bn-ae": 4, "t-eae": 3, "2seae": 2, "rae-sn transport=mixture": 5}
    cells = [cell(name, 0, columns(prior, 11, 12)) for name, prior in of_recipe.items()]
    said = "\n".join(statements(write(tmp_path, *cells)))
    own = "- `eae` (10.00) ahead with prior sampling: of the paper's column, **holds** (next: wae 12.00)"
    assert f"{own}; of all other systems here without a transport, **holds** (next: wae 12.00)." in said
    mapped = "- `t-eae` (3.00) ahead with prior sampling: of all other systems here, **holds**"
    assert f"{mapped} (next: t-bn-ae 4.00)." in said
    of_all = "all without a transport (in the paper, but for CV-VAE on CelebA)"
    assert f"prior sampling for {of_all}: **does not hold** for eae, 2seae; within the spread for wae." in said
    alone = "\n".join(statements(tmp_path, ["eae"]))
    assert own in alone
    assert "t-eae" not in alone


def test_columns_that_were_not_measured_have_no_verdict(tmp_path):
    few = [cell(name, 0, {"reconstructions": 1, "mixture": 4, **more}) for name, more in
           (("eae", {}), ("vae", {"prior": 3}))]  # fmt: skip
    page = render(write(tmp_path, *few))
    assert "ahead with mixture sampling" in page
    assert "ahead with prior sampling" not in page
    assert "(in the paper, but for CV-VAE on CelebA): **does not hold** for vae." in page
    few[1]["metrics"]["distances"].pop("prior")
    assert "Mixture ahead of prior" not in render(write(tmp_path, *few))


def test_a_mixture_within_the_spread_of_the_prior_is_said_to_be_so():
    def pair(name, *columns, errors=(0.0, 0.0)):
        return (name, *(table1._Drawn(column, list(errors)) for column in columns))

    assert table1._ahead_for_all([pair("a", [1.0, 9.0], [3.0, 11.5]), pair("b", [2.0, 4.0], [3.0, 3.1])]) == (
        "**holds**, within the spread for b"
    )
    assert table1._ahead_for_all([pair("a", [3.0], [1.0]), pair("b", [1.0], [1.0])]) == (
        "**does not hold** for a; within the spread for b"
    )
    near, far = (pair("a", [1.0], [lead], errors=[0.3]) for lead in (1.42, 1.43))  # 0.3 times the root of 2
    assert table1._ahead_for_all([near]) == "**holds**, within the spread for a"
    assert table1._ahead_for_all([far]) == "**holds**"


def test_a_single_seed_has_the_spread_of_its_draws(tmp_path):
    cells = [cell("eae", 0, columns(10, 5, 4)), cell("vae", 0, columns(11, 6, 5))]
    for one, error in zip(cells, (0.6, 0.7), strict=True):
        one["metrics"]["distances"]["prior"]["frechet_error"] = error
        one["metrics"]["distances"]["gaussian"]["frechet_error"] = error + 0.1
    page = render(write(tmp_path, *cells))
    assert "`eae` (10.00) ahead with prior sampling: of the paper's column, **holds** (next: vae 11.00)" in page
    assert "gaussian sampling: of all other systems here, **within the spread** (within the spread: vae)" in page


def test_a_small_difference_is_said_to_be_within_the_spread(tmp_path):
    write(tmp_path, *(cell(name, seed, columns(10 + seed + up, 5, 4)) for name, up in (("eae", 0), ("vae", 0.5))
                      for seed in (0, 1)))  # fmt: skip
    assert "of the paper's column, **within the spread** (within the spread: vae)" in render(tmp_path)


def test_rows_of_one_seed_among_others_are_named(tmp_path):
    seeds = [cell("eae", seed, columns(10 + seed, 5, 4)) for seed in (0, 1)]
    page = render(write(tmp_path, *seeds, cell("vae", 0, columns(12, 6, 5))))
    assert "of 16 systems measured (of one seed, with the spread of the draws alone: vae):" in page


def test_verdicts_on_some_systems_and_on_a_collapsed_one_say_so(tmp_path):
    write(tmp_path, cell("eae", 0, columns(1, 2, 3), collapsed=["prior"]), cell("vae", 0, columns(2, 3, 4)))
    page = render(tmp_path)
    said = "(one seed, of which the spread is that of the draws alone):"
    assert f"at this budget, among the 2 of 16 systems measured {said}" in page
    assert "`eae` itself has collapsed (prior), so these say nothing of it:" in page


def test_one_system_under_two_names_takes_one_rank(tmp_path):
    same = [cell(name, 0, columns(10, 5, 4)) for name in ("eae", "2seae")]
    page = render(write(tmp_path, *same, cell("vae", 0, columns(20, 6, 5))))
    assert page.count("10.00 (1)") == 2
    assert "20.00 (2)" in page


def test_what_diverged_is_said_and_is_not_missing(tmp_path):
    lost = {key: value for key, value in cell("vae", 1, {}).items() if key != "metrics"}
    write(
        tmp_path,
        cell("eae", 0, columns(1, 2, 3)),
        cell("eae", 1, columns(1, 2, 3)),
        cell("vae", 0, columns(1, 2, 3)),
        {**lost, "diverged": "the loss was not finite."},
    )
    page = render(tmp_path)
    assert "Diverged: vae, seed 1: the loss was not finite." in page
    assert "vae (seed 1)" not in page


def test_other_data_have_no_published_figures(tmp_path):
    page = render(write(tmp_path, cell("ae", 0, columns(1, 2, 3), data="mnist")))
    assert "paper" not in page


def test_render_refuses_nothing_and_mixtures(tmp_path):
    with pytest.raises(InputError, match="has no results"):
        render(tmp_path)
    one = cell("ae", 0, columns(1, 2, 3))
    with pytest.raises(InputError, match="holds ae, seed 0, twice"):
        render(write(tmp_path, one, one))
    retrained = {**one, "metrics": {**one["metrics"], "features_sha256": "another classifier's"}}
    others = ({**one, "training_images": 6}, retrained, cell("ae", 1, columns(1, 2, 3), shared={"width": 4}))
    for other in others:
        with pytest.raises(InputError, match="measured in 2 different ways"):
            render(write(tmp_path, one, other))


def test_settings_are_sorted_as_numbers():
    assert sorted(["x", 2, "10"], key=table1._number) == [2, "10", "x"]
