"""The verdict in words: grades of known cases, and the command that comes next."""

from pathlib import Path

import pytest

from entropic_ae.storage.run_info import RunInfo
from entropic_ae.verdict import train_command, verdict

INFO = {
    "recipe": "eae", "preset": "mnist", "data": "mnist", "source": "mnist", "shape": [1, 32, 32],
    "training_images": 10_000, "density": "prior", "seed": 0, "overrides": {"width": 16, "epochs": 10},
    "expanded": {
        "bottleneck": "BatchNorm", "terms": [], "densities": ["prior"],
        "settings": {"batch_size": 100, "momentum": 0.1, "latent_dim": 16},
    },
}  # fmt: skip
LOG = {
    "epoch": [*range(1, 11)],
    "validation_loss": [20, 15, 13, 12, 11.5, 11.2, 11.1, 11.05, 11.02, 11.0],
    "learning_rate": [1e-3] * 10,
}
RESULT = {
    "n": 5000, "number": 5000, "reconstruction_error": 9.0, "variance": 52.0, "collapse": {"collapsed": []},
    "diagnostics": {
        "parts": {"moments": 0.1, "norms": 0.2, "joint structure": 8.0},
        "p_values": {"moments": 0.3, "norms": 0.001, "joint structure": 0.001, "distance": 0.001},
    },
    "distances": {
        "held-out images": {"frechet": 0.05, "frechet_error": 0.01},
        "reconstructions": {"frechet": 2.4, "frechet_error": 0.1},
        "prior": {"frechet": 15.0, "frechet_error": 0.4},
        "mixture": {"frechet": 4.0, "frechet_error": 0.2},
    },
}  # fmt: skip


def judge(info=None, log=LOG, transported=False, folder="runs/a", **changed):
    found = verdict(
        RunInfo.of(INFO | (info or {})), log, {"pixels": RESULT | changed}, Path(folder), transported=transported
    )
    return {one.subject: one for one in found.findings}, found


def test_a_good_model_with_codes_that_are_not_the_prior_is_sent_to_the_transport():
    found, whole = judge()
    assert [found[name].grade for name in ("data", "training", "reconstructions", "samples")] == [
        "good", "good", "good", "poor",
    ]  # fmt: skip
    assert found["reconstructions"].sentence.startswith("they leave 17 % of the images' variance")
    assert found["samples"].sentence == (
        "drawn from the prior they are at 15.00, reconstructions at 2.40 and real images at 0.05; "
        "what the codes lack is mainly joint structure; drawn from the mixture (sample --density mixture), 4.00."
    )
    assert whole.command == "entropic-ae transport runs/a"
    assert str(whole).splitlines()[-1].endswith(": entropic-ae transport runs/a")


def test_a_transport_is_advised_only_where_a_mixture_draws_nearer():
    rows = {**RESULT["distances"], "mixture": {"frechet": 16.0, "frechet_error": 0.2}}
    found, whole = judge(distances=rows)
    assert found["samples"].grade == "poor"
    assert whole.command == "entropic-ae report runs/a"
    del rows["mixture"]  # not measured
    assert judge(distances=rows)[1].command == "entropic-ae transport runs/a"


def test_an_interrupted_run_is_resumed_as_it_is():
    expanded = {**INFO["expanded"], "settings": {**INFO["expanded"]["settings"], "epochs": 40}}
    short = {**LOG, "epoch": LOG["epoch"][:2], "validation_loss": [9.0, 4.0]}
    whole = judge({"expanded": expanded}, log=short)[1]
    assert whole.advice == "train on: it has 2 of 40 epochs"
    assert whole.command.endswith("--epochs 10 --seed 0 --out runs/a --resume")  # as it was started
    of_memory = judge({"expanded": expanded, "source": "an array in memory"}, log=short)[1]
    assert of_memory.advice == "train on: it has 2 of 40 epochs; the same call of train with resume=True"
    assert (
        judge({"expanded": expanded, "stopped": {"reason": "a rule", "epoch": 2}}, log=short)[1].command
        != whole.command
    )


def test_the_grade_of_samples_is_as_bad_as_is_certain():
    """4.6 times reconstructions whose distance, like the floor's, is hardly known: 1.6 times what it may be."""
    unsure = {"held-out images": (2.35, 1.33), "reconstructions": (1.75, 0.84), "prior": (7.99, 1.9)}
    rows = {name: {"frechet": value, "frechet_error": error} for name, (value, error) in unsure.items()}
    samples = judge(distances=rows)[0]["samples"]
    assert samples.grade == "fair"
    assert (
        "; of 5,000 images each, real images may be at up to 4.96, so what is certain, and graded, is 1.6 times "
        "as far, not 3.4 times;" in samples.sentence
    )
    sure = {name: {**row, "frechet_error": 0.0} for name, row in rows.items()}
    assert judge(distances=sure)[0]["samples"].grade == "poor"
    assert "certain" not in judge(distances=sure)[0]["samples"].sentence


