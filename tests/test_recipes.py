import inspect
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import entropic_ae
from entropic_ae import (
    BOTTLENECKS,
    PRESETS,
    RECIPES,
    BatchNorm,
    ConvEncoder,
    InputError,
    MaximumMeanDiscrepancy,
    MLPEncoder,
    NegativeEntropy,
    Recipe,
    ResidualDecoder,
    ResidualEncoder,
    SquaredError,
    System,
    configure,
)
from entropic_ae.recipes import AE, EAE, constructors, differences, preset_for

SMALL = {"width": 2, "hidden": 16}


def small(recipe, preset):
    known = System(recipe, preset).settings()
    return configure(recipe, preset, {name: value for name, value in SMALL.items() if name in known})


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_contract(recipe, preset):
    """Every recipe on every preset: builds, trains one step, describes itself; the same seed, the same weights."""
    assert RECIPES[recipe].name == recipe
    assert RECIPES[recipe].summary
    assert RECIPES[recipe].reference
    system = small(RECIPES[recipe], PRESETS[preset])
    shape = (3, 16, 16)
    model, objective = system.build(shape, seed=1, classes=3)
    x = torch.rand(6, *shape)
    total, values = objective(model, model(x, torch.arange(6) % 3))
    total.backward()
    assert total.isfinite()
    assert list(values) == [term.name for term in system.recipe.terms if term.weight > 0]
    again, _ = system.build(shape, seed=1, classes=3)
    other, _ = system.build(shape, seed=2, classes=3)
    for a, b, c in zip(model.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        if a.dim() > 1:  # drawn, not constant
            assert not torch.equal(a, c)
    # all settings written as strings, as the command line gives them, change nothing
    settings = system.settings()
    assert system.with_settings({name: str(value) for name, value in settings.items()}).settings() == settings


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_constructor_of_the_same_weights(name):
    """With a parameter for the weight of each regulariser, and for nothing that the recipe lacks."""
    by_name = {one.lower(): getattr(entropic_ae, one) for one in constructors.__all__}
    build = by_name[name.replace("-", "").replace("2s", "twostage")]
    parameters = set(inspect.signature(build).parameters)
    weights = {term.setting for term in RECIPES[name].terms} - {"squared_error", "likelihood"}
    labels = {"classes": 4} if RECIPES[name].conditional else {}
    assert parameters == {"shape", "latent_dim", "width", "depth", "preset", "seed", *labels} | weights
    given = {"latent_dim": 5, "width": 2, "depth": 2, **dict.fromkeys(weights, 0.25)}
    for shape, preset in (((1, 8, 8), "digits"), ((3, 32, 32), "cifar10")):
        system = configure(RECIPES[name], PRESETS[preset], given)
        expected, objective = system.build(shape, seed=3, **labels)
        model, own = build(shape, **given, seed=3, **labels)
        assert own.terms == objective.terms
        assert str(model) == str(expected)
        for one, other in zip(model.state_dict().items(), expected.state_dict().items(), strict=True):
            assert one[0] == other[0]
            assert torch.equal(one[1], other[1])
    _, plain = configure(RECIPES[name], PRESETS["digits"], {"width": 2}).build((1, 8, 8), **labels)
    assert build((1, 8, 8), width=2, **labels)[1].terms == plain.terms
    assert isinstance(build((1, 8, 8), preset="mlp", **labels)[0].encoder, MLPEncoder)
    with pytest.raises(InputError, match="unknown preset 'digit'; did you mean 'digits'"):
        build((1, 8, 8), preset="digit", **labels)


def test_a_part_has_the_name_that_it_was_chosen_by(monkeypatch):
    terms = "squared_error + sigreg"
    assert [term.name for term in configure(EAE, PRESETS["digits"], {"terms": terms}).recipe.terms] == terms.split(
        " + "
    )
    monkeypatch.setitem(BOTTLENECKS.data, "mine", BOTTLENECKS["batch-norm"])  # a second name
    assert configure(EAE, PRESETS["digits"], {"bottleneck": "mine"}).settings()["bottleneck"] == "batch-norm"
    with pytest.raises(InputError, match="width expects a whole number, got None"):
        configure(EAE, PRESETS["digits"], {"width": None})


def test_settings_reach_what_is_built():
    changes = {"entropy": "0.5", "entropy.k": "3", "latent_dim": "5", "width": "4", "momentum": "0.2", "epochs": 7}
    system = configure(EAE, PRESETS["mnist"], changes)
    model, objective = system.build((1, 32, 32))
    assert objective.terms == (SquaredError(1.0), NegativeEntropy(0.5, k=3))  # none for the decay of weight 0
    assert (
        model.encoder.linear.out_features == model.bottleneck.latent_dim == model.decoder.linear.in_features == 5
    )
    assert model.encoder.convolutions[0].out_channels == 4
    assert model.decoder.linear.out_features == 8 * 8 * 32
    assert model.bottleneck.norm.momentum == 0.2
    assert system.preset.training.epochs == 7
    assert PRESETS["mnist"].latent_dim == 16  # nothing shared is changed


def test_a_recipe_has_its_own_settings_for_a_data_set():
    recipe = replace(EAE, settings={"mnist": {"entropy": 0.7, "learning_rate": 0.1}})
    assert configure(recipe, PRESETS["mnist"]).settings()["entropy"] == 0.7
    assert configure(recipe, PRESETS["mnist"]).settings()["learning_rate"] == 0.1
    assert configure(recipe, PRESETS["mnist"], {"entropy": 2}).settings()["entropy"] == 2.0
    assert configure(recipe, PRESETS["cifar10"]).settings()["entropy"] == EAE.terms[1].weight


def test_the_published_sizes():
    sizes = {name: (p.latent_dim, p.training.epochs, p.training.batch_size) for name, p in PRESETS.items()}
    assert sizes["mnist"] == (16, 100, 100)
    assert sizes["cifar10"] == (128, 100, 100)
    assert sizes["celeba"] == (64, 70, 100)
    for name, kernel in (("mnist", 4), ("cifar10", 4), ("celeba", 5)):
        settings = configure(AE, PRESETS[name]).settings()
        assert (settings["width"], settings["kernel_size"]) == (128, kernel)


SIZES = {"mnist": ((1, 32, 32), 16), "cifar10": ((3, 32, 32), 128), "celeba": ((3, 64, 64), 64)}
# what the code of Ghosh et al. has for these: (code norm, decoder decay), and KL weights
RAE_ROWS = {
    "ae": ((0, 0), (0, 0), (0, 0)),
    "ae-l2": ((0, 1e-7), (0, 1e-6), (0, 1e-6)),
    "rae": ((5e-4, 0), (1e-2, 0), (1e-4, 0)),
    "rae-l2": ((1e-4, 1e-7), (1e-3, 1e-6), (1e-4, 1e-7)),
    "rae-gp": ((1e-4, 0), (9e-4, 0), (1e-4, 0)),
    "rae-sn": ((9e-3, 0), (3e-2, 0), (2.4e-3, 0)),
}
VAE_ROWS = {"vae": (0.312, 0.024, 0.09024), "cv-vae": (0.039, 9e-4, 0.01)}


def built(recipe, data, **changes):
    shape, _ = SIZES[data]
    model, objective = configure(RECIPES[recipe], PRESETS[data], {"width": 2, **changes}).build(shape)
    trace = model.double()(torch.rand(5, *shape, dtype=torch.float64))
    return model, objective(model, trace)[0].item(), trace


@pytest.mark.parametrize("recipe", RAE_ROWS)
@pytest.mark.parametrize("data", SIZES)
def test_rae_rows_are_the_published_objective_times_p(data, recipe):
    shape, dim = SIZES[data]
    without = {"decoder_gradient": 0.0} if recipe == "rae-gp" else {}
    model, total, trace = built(recipe, data, **without)
    norm, decay = RAE_ROWS[recipe][list(SIZES).index(data)]
    kinds = (nn.ConvTranspose2d, nn.Linear) if data == "celeba" else (nn.ConvTranspose2d,)
    kernels = sum(m.weight.square().sum() for m in model.decoder.modules() if isinstance(m, kinds))
    error, square = (trace.x_hat - trace.x).square().mean(), trace.code.z.square().mean()
    assert trace.code.z.shape[1] == dim
    assert total == pytest.approx(math.prod(shape) * (error + norm * square + decay * kernels).item(), rel=1e-9)


@pytest.mark.parametrize("recipe", VAE_ROWS)
@pytest.mark.parametrize("data", SIZES)
def test_vae_rows_are_the_published_objective_times_channels(data, recipe):
    channels, weight = SIZES[data][0][0], VAE_ROWS[recipe][list(SIZES).index(data)]
    _, total, trace = built(recipe, data)
    mean, std = trace.code.posterior.mean, trace.code.posterior.stddev
    kl = 0.5 * (mean**2 + std**2 - 1 - 2 * std.log()).sum(1).mean()
    error = (trace.x_hat - trace.x).square().mean(1).sum((1, 2)).mean()  # averaged over channels
    assert total == pytest.approx(channels * (error + weight * kl).item(), rel=1e-6)


@pytest.mark.parametrize(("data", "factor", "weight"), [("mnist", 1 / 1024, 3e-2), ("cifar10", 1 / 3072, 6e-3),
                                                        ("celeba", 0.05, 100)])  # fmt: skip
def test_wae_is_the_published_objective(data, factor, weight):
    model, _, trace = built("wae", data)
    _, objective = configure(RECIPES["wae"], PRESETS[data], {"width": 2}).build(SIZES[data][0])
    torch.manual_seed(3)
    total = objective(model, trace)[0].item()
    torch.manual_seed(3)
    mmd = MaximumMeanDiscrepancy()(model, trace)
    error = (trace.x_hat - trace.x).square().flatten(1).sum(1).mean()
    assert factor * total == pytest.approx((factor * error + weight * mmd).item(), rel=1e-9)


def test_gradient_weights():
    """The published weights average over D and P: x P / D."""
    weights = [configure(RECIPES["rae-gp"], PRESETS[data]).settings()["decoder_gradient"] for data in SIZES]
    assert weights == pytest.approx([5e-8 * 1024 / 16, 0, 1e-7 * 12288 / 64])


def test_the_paper_s_options_of_eae():
    """Decoder L2 on CIFAR-10, spectral normalisation on CelebA: section 5.1."""
    settings = {data: configure(EAE, PRESETS[data]).settings() for data in SIZES}
    assert [s["spectral"] for s in settings.values()] == [False, False, True]
    assert [s["decoder_decay"] > 0 for s in settings.values()] == [False, True, False]
    assert all(configure(RECIPES["rae-sn"], preset).settings()["spectral"] for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"entropi": 1}, "unknown setting 'entropi'; did you mean 'entropy'"),
        ({"latent": 1}, "did you mean 'latent_dim'"),
        ({"latent_dim": "2.5"}, "latent_dim expects a whole number, got '2.5'"),
        ({"latent_dim": 2.5}, "latent_dim expects a whole number, got 2.5"),
        ({"latent_dim": True}, "latent_dim expects a whole number, got True"),
        ({"entropy": "much"}, "entropy expects a number, got 'much'"),
        ({"entropy": "-1"}, "entropy must be a finite weight of at least 0, got -1.0"),
        ({"entropy": "nan"}, "entropy must be a finite weight of at least 0, got nan"),
        ({"epochs": "inf"}, "epochs expects a whole number, got 'inf'"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
    ],
)
def test_wrong_settings(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        configure(EAE, PRESETS["mnist"], changes)


def test_a_setting_of_another_system_is_unknown():
    with pytest.raises(InputError, match="unknown setting 'entropy'"):
        configure(AE, PRESETS["mnist"], {"entropy": 1})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mixture.components": -1}, r"mixture\.components must be at least 1, or 0 to choose it, got -1"),
        ({"second-stage.epochs": 0}, r"second-stage\.epochs must be at least 1, got 0"),
        ({"second-stage.batch_size": 1}, "second-stage: batch_size must be at least 2, got 1"),
        ({"second-stage.hidden": 0}, r"second-stage\.hidden must be at least 1, got 0"),
    ],
)
def test_wrong_settings_of_a_density_are_refused_when_the_model_is_built(changes, sentence):
    system = configure(RECIPES["2svae"], PRESETS["mlp"], {"hidden": 4, **changes})
    with pytest.raises(InputError, match=sentence):
        system.build((1, 8, 8))


