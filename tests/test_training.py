import csv
import math
import mmap
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from entropic_ae import (
    Autoencoder,
    BatchNorm,
    DecoderGradient,
    Identity,
    InputError,
    L1Norm,
    MatricialFreeEnergy,
    MLPDecoder,
    MLPEncoder,
    NegativeEntropy,
    Objective,
    Settings,
    SquaredError,
    Term,
    Whitening,
    fit,
    knn_entropy,
    load_images,
)
from entropic_ae.generation import encode
from entropic_ae.randomness import seeded
from entropic_ae.recipes import PRESETS, RECIPES, configure
from entropic_ae.training import Execution, keeper, loop, to_unit

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def images():
    data = load_images("digits")
    return data.train.images[:230], data.validation.images[:90]


TERMS = (SquaredError(), NegativeEntropy(0.05))


def make(terms=TERMS, bottleneck=BatchNorm):
    torch.manual_seed(0)
    model = Autoencoder(MLPEncoder(SHAPE, 4, hidden=32), bottleneck(4), MLPDecoder(SHAPE, 4, hidden=32))
    return model, Objective(terms, model)


def train(images, epochs=3, seed=0, model=None, **options):
    model, objective = model or make()
    options = {"device": "cpu", **options}
    rows = fit(model, objective, *images, Settings(epochs=epochs, learning_rate=1e-3), seed=seed, **options)
    return model, rows


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_batch_too_small_for_the_bottleneck_is_refused_before_training(images):
    model, objective = make((SquaredError(),), partial(Whitening, eps=1e-4))
    with pytest.raises(InputError, match="Whitening needs batches of at least 5 images in training, got 4; raise"):
        fit(model, objective, *images, Settings(epochs=1, batch_size=4), device="cpu")


def test_learns(images):
    _, rows = train(images, epochs=20)
    assert rows[-1]["validation_squared_error"] < 0.7 * rows[0]["validation_squared_error"]
    assert rows[-1]["train_negative_entropy"] < rows[0]["train_negative_entropy"]


def test_a_seed_that_waits_for_cuda_is_the_users_again(monkeypatch):
    waiting = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", waiting.append)
    torch.manual_seed(3)
    with seeded(7):
        assert torch.initial_seed() == 7
    assert (torch.initial_seed(), waiting[-1]) == (3, 3)


def test_same_seed_same_weights_and_global_randomness_untouched(images):
    fresh = make()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, rows = train(images, model=fresh)
    assert torch.equal(torch.rand(3), expected)
    b, _ = train(images)
    c, _ = train(images, seed=1)
    assert equal(a, b)
    assert not equal(a, c)
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_each_epoch_sees_each_image_in_another_order(images):
    seen = []

    class Watching(MLPEncoder):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].flatten(1))
            return super().forward(x)

    model, objective = make()
    model.encoder = Watching(SHAPE, 4, hidden=8)
    train((images[0][:200], images[1]), epochs=2, model=(model, objective))
    first, second = torch.cat(seen[:2]), torch.cat(seen[2:])
    assert not torch.equal(first, second)
    everything = to_unit(images[0][:200]).flatten(1)
    for epoch in (first, second):
        assert torch.equal(epoch.unique(dim=0), everything.unique(dim=0))


def test_a_resumed_run_says_where_it_goes_on(images, tmp_path, capsys):
    train(images, epochs=1, folder=tmp_path, progress=True)
    assert [line.split()[:2] for line in capsys.readouterr().err.splitlines()] == [["epoch", "1/1"]]
    train(images, epochs=2, folder=tmp_path, progress=True, resume=True)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "resuming after epoch 1/2"
    assert second.startswith("epoch 2/2 ")


def test_resumed_run_equals_an_undisturbed_one_to_the_bit(images, tmp_path):
    whole, rows = train(images, epochs=4, folder=tmp_path / "whole")
    train(images, epochs=2, folder=tmp_path / "cut")
    resumed, more = train(images, epochs=4, folder=tmp_path / "cut", resume=True)
    assert equal(whole, resumed)
    without_speed = [[{k: v for k, v in row.items() if k != "images_per_s"} for row in r] for r in (rows, more)]
    assert without_speed[0] == without_speed[1]
    again, _ = train(images, epochs=4, folder=tmp_path / "cut", resume=True)  # nothing is left to do
    assert equal(whole, again)