def test_the_fall_of_a_signed_loss_is_measured_by_the_error():
    """From 0.01 to -0.03 a loss falls by four times itself: 0.8 % of an error of 5, and 10 % of one of 0.4."""
    losses = [9, 4, 2, 1, 0.5, 0.2, 0.1, 0.01, 0.0, -0.03]
    for error, grade in ((5.0, "good"), (0.4, "fair")):
        log = {**LOG, "validation_loss": losses, "validation_squared_error": [error] * 10}
        found = judge(log=log)[0]["training"]
        assert found.grade == grade
    assert found.sentence.endswith(
        "the validation loss still fell by 10 % of the squared error over the last epochs."
    )


def test_a_part_whose_test_does_not_reject_is_no_cause():
    parts = {"parts": {"moments": 9.0, "norms": 0.2}, "p_values": {"moments": 0.3, "norms": 0.001}}
    assert "mainly norms" in judge(diagnostics=parts)[0]["samples"].sentence
    nothing = {"parts": {"moments": 9.0}, "p_values": {"moments": 0.3}}
    found, whole = judge(diagnostics=nothing)
    assert "mainly" not in found["samples"].sentence
    assert whole.command == "entropic-ae report runs/a"


def test_after_the_transport_there_is_nothing_to_do_but_look():
    rows = {**RESULT["distances"], "prior": {"frechet": 3.4, "frechet_error": 0.1}}
    found, whole = judge(transported=True, distances=rows)
    assert found["samples"].grade == "good"
    assert whole.command == "entropic-ae report runs/a"


@pytest.mark.parametrize(
    ("log", "grade", "sentence"),
    [
        ({**LOG, "validation_loss": [20, 15, 13, *[12] * 7]}, "good", "converged: epoch 4 of 10 was the best"),
        ({"epoch": [1], "validation_loss": [20.0]}, "fair", "one epoch (100 minibatches) does not tell"),
        (
            {**LOG, "validation_loss": [20, 19, 18, 17, 16, 15, 14, 13, 12, 11]},
            "fair",
            "not finished: the validation loss still",
        ),
        (
            {**LOG, "validation_loss": [20, 11, *[12] * 8], "learning_rate": [1e-3] * 3 + [1e-6] * 7},
            "fair",
            "the learning rate has died: epoch 2 was the best, and the 8 after it",
        ),
        ({}, "unknown", "there is no log"),
    ],
)
def test_training(log, grade, sentence):
    found, _ = judge(log=log)
    assert found["training"].grade == grade
    assert found["training"].sentence.startswith(sentence)


def test_training_that_stopped_early_is_done_and_goes_on_without_its_rules():
    stopped = {"epoch": 10, "steps": 1000, "reason": "800 steps brought no lower validation loss than epoch 2"}
    log = {**LOG, "validation_loss": [20, 11, *[12] * 8], "learning_rate": [1e-3] * 3 + [1e-6] * 7}
    found, _ = judge(info={"stopped": stopped}, log=log)
    assert found["training"].grade == "good"
    assert found["training"].sentence.startswith(
        f"stopped early, as {stopped['reason']}: epoch 2 of 10 was the best"
    )
    _, whole = judge(info={"training_images": 100, "stopped": stopped, "overrides": {"stop_after": 9}}, log=log)
    assert "--set stop_after=0 stop_rate=0.0 --epochs 101" in whole.command
    assert whole.command.endswith("--resume")


def test_training_that_is_too_short_comes_first():
    found, whole = judge(info={"training_images": 900}, log={"epoch": [1], "validation_loss": [20.0]})
    assert found["training"].sentence == (
        "too short: 9 minibatches, and the running averages of the norms need 100."
    )
    assert found["data"].grade == "poor"
    assert whole.advice == "train longer"
    assert whole.command == (
        "entropic-ae train eae mnist --preset mnist --set width=16 --epochs 12 --seed 0 --out runs/a --resume"
    )


@pytest.mark.parametrize(("setting", "again"), [("none", ", then transport again"), ("mixture", "")])
def test_training_on_needs_another_transport_where_none_is_fitted_by_itself(setting, again):
    expanded = {**INFO["expanded"], "settings": {**INFO["expanded"]["settings"], "transport": setting}}
    short = {"epoch": [1], "validation_loss": [20.0]}
    _, whole = judge(info={"training_images": 900, "expanded": expanded}, log=short, transported=True)
    assert whole.advice == f"train longer{again}"