def test_a_partial_that_does_not_fit_fails_when_the_recipe_is_made():
    with pytest.raises(InputError, match=r"BatchNorm cannot be built with these settings: .*'momentun'"):
        Recipe("x", "", "", partial(BatchNorm, momentun=0.1), (SquaredError(),))
    with pytest.raises(InputError, match=r"ConvEncoder cannot be built with these settings: .*'witdh'"):
        replace(PRESETS["mnist"], encoder=partial(ConvEncoder, witdh=3))


@pytest.mark.parametrize(
    ("shape", "preset"),
    [
        ((1, 8, 8), "digits"),
        ((3, 32, 32), "cifar10"),
        ((1, 24, 32), "mnist"),
        ((3, 64, 64), "celeba"),
        ((1, 128, 128), "celeba"),
    ],
)
def test_preset_for_other_data(shape, preset):
    assert preset_for(shape) == preset


@pytest.mark.parametrize("name", [name for name, kind in BOTTLENECKS.items() if kind.bounds_entropy])
def test_any_bottleneck_by_one_setting(name):
    of_codes = "negative_discrete_entropy" if BOTTLENECKS[name].is_discrete else "negative_entropy"
    changes = {
        "bottleneck": name,
        "width": 2,
        "latent_dim": "4",
        "terms": f"squared_error+{of_codes}+decoder_decay",
    }
    system = configure(EAE, PRESETS["digits"], changes)
    model, objective = system.build((1, 8, 8))
    assert type(model.bottleneck) is BOTTLENECKS[name]
    total, _ = objective(model, model(torch.rand(20, 1, 8, 8)))
    total.backward()
    assert total.isfinite()
    assert system.settings()["bottleneck"] == name
    assert system.describe()["bottleneck"] == BOTTLENECKS[name].__name__
    back = system.with_settings(
        {"bottleneck": "batch-norm", "terms": "squared_error+negative_entropy+decoder_decay"}
    )
    if BOTTLENECKS[name].is_discrete:  # the other term starts from its own weight
        back = back.with_settings({"entropy": 0.3})
    assert back.describe() == configure(EAE, PRESETS["digits"], {"width": 2, "latent_dim": 4}).describe()