def test_resumed_run_has_its_memory_again(images, tmp_path):
    terms = (SquaredError(), NegativeEntropy(0.05, memory=150))
    whole, _ = train(images, epochs=3, model=make(terms))
    train(images, epochs=2, folder=tmp_path, model=make(terms))
    resumed, _ = train(images, epochs=3, folder=tmp_path, model=make(terms), resume=True)
    assert equal(whole, resumed)


def test_resume_keeps_the_schedule(images, tmp_path):
    """Of a run that is cut after each of its epochs; the learning rate falls in many of them."""

    def run(epochs, folder, resume=False):
        model, objective = make()
        settings = Settings(epochs=epochs, learning_rate=0.1, patience=1)
        return model, fit(model, objective, *images, settings, device="cpu", folder=folder, resume=resume)

    whole, rows = run(8, tmp_path / "whole")
    assert rows[-1]["learning_rate"] < 0.1
    for epochs in range(1, 9):
        resumed, more = run(epochs, tmp_path / "cut", resume=epochs > 1)
        for name in ("learning_rate", "train_loss"):
            assert [row[name] for row in more] == [row[name] for row in rows[:epochs]], f"{name} after {epochs}"
    assert equal(whole, resumed)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(images, tmp_path, content):
    train(images, epochs=1, folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(InputError, match=r"last\.ckpt is damaged .* so training cannot resume from it"):
        train(images, epochs=2, folder=tmp_path, resume=True)


def test_folder_holds_log_best_weights_and_checkpoint(images, tmp_path):
    model, rows = train(images, folder=tmp_path)
    with (tmp_path / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in log] == rows
    for column in ("train_squared_error", "train_negative_entropy", "validation_loss", "entropy", "images_per_s"):
        assert column in log[0]
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(weights[name], t) for name, t in model.state_dict().items())
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "last.ckpt",
        "log.csv",
        "weights.safetensors",
    ]


class Noise(torch.utils.data.Dataset):
    """Rows of noise, drawn anew at each look."""

    def __init__(self):
        self.seen = []

    def __len__(self):
        return 40

    def __getitem__(self, indices):
        self.seen.append(torch.randn(len(indices), 3))
        return self.seen[-1]


def train_on_noise(noise, epochs, folder=None, resume=False, device="cpu"):
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(3, 2), Identity(2), nn.Linear(2, 3))
    objective = Objective([SquaredError()], model)
    rows = torch.arange(30.0).view(10, 3) - 10  # floats outside [0, 1] are seen as they are
    settings = Settings(epochs=epochs, batch_size=20)
    log = fit(model, objective, noise, rows, settings, seed=3, device=device, folder=folder, resume=resume)
    return model, log, rows


def test_a_data_set_of_floats_is_drawn_anew_each_epoch_and_follows_the_seed(tmp_path):
    first, second, cut = Noise(), Noise(), Noise()
    model, log, rows = train_on_noise(first, 3)
    assert len(first.seen) == 6  # two batches in each of three epochs
    assert len(torch.cat(first.seen).unique(dim=0)) == 120
    torch.manual_seed(8)
    again, *_ = train_on_noise(second, 3)
    assert equal(model, again)
    assert torch.equal(torch.cat(first.seen), torch.cat(second.seen))
    train_on_noise(cut, 2, tmp_path)
    resumed, *_ = train_on_noise(cut, 3, tmp_path, resume=True)
    assert equal(model, resumed)
    assert torch.equal(torch.cat(first.seen), torch.cat(cut.seen))
    with torch.no_grad():
        error = (model(rows).x_hat - rows).square().sum(1).mean().item()
    assert min(row["validation_loss"] for row in log) == pytest.approx(error, rel=1e-5)


def test_validation_builds_no_graph_but_lets_a_term_build_one(images):
    modes = set()

    @dataclass(frozen=True)
    class Gradient(SquaredError):
        name = setting = "gradient"

        def __call__(self, model, trace):
            modes.add((model.training, torch.is_grad_enabled(), trace.x_hat.requires_grad))
            with torch.enable_grad():
                z = trace.code.z.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(model.decode(z).sum(), z, create_graph=True)
            return gradient.square().sum(1).mean()

    _, rows = train(images, epochs=1, model=make((SquaredError(), Gradient())))
    assert modes == {(True, True, True), (False, False, False)}
    assert rows[0]["validation_gradient"] > 0