@pytest.mark.parametrize("estimated", [{"ema": 0.99}, {"statistics_batches": 5}])
def test_averages_that_are_estimated_anew_need_no_minibatches(estimated):
    log = {"epoch": [1], "validation_loss": [20.0]}
    settings = {**INFO["expanded"]["settings"], **estimated}
    info = {"training_images": 900, "expanded": {**INFO["expanded"], "settings": settings}}
    found, _ = judge(info=info, log=log)
    assert found["training"].sentence == "too short: 9 minibatches."
    found, _ = judge(info={**info, "training_images": 50_000}, log=log)
    assert found["training"].grade == "fair"
    assert found["training"].sentence.startswith("one epoch (500 minibatches) does not tell")


def test_a_run_of_images_in_memory_has_no_command_to_train_longer():
    short = {"epoch": [1], "validation_loss": [20.0]}
    _, whole = judge(info={"source": "an array in memory", "training_images": 900}, log=short)
    assert whole.command is None
    assert str(whole).endswith("the same call of train with more epochs and resume=True")


def test_the_command_names_the_range_of_values():
    info = RunInfo.of(INFO | {"value_range": [-0.1234567, 1.0]})
    assert "--value-range -0.1234567,1.0" in train_command(info)


def test_the_command_names_a_preset_only_where_one_was_chosen_by_its_name():
    own = {"training_images": 900, "data": "photos", "source": "/photos", "fitted": ["width", "latent_dim", "ema"]}
    overrides = {"width": 16, "latent_dim": 32, "ema": 0.99, "epochs": 12}
    log = {"epoch": [1], "validation_loss": [20.0]}
    _, whole = judge(info={**own, "overrides": overrides}, log=log)
    assert whole.command == "entropic-ae train eae /photos --epochs 12 --seed 0 --out runs/a --resume"
    _, named = judge(info={**own, "fitted": ["width"], "overrides": {"width": 16}}, log=log)
    assert "/photos --preset mnist --epochs 12" in named.command


def test_nothing_is_advised_to_be_written_into_a_read_only_run():
    for name in ("example:mnist", "hf:owner/name"):
        short = {"log": {"epoch": [1], "validation_loss": [20.0]}, "folder": name}
        _, whole = judge(info={"training_images": 900}, **short)
        assert (whole.advice, whole.command) == (f"train longer, from its weights (train --from {name})", None)
        _, whole = judge(folder=name)
        assert whole.command == f"entropic-ae pull {name}"


def test_reconstructions_that_hold_no_more_than_eight_pixels_across_are_poor():
    """As of photographs, whose variance is that of large areas: 9 % are smears."""
    found, _ = judge(reconstruction_error=4.7, blurred_error=1.3)
    assert found["reconstructions"].grade == "poor"
    assert "3.6 times that of the images at 8 pixels across" in found["reconstructions"].sentence
    assert found["samples"].grade == "poor"
    assert judge(reconstruction_error=4.7, blurred_error=10.0)[0]["reconstructions"].grade == "good"
    assert "worse than the mean image" in judge(reconstruction_error=60.0)[0]["reconstructions"].sentence


def test_samples_that_are_farther_than_blurred_images_are_poor():
    rows = {**RESULT["distances"], "prior": {"frechet": 3.4}, "blurred images": {"frechet": 3.0}}
    found, _ = judge(distances=rows)
    assert found["samples"].grade == "poor"
    assert "real images at 8 pixels across are nearer, 3.00" in found["samples"].sentence


def test_a_run_from_the_weights_of_another_has_its_averages():
    log = {"epoch": [1], "validation_loss": [20.0]}
    start = {"start_from": {"run": "runs/b", "weights_sha256": "0"}, "training_images": 900}
    assert judge(info=start, log=log)[0]["training"].sentence.startswith("one epoch (9 minibatches)")


def test_smears_are_poor_whatever_their_distance():
    rows = {**RESULT["distances"], "prior": {"frechet": 0.01, "frechet_error": 0.0}}
    withheld = {"like_real": ["blurred images"], "needed": 400}
    long = {"epoch": [*range(1, 61)], "validation_loss": [40.0] * 30 + [39.0] * 30}
    found, whole = judge(
        {"training_images": 486}, long, reconstruction_error=32.0, distances=rows, withheld=withheld, number=54
    )
    assert found["reconstructions"].grade == "poor"
    assert found["samples"].grade == "unknown"
    assert "54 images of each kind are too few" in found["samples"].sentence
    assert whole.advice.startswith("give more training images")
    assert whole.command is None


def test_copies_and_collapse_are_told():
    found, _ = judge(copies={"repeated": 12}, collapse={"collapsed": ["prior"]})
    assert found["data"].grade == "fair"
    assert "12 images of the set are copies of another" in found["data"].sentence
    assert found["samples"].sentence == "those of prior are all alike (collapsed)."


def test_results_of_an_older_version_have_no_verdict():
    old = {name: value for name, value in RESULT.items() if name != "variance"}
    assert verdict(RunInfo.of(INFO), LOG, {"pixels": old}, Path("runs/a")) is None