def test_a_bottleneck_brings_its_own_settings():
    system = configure(EAE, PRESETS["digits"], {"iterations": 7, "bottleneck": "whitening"})
    assert system.settings()["iterations"] == 7
    with pytest.raises(InputError, match="iterations"):
        configure(EAE, PRESETS["digits"], {"iterations": 7})
    with pytest.raises(InputError, match=r"unknown bottleneck 'whitning'.*whitening"):
        configure(EAE, PRESETS["digits"], {"bottleneck": "whitning"})
    with pytest.raises(InputError, match="KullbackLeibler needs a bottleneck with a posterior"):
        configure(RECIPES["vae"], PRESETS["digits"], {"bottleneck": "sphere"}).build((1, 8, 8))


def test_a_setting_that_the_library_gained_since_is_no_difference():
    now = configure(EAE, PRESETS["digits"]).settings()
    then = {name: value for name, value in now.items() if name not in ("bottleneck", "entropy.memory")}
    assert differences(then, now) == []
    assert differences({**then, "eps": 1.0, "gone": 2}, now) == [
        "eps was 1.0 and is 1e-05",
        "gone was 2 and is None",
    ]


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "mlp"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_residual_network_by_one_setting(recipe, preset):
    """On every recipe and preset of images; what both networks take is kept, what one lacks is gone."""
    plain = configure(RECIPES[recipe], PRESETS[preset], {"width": 1})
    system = configure(RECIPES[recipe], PRESETS[preset], {"width": 1, "network": "residual"})
    model, objective = system.build((3, 16, 16), classes=4)
    assert (type(model.encoder), type(model.decoder)) == (ResidualEncoder, ResidualDecoder)
    labels = torch.arange(8) % 4 if RECIPES[recipe].conditional else None
    total, _ = objective(model, model(torch.rand(8, 3, 16, 16), labels))
    total.backward()
    assert total.isfinite()
    changed = {"network": "residual"}
    gone = {name: value for name, value in plain.settings().items() if name != "kernel_size"}
    assert system.settings() == {**gone, **changed}
    assert system.architecture()["encoder"] == "ResidualEncoder"
    back = system.with_settings({"network": "paper", "kernel_size": plain.settings()["kernel_size"]})
    assert back.describe() == plain.describe()


