"""How long it is trained, what is averaged, and how images are changed: the settings of the schedule."""

import json
import warnings
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.nn import functional

from entropic_ae import (
    Autoencoder,
    BatchNorm,
    Identity,
    InputError,
    MLPDecoder,
    MLPEncoder,
    NegativeEntropy,
    Objective,
    Settings,
    SquaredError,
    Whitening,
    fit,
    load_images,
    runs,
)
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.report.folder import read_folder
from entropic_ae.report.view import view
from entropic_ae.storage.run_folder import RunFolder
from entropic_ae.training import loop, to_unit
from entropic_ae.training.augment import Augmentation, _crop, augmentations
from entropic_ae.training.stopping import stopped

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def images():
    data = load_images("digits")
    return data.train.images[:230], data.validation.images[:90]  # two minibatches of 100 an epoch


def make(bottleneck=None):
    torch.manual_seed(0)
    model = Autoencoder(
        MLPEncoder(SHAPE, 4, hidden=32), bottleneck or BatchNorm(4), MLPDecoder(SHAPE, 4, hidden=32)
    )
    return model, Objective([SquaredError(), NegativeEntropy(0.05)], model)


class Still(nn.Module):
    """A decoder whose images are all grey: its loss is constant."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return 0 * self.idle * z.sum() + torch.full((len(z), *SHAPE), 0.5)


def still():
    torch.manual_seed(0)
    model = Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), Identity(4), Still())
    return model, Objective([SquaredError()], model)


def test_training_stops_after_so_many_steps_without_a_new_best(images, tmp_path, capsys):
    # the first epoch is the best; five steps are three epochs
    settings = {"stop_after": 5, "patience": 2, "learning_rate": 1.0}
    rows = fit(*still(), *images, Settings(epochs=9, **settings), device="cpu", folder=tmp_path, progress=True)
    assert len(rows) == 4
    reason = "6 steps brought no lower validation loss than epoch 1 (stop_after=5)"
    assert capsys.readouterr().err.splitlines()[-1] == f"training stopped after epoch 4: {reason}"

    resumed = {"device": "cpu", "folder": tmp_path, "resume": True}
    with pytest.warns(UserWarning, match=r"training stopped after epoch 4: .*; nothing more is trained: to train"):
        assert fit(*still(), *images, Settings(epochs=12, **settings), **resumed) == rows
    settings["stop_after"] = 9  # five epochs: the fourth is not met by it
    further = fit(*still(), *images, Settings(epochs=12, **settings), **resumed)
    assert [row["epoch"] for row in further] == [1, 2, 3, 4, 5, 6]
    assert [row["learning_rate"] for row in further] == [1, 1, 1, 0.5, 0.5, 0.25]  # as if it had not stopped


def test_training_stops_when_the_learning_rate_has_died(images):
    settings = Settings(epochs=9, patience=1, learning_rate=1.0, encoder_rate=0.5, stop_rate=0.2)
    rows = fit(*still(), *images, settings, device="cpu")
    assert [row["learning_rate"] for row in rows] == [1, 1, 0.5, 0.25]  # 0.125 is below 0.2


def test_the_rules_for_stopping():
    losses, both = [3.0, 1.0, 2.0, 2.0], Settings(stop_after=200, stop_rate=0.1)
    assert stopped([], 1.0, both, 100) is None
    assert stopped(losses[:3], 0.1, both, 100) is None
    assert stopped(losses, 1.0, both, 100).steps == 400
    assert (
        stopped(losses[:3], 0.05, both, 100).reason
        == "the learning rate fell to 0.05 of the initial one (stop_rate=0.1)"
    )
    assert stopped(losses, 0.0, Settings(), 100) is None
    assert stopped(losses, 0.0, Settings(epochs=4, stop_after=1, stop_rate=0.5), 100) is None  # it has had all


def test_a_run_that_stopped_says_so_in_its_folder_and_report(tmp_path):
    rules = {"stop_after": 1, "learning_rate": 0.5, "width": 2}
    options = {"limit": 200, "epochs": 40, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    run = runs.train("eae", "digits", set=rules, **options)
    folder = RunFolder(tmp_path / "run")
    epochs = len(folder.read_log()["epoch"])
    record = json.loads((tmp_path / "run/run.json").read_text())["stopped"]
    assert run.info.stopped == folder.read_info().stopped == record
    assert (record["epoch"], record["steps"]) == (epochs, 2 * epochs)
    assert run.best_epoch == epochs - 1
    facts = dict(view(read_folder(folder.path), "run", "run").facts)
    assert facts["epochs"] == f"{epochs} of 40: stopped, as {record['reason']}"
    with pytest.warns(UserWarning, match=f"training stopped after epoch {epochs}: "):
        again = runs.train("eae", "digits", set=rules, **options, resume=True)
    assert again.info.stopped == record
    assert again.weights_sha256() == run.weights_sha256()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training stopped")
        longer = {**rules, "stop_after": 0}
        further = runs.train("eae", "digits", set=longer, **options | {"epochs": epochs + 1}, resume=True)
    assert further.info.stopped is None
    assert len(folder.read_log()["epoch"]) == epochs + 1
    with pytest.raises(InputError, match=r"ema was 0\.0 and is 0\.9"):
        runs.train("eae", "digits", set={**rules, "ema": 0.9}, **options, resume=True)


BOTH = {"batch_size": 20, "learning_rate": 1e-2, "ema": 0.8, "augment": "mirror+shift+crop"}


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Following(Callback):
    """Averages the parameters by hand, and keeps the average at the end of each epoch."""

    def __init__(self, decay):
        self.decay, self.steps, self.epochs = decay, 0, []

    def on_train_start(self, _, task):
        self.average = [p.detach().double().clone() for p in task.model.parameters()]

    def on_train_batch_end(self, _, task, *__):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.average = [decay * a + (1 - decay) * p.detach().double()
                        for a, p in zip(self.average, task.model.parameters(), strict=True)]  # fmt: skip

    def on_train_epoch_end(self, _, task):
        own = [p.detach().clone() for p in task.model.parameters()]
        self.epochs.append((self.average, own))


def test_the_average_of_the_weights_is_validated_and_saved_and_training_goes_on_without_it(images):
    model, objective = make()
    following = Following(0.8)
    settings = Settings(epochs=3, learning_rate=1e-2, batch_size=20, ema=0.8)
    rows = fit(model, objective, *images, settings, device="cpu", callbacks=[following])
    losses = [row["validation_loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)  # so the last epoch is the best
    average, own = following.epochs[-1]
    for parameter, expected, last in zip(model.parameters(), average, own, strict=True):
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(parameter, last)
    model.eval()
    x = to_unit(images[1])
    with torch.no_grad():
        error = (model(x).x_hat - x).square().flatten(1).sum(1).mean()
    assert rows[-1]["validation_squared_error"] == pytest.approx(error.item(), rel=1e-5)
    plain, objective = make()
    fit(plain, objective, *images, replace(settings, ema=0.0), device="cpu", callbacks=[without := Following(0.8)])
    for with_average, alone in zip(own, without.epochs[-1][1], strict=True):
        assert torch.equal(with_average, alone)


@pytest.mark.parametrize("estimated", [{"ema": 0.5}, {"statistics_batches": 2}, {"statistics_batches": 99}])
def test_running_averages_are_estimated_anew(estimated, images):
    """With weights that stay, they are the plain means over the minibatches, whatever the momentum."""
    model, objective = make()
    settings = Settings(epochs=1, batch_size=115, learning_rate=1e-30, **estimated)
    fit(model, objective, *images, settings, device="cpu")
    with torch.no_grad():
        h = model.eval().encoder(to_unit(images[0]))
    assert torch.equal(model.bottleneck.norm.running_var == 1, torch.zeros(4, dtype=torch.bool))
    torch.testing.assert_close(model.bottleneck.norm.running_mean, h.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(model.bottleneck.norm.running_var, h.var(0), rtol=0.1, atol=1e-3)
    # the encoder's own batch norms see the minibatches' statistics in one case and the averages in the other
    assert all(m.momentum == 0.1 for m in model.modules() if isinstance(m, nn.BatchNorm1d))


@pytest.mark.parametrize("recipe", ["eae", "rae-sn", "vae"])
def test_average_and_augmentation_resume_to_the_bit(recipe, tmp_path):
    data = load_images("digits")
    parts = data.train.images[:130], data.validation.images[:60]
    system = configure(RECIPES[recipe], PRESETS["digits"], {"width": 2})
    options = {"device": "cpu", "seed": 3}
    whole = system.build(SHAPE)
    rows = fit(*whole, *parts, Settings(epochs=3, **BOTH), **options)
    fit(*system.build(SHAPE), *parts, Settings(epochs=1, **BOTH), **options, folder=tmp_path)
    resumed = system.build(SHAPE)
    again = fit(*resumed, *parts, Settings(epochs=3, **BOTH), **options, folder=tmp_path, resume=True)
    assert equal(whole[0], resumed[0])
    assert [{**row, "images_per_s": 0} for row in rows] == [{**row, "images_per_s": 0} for row in again]
    with pytest.raises(InputError, match=r"the checkpoint has ema=0\.8, got 0\.0; restore it"):
        fit(*system.build(SHAPE), *parts, Settings(epochs=4), **options, folder=tmp_path, resume=True)


def test_estimated_averages_change_no_weight_and_resume_to_the_bit(images, tmp_path):
    """Whitening's running covariance is off by its noise; that of an epoch's codes is that of its last weights."""
    options = {"device": "cpu", "seed": 3}
    rows, models = {}, {}
    for batches in (0, 11):
        models[batches], objective = make(Whitening(4))
        settings = Settings(epochs=2, batch_size=20, statistics_batches=batches)
        rows[batches] = fit(models[batches], objective, *images, settings, **options)
    for plain, estimated in zip(models[0].parameters(), models[11].parameters(), strict=True):
        assert torch.equal(plain, estimated)
    off = {}
    for batches, model in models.items():
        with torch.no_grad():
            z = model.eval()(to_unit(images[0])).code.z
        off[batches] = (z.T.cov() - torch.eye(4)).abs().max()
    assert off[11] < 0.1 < off[0]
    settings = Settings(epochs=1, batch_size=20, statistics_batches=11)
    for epochs in (1, 2):
        model, objective = make(Whitening(4))
        settings = replace(settings, epochs=epochs)
        again = fit(model, objective, *images, settings, **options, folder=tmp_path, resume=epochs == 2)
    assert equal(model, models[11])
    assert [{**row, "images_per_s": 0} for row in again] == [{**row, "images_per_s": 0} for row in rows[11]]


def test_average_and_augmentation_do_not_depend_on_the_steps_per_call(images, monkeypatch):
    trained = {}
    for steps in (1, 4):  # of 11 in an epoch
        monkeypatch.setattr(loop, "_STEPS", {"cpu": steps})
        trained[steps], objective = make()
        fit(trained[steps], objective, *images, Settings(epochs=2, **BOTH), device="cpu")
    assert equal(trained[1], trained[4])


def augmented(names, images, epoch=0, n=None, seed=0):
    changes = Augmentation(augmentations(names), n or len(images), seed)
    changes.start(epoch)
    return changes(images, torch.arange(len(images)))


def test_a_mirror_image_is_as_likely_as_the_image():
    images = torch.rand(400, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    changed = augmented("mirror", images)
    flipped = (changed == images.flip(3)).flatten(1).all(1)
    same = (changed == images).flatten(1).all(1)
    assert torch.equal(flipped, ~same)
    assert 160 < flipped.sum() < 240


def test_shifts_are_of_whole_pixels_and_reflect():
    side = 32  # shifted by -2 to 2
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = (row * side + column).float()
    changed = augmented("shift", image.expand(300, 1, side, side))
    seen = set()
    for one in changed[:, 0]:
        down, right = divmod(int(one[16, 16]) - (16 * side + 16), side)
        down, right = (down + 1, right - side) if right > side // 2 else (down, right)
        seen.add((down, right))
        padded = functional.pad(image[None, None], (2, 2, 2, 2), mode="reflect")[0, 0]
        assert torch.equal(one, padded[2 + down : 2 + down + side, 2 + right : 2 + right + side])
    assert seen == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    small = augmented("shift", torch.arange(8.0).expand(90, 1, 8, 8))[:, 0, 0, 3]
    assert small.unique().tolist() == [2.0, 3.0, 4.0]


def test_crops_have_a_share_of_the_side_and_stay_inside():
    # interpolation keeps a ramp, nearly: the values are the places that are seen
    side = 64
    ramp = (torch.arange(side) + 0.5) / side
    images = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)]).expand(500, 2, side, side)
    changed = augmented("crop", images)
    inner = slice(8, side - 8)
    share = changed[:, 0, 20, inner].diff(dim=1).mean(1) * side
    assert (share.min() - 7 / 8).abs() < 5e-3
    assert (share.max() - 1).abs() < 5e-3
    centre = changed[:, :, 31:33, 31:33].mean((2, 3))
    torch.testing.assert_close(changed[:, 1, inner, 20].diff(dim=1).mean(1) * side, share, rtol=0, atol=5e-3)
    assert ((centre - 0.5).abs() <= (1 - share[:, None]) / 2 + 3e-3).all()
    assert (centre - 0.5).std(0).min() > 0.01
    exact = functional.interpolate(images[:1, :, 4:60, 4:60], side, mode="bicubic", antialias=True)[0]
    draws = torch.tensor([[0, 0, 0, 0.0, 0.5, 0.5]])  # the central 7/8
    torch.testing.assert_close(
        _crop(images[:1], draws)[0, :, inner, inner], exact[:, inner, inner], rtol=0, atol=2e-3
    )


def test_draws_belong_to_the_seed_the_epoch_and_the_image():
    images = torch.rand(60, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    changed = augmented("mirror+shift+crop", images)
    assert torch.equal(changed, augmented("crop+shift+mirror", images))
    assert not torch.equal(changed, augmented("mirror+shift+crop", images, epoch=1))
    assert not torch.equal(changed, augmented("mirror+shift+crop", images, seed=1))
    changes = Augmentation(("mirror", "shift", "crop"), 60, 0)
    changes.start(0)
    some = torch.tensor([41, 7, 59])
    torch.testing.assert_close(changes(images[some], some), changed[some], rtol=0, atol=0)
    torch.testing.assert_close(changes(images[some].double(), some).float(), changed[some], rtol=1e-5, atol=1e-5)


def test_what_is_no_image_is_not_augmented():
    torch.manual_seed(0)
    rows = torch.rand(40, 6)
    model = Autoencoder(nn.Linear(6, 2), BatchNorm(2), nn.Linear(2, 6))
    with pytest.raises(
        InputError, match=r"augment=mirror changes images, .* got rows of floats; set augment=none"
    ):
        fit(
            model,
            Objective([SquaredError()], model),
            rows,
            rows,
            Settings(epochs=1, augment="mirror"),
            device="cpu",
        )