def test_training_says_nothing_unless_asked(images, capfd):
    train(images, epochs=1)
    assert capfd.readouterr() == ("", "")


def test_validation_rows_are_what_the_model_gives(images):
    model, rows = train(images)
    best = min(rows, key=lambda row: row["validation_loss"])
    model.eval()
    with torch.no_grad():
        parts = images[1].tensor_split(1)  # 90 images are one near-equal batch of at most 100
        traces = [model(to_unit(part)) for part in parts]
    error = (traces[0].x_hat - traces[0].x).square().flatten(1).sum(1).mean().item()
    assert best["validation_squared_error"] == pytest.approx(error, rel=1e-5)
    entropy = knn_entropy(encode(model, images[1])).item()
    assert best["entropy"] == pytest.approx(entropy, abs=1e-4)
    excess = model.bottleneck.excess_energy(encode(model, images[1])).item()
    assert best["validation_loss"] == pytest.approx(error - 0.05 * (entropy - excess), rel=1e-4)
    draws = knn_entropy(torch.randn(len(images[1]), model.bottleneck.latent_dim)).item()
    assert best["entropy_of_draws"] == pytest.approx(draws, abs=0.5)


class Still(nn.Module):
    """A decoder of constant output whose parameter has no effect: the loss never falls."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return 0 * self.idle * z.sum() + torch.full((len(z), *SHAPE), 0.5)


@pytest.mark.parametrize("patience", [{"patience": 3}, {"patience": 1, "patience_steps": 5}])
def test_learning_rate_halves_after_patience_epochs_without_a_lower_loss(images, patience):
    torch.manual_seed(0)  # two minibatches an epoch: five steps are three epochs
    model = Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), Identity(4), Still())
    objective = Objective([SquaredError()], model)
    settings = Settings(epochs=8, learning_rate=1.0, **patience)
    rows = fit(model, objective, *images, settings, device="cpu")
    # the first epoch sets the best loss; epochs 2 to 4 do not fall below it, nor do 5 to 7
    assert [row["learning_rate"] for row in rows] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_the_first_validation_images_stand_for_all(images):
    train_images, validation = images
    logs = []
    for few, more in ((validation[:12], {}), (validation, {"validation_images": 12})):
        torch.manual_seed(0)
        model = Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), Identity(4), Still())
        objective = Objective([SquaredError()], model)
        rows = fit(model, objective, train_images, few, Settings(epochs=1, **more), device="cpu")
        logs.append([row["validation_loss"] for row in rows])
    assert logs[0] == logs[1]


@dataclass(frozen=True)
class Watching(Term):
    """A term that keeps what it sees, and encodes reconstructions in a second pass."""

    seen: list = field(default_factory=list)
    name = setting = "watching"

    def __call__(self, model, trace):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with model.second_pass():
            again = model.encode(trace.x_hat)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        self.seen.append((model.training, trace.x, trace.rows, trace.step, trace.epoch, trace.progress))
        return trace.progress * (again - trace.code.z).square().sum(1).mean()


def test_a_term_sees_indices_steps_and_progress_and_passes_again(images):
    seen = []
    model, objective = make((SquaredError(), Watching(1.0, seen)))
    fit(model, objective, *images, Settings(epochs=2, batch_size=100), device="cpu")
    steps = [one for one in seen if one[0]]
    assert [one[3:] for one in steps] == [(0, 0, 0.0), (1, 0, 0.25), (2, 1, 0.5), (3, 1, 0.75)]
    for _, x, index, *_ in steps:
        assert torch.equal(x, to_unit(images[0][index]))
    first, second = (torch.cat([one[2] for one in steps if one[4] == epoch]) for epoch in (0, 1))
    assert len(first.unique()) == len(second.unique()) == 200
    checked = [one for one in seen if not one[0]]
    assert {one[2] for one in checked} == {None}
    assert [one[3:] for one in checked] == [(2, 1, 0.5), (4, 2, 1.0)]


def test_parts_have_learning_rates_of_their_own(images):
    """A vanishing rate leaves the decoder as it was; the log has the common rate."""
    model, _ = make()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    model, objective = make()
    settings = Settings(epochs=1, learning_rate=1e-3, encoder_rate=2.0, decoder_rate=1e-12)
    (row,) = fit(model, objective, *images, settings, device="cpu")
    assert row["learning_rate"] == 1e-3
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.named_parameters()}
    assert max(value for name, value in moved.items() if name.startswith("decoder")) < 1e-9
    assert 2e-3 < max(value for name, value in moved.items() if name.startswith("encoder")) < 1e-2
    with pytest.raises(InputError, match="decoder_rate must be a finite number above 0, got 0"):
        Settings(decoder_rate=0)


def test_other_rates_of_parts_do_not_resume(images, tmp_path):
    model, objective = make()
    fit(model, objective, *images, Settings(epochs=1, encoder_rate=0.5), folder=tmp_path, device="cpu")
    for settings in (Settings(epochs=2), Settings(epochs=2, encoder_rate=0.1)):
        with pytest.raises(
            InputError, match=r"the checkpoint has encoder_rate and decoder_rate \[0.5, 1.0\], got"
        ):
            fit(*make(), *images, settings, folder=tmp_path, resume=True, device="cpu")


def test_the_memory_of_squared_gradients_is_adams(images, tmp_path):
    """Adam's own rule, by hand: after a gradient of 10 and one of 1, the shorter memory steps further."""

    class Slope(Term):
        name = setting = "slope"

        def __call__(self, model, trace):
            return (10.0 if trace.step == 0 else 1.0) * model.decoder.weight.sum() + 0 * trace.x_hat.sum()

    moved = {}
    for beta2 in (0, 0.5, 0.999):
        model = Autoencoder(nn.Linear(3, 2), Identity(2), nn.Linear(2, 3))
        before = model.decoder.weight.detach().clone()
        objective = Objective([Slope()], model)
        rows = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
        settings = Settings(epochs=1, batch_size=10, learning_rate=0.01, beta2=beta2)
        fit(model, objective, rows, rows, settings, device="cpu", folder=tmp_path / str(beta2))
        moved[beta2] = (before - model.decoder.weight.detach()).mean().item()
        first, second = (0.9 * 0.1 * 10 + 0.1 * 1) / (1 - 0.9**2), beta2 * (1 - beta2) * 100 + (1 - beta2)
        assert moved[beta2] == pytest.approx(0.01 + 0.01 * first / (second / (1 - beta2**2)) ** 0.5, rel=1e-4)
    assert moved[0] > moved[0.5] > moved[0.999]
    more = replace(settings, epochs=2, beta2=0.9)
    with pytest.raises(InputError, match=r"the checkpoint has beta2 0.999, got 0.9; restore what it has"):
        fit(model, objective, rows, rows, more, device="cpu", folder=tmp_path / "0.999", resume=True)