def test_networks_that_cannot_be_replaced_are_refused():
    with pytest.raises(InputError, match=r"network=residual is for images .* got perceptrons, as for tables"):
        configure(EAE, PRESETS["mlp"], {"network": "residual"})
    with pytest.raises(InputError, match=r"unknown network 'residal'; did you mean 'residual'"):
        configure(EAE, PRESETS["digits"], {"network": "residal"})
    with pytest.raises(InputError, match="kernel_size is a setting of network=paper; set that too"):
        configure(EAE, PRESETS["celeba"], {"network": "residual", "kernel_size": 4})
    own = replace(EAE, name="own", encoder=partial(Mine))
    assert configure(own, PRESETS["digits"]).settings()["network"] == "Mine-ConvDecoder"
    with pytest.raises(InputError, match=r"replaces one of paper, residual, grid, got custom networks, Mine"):
        configure(own, PRESETS["digits"], {"network": "residual"})


class Mine(nn.Flatten):
    def __init__(self, shape, features):  # noqa: ARG002
        super().__init__()


def test_a_recipe_may_name_its_network():
    own = replace(EAE, name="own", network={"network": "residual"}, settings={"digits": {"width": 4}})
    assert configure(own, PRESETS["digits"]).settings()["network"] == "residual"
    assert configure(own, PRESETS["digits"], {"network": "paper"}).describe()["encoder"] == "ConvEncoder"