def test_the_free_energy_needs_more_codes_than_dimensions(images):
    model, objective = make((SquaredError(), MatricialFreeEnergy()))
    with pytest.raises(InputError, match="free_energy needs batches of at least 5 images, got 4"):
        fit(model, objective, *images, Settings(epochs=1, batch_size=4), device="cpu")


@dataclass(frozen=True)
class Exploding(Term):
    """A term that is not finite from some step on."""

    after: int = 0
    name = "exploding"
    setting = "exploding"

    def __call__(self, model, trace):
        model.steps = getattr(model, "steps", 0) + model.training
        value = trace.x_hat.mean()
        return value * torch.nan if model.training and model.steps > self.after else value


def test_a_term_that_is_not_finite_stops_with_its_name_and_keeps_the_last_good_weights(images, tmp_path):
    model, objective = make((SquaredError(), Exploding(after=2)))  # 2 steps an epoch
    with pytest.raises(InputError, match=r"exploding was not finite in epoch 2 \(train, batch 1\)"):
        train(images, model=(model, objective), folder=tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(t.isfinite().all() for t in weights.values())
    assert all(torch.equal(weights[name], t) for name, t in model.state_dict().items())
    with (tmp_path / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_a_loss_that_is_not_finite_at_once_leaves_no_weights(images, tmp_path):
    model, objective = make((SquaredError(), Exploding()))
    with pytest.raises(InputError, match=r"exploding was not finite in epoch 1 \(train, batch 1\)"):
        train(images, model=(model, objective), folder=tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("n", [2, 99, 100, 101, 199])
def test_any_number_of_images(images, n):
    """A last batch of one would have no variance: it is left out; fewer images than a batch are one batch."""
    sizes = []

    class Watching(MLPEncoder):
        def forward(self, x):
            if self.training:
                sizes.append(len(x))
            return super().forward(x)

    model, objective = make()
    model.encoder = Watching(SHAPE, 4, hidden=8)
    _, rows = train((images[0][:n], images[1][:n]), epochs=1, model=(model, objective))
    assert sizes == [min(n, 100)]
    assert rows[0]["train_squared_error"] > 0


def test_bf16_keeps_codes_and_losses_in_float32(images):
    seen = []

    @dataclass(frozen=True)
    class Watched(SquaredError):
        def __call__(self, model, trace):
            seen.append((trace.code.z.dtype, trace.x_hat.dtype))
            return super().__call__(model, trace)

    _, rows = train(images, model=make((Watched(), NegativeEntropy(0.05))), precision="bf16")
    assert set(seen) == {(torch.float32, torch.float32)}
    exact = train(images)[1]
    assert rows[-1]["validation_squared_error"] == pytest.approx(exact[-1]["validation_squared_error"], rel=0.05)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("recipe", ["eae", "vae", "rae-gp"])
def test_several_steps_at_a_time_are_the_same_steps(recipe, precision, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (170, 1, 32, 32), dtype=torch.uint8, generator=generator).split([130, 40])
    small = {"width": 2, "batch_size": 20} | ({"entropy.memory": 50} if recipe == "eae" else {})
    system = configure(RECIPES[recipe], PRESETS["mnist"], small)
    trained = {}
    for steps in (1, 4):  # of 6 in an epoch
        monkeypatch.setattr(loop, "_STEPS", {"cpu": steps})
        trained[steps] = train(images, 2, model=system.build((1, 32, 32)), precision=precision)
    assert equal(trained[1][0], trained[4][0])
    for one, other in zip(trained[1][1], trained[4][1], strict=True):
        assert {**one, "images_per_s": 0} == {**other, "images_per_s": 0}


@pytest.mark.parametrize("name", ["write_tensors", "write_log"])
def test_ctrl_c_between_the_files_of_an_epoch_leaves_all_of_them(name, images, tmp_path, monkeypatch):
    write, calls = getattr(keeper, name), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(keeper, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images, 3, folder=tmp_path)
    assert (tmp_path / "weights.safetensors").is_file()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def test_compiled_networks_learn_the_same_and_leave_no_trace(images, monkeypatch):
    compile_network, calls = nn.Module.compile, []
    monkeypatch.setattr(
        nn.Module, "compile", lambda self: (calls.append(self), compile_network(self, backend="eager"))
    )
    plain, rows = train(images)
    compiled, again = train(images, compile=True)
    assert calls == [compiled.encoder, compiled.decoder]
    assert again[-1]["validation_loss"] == pytest.approx(rows[-1]["validation_loss"], rel=1e-4)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert all(network._compiled_call_impl is None for network in calls)


def test_what_derives_twice_is_not_compiled_and_says_so(images):
    with pytest.warns(UserWarning, match="decoder_gradient needs a second derivative, which compiled networks"):
        model, rows = train(images, 1, model=make((SquaredError(), DecoderGradient(1e-3)), Identity), compile=True)
    assert len(rows) == 1
    assert model.decoder._compiled_call_impl is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, got 0.0"),
        ({"factor": 2.0}, "factor must be above 0 and at most 1, got 2.0"),
        ({"validation_images": 1}, "validation_images must be at least 2, or 0 for all, got 1"),
        ({"patience_steps": -1}, "patience_steps must be at least 1 step, or 0 for none, got -1"),
        ({"stop_after": -5}, "stop_after must be at least 1 step, or 0 for none, got -5"),
        ({"stop_rate": 1.0}, "stop_rate must be at least 0 and below 1, got 1.0"),
        ({"ema": math.nan}, "ema must be at least 0 and below 1, got nan"),
        ({"augment": "miror"}, "unknown augmentation 'miror'; did you mean 'mirror'"),
        ({"augment": "mirror+mirror"}, r"augment expects different names joined by \+, .* got 'mirror\+mirror'"),
        ({"augment": "none+crop"}, "unknown augmentation 'none'"),
    ],
)
def test_settings_refuse(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Settings(**settings)


def test_fit_refuses(images):
    model, _ = make()
    objective = Objective([NegativeEntropy(k=51)], model)
    with pytest.raises(
        InputError, match="negative_entropy needs batches of at least 52 images, got 51 in validation"
    ):
        train((images[0], torch.cat([images[1], images[1][:12]])), model=(model, objective))
    with pytest.raises(InputError, match="at least 2 training images as uint8"):
        train((images[0][:1], images[1]))
    with pytest.raises(InputError, match=r"at least 2 validation images as uint8 .* got torch\.float32"):
        train((images[0], images[1].float()))
    with pytest.raises(InputError, match=r"at least 2 training images as uint8 .* or rows of floats for both"):
        train((images[0].int(), images[1]))
    with pytest.raises(InputError, match=r"at least 2 validation images .* got 1 rows"):
        train((images[0].float(), torch.utils.data.TensorDataset(torch.zeros(1, 3))))
    with pytest.raises(InputError, match="precision must be one of 32, bf16, 64, got '8'"):
        train(images, precision="8")
    with pytest.raises(InputError, match="device must be auto, cpu, cuda or mps, got 'gpu'"):
        train(images, device="gpu")


@pytest.mark.parametrize(("has", "slow"), [("avx2", True), ("avx512_bw", False), ("avx_ne_convert", False)])
def test_bf16_is_slow_on_cpus_without_instructions_for_it(has, slow, monkeypatch):
    known = {"architecture": "x86_64", "avx512_bw": False, "avx_ne_convert": False, has: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert ("use --precision 32" in Execution("cpu", precision="bf16").slowdown) == slow
    assert not Execution("cpu", precision="32").slowdown
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older versions
    assert not Execution("cpu", precision="bf16").slowdown


@pytest.mark.parametrize("bottleneck", [BatchNorm, L1Norm, partial(Whitening, eps=1e-4)])
def test_images_that_are_all_the_same_train_without_a_word(bottleneck, tmp_path):
    """All codes coincide: every dimension is constant, the entropy as low as it goes, and its gradient 0."""
    image = torch.randint(256, (1, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = image.expand(60, -1, -1, -1), image.expand(20, -1, -1, -1)
    model, rows = train(same, model=make(bottleneck=bottleneck), folder=tmp_path)
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in rows)
    assert rows[-1]["train_squared_error"] < rows[0]["train_squared_error"]
    codes = encode(model, same[0])
    assert codes.isfinite().all()
    assert torch.equal(codes, codes[:1].expand(60, -1))


def test_a_dead_dimension_has_a_code_of_zero_and_harms_no_other(images):
    model, objective = make()
    with torch.no_grad():
        last = [layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight[2] = last.bias[2] = 0
    last.weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([2]), 0))
    last.bias.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([2]), 0))
    _, rows = train(images, model=(model, objective))
    assert encode(model, images[1])[:, 2].eq(0).all()
    with torch.no_grad():
        variance = model.train()(to_unit(images[1])).code.z.var(0, correction=0)
    torch.testing.assert_close(variance, torch.tensor([1.0, 1, 0, 1]), rtol=0, atol=0.02)
    assert rows[-1]["train_squared_error"] < rows[0]["train_squared_error"]
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in rows)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_training_step_reuses_the_memory_of_the_one_before():
    code = """
import ctypes, resource
from contextlib import nullcontext
import torch
from entropic_ae.training.allocator import memory_kept

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which one fault brings hundreds of
for within in (nullcontext(), memory_kept()):
    with within:
        for step in range(20):
            if step == 2:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            blocks = [torch.ones(1_000_000) for _ in range(8)]
            del blocks
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    # Without memory_kept large blocks go back at once. By glibc's own adjustment it depends on what lies at the
    # heap's end whether they do, and by the environment that the tests run in on anything.
    inherited = {name: x for name, x in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    thresholds = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**inherited, **thresholds}
    )
    without, kept = map(int, done.stdout.split())
    touched = 18 * 8 * 4_000_000 / mmap.PAGESIZE  # pages of the blocks, in the steps that are counted
    assert without > touched / 2
    assert kept < touched / 10
