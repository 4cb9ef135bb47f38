import math
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from entropic_ae import (
    BOTTLENECKS,
    TERMS,
    Autoencoder,
    BatchNorm,
    Code,
    CodeMemory,
    CodeNorm,
    ConstantVariancePosterior,
    ConvDecoder,
    ConvEncoder,
    DecoderDecay,
    DecoderGradient,
    GaussianLikelihood,
    GaussianPosterior,
    Identity,
    InputError,
    KullbackLeibler,
    MaximumMeanDiscrepancy,
    MLPDecoder,
    MLPEncoder,
    NegativeEntropy,
    Objective,
    Settings,
    Sphere,
    SquaredError,
    Trace,
    fit,
    knn_entropy,
    sphere_entropy,
)

SHAPE = (1, 8, 8)
WINDOW = (1, 16, 16)  # in which a term may need room


def make(bottleneck=BatchNorm, shape=SHAPE):
    torch.manual_seed(0)
    middle = bottleneck(4)
    encoder = MLPEncoder(shape, middle.in_features, hidden=16)
    return Autoencoder(encoder, middle, MLPDecoder(shape, 4, hidden=16))


def make_for(term):
    """The first bottleneck that the term accepts."""
    for bottleneck in BOTTLENECKS.values():
        model = make(bottleneck, WINDOW)
        with suppress(InputError):
            Objective([term()], model)
            return model
    raise AssertionError("no bottleneck")


@pytest.fixture(params=TERMS)
def term(request):
    return TERMS[request.param]


def test_contract(term):
    """Every term: a finite 0-dimensional value, a gradient for some weight, unique names, no negative weight."""
    model = make_for(term)
    value = term()(model, model(torch.rand(20, *WINDOW)))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    model.eval()
    with torch.no_grad():  # as in validation
        assert term()(model, model(torch.rand(20, *WINDOW))).isfinite()
    assert sum(p.grad.abs().sum() for p in model.parameters() if p.grad is not None) > 0
    assert TERMS[term.name] is term
    assert term.setting
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match=f"{term.setting} must be a finite weight of at least 0"):
            term(wrong)


def test_squared_error_sums_over_features_and_averages_over_the_batch():
    x = torch.zeros(3, 2, 8, 8)
    x_hat = torch.zeros(3, 2, 8, 8)
    x_hat[0, 0, 0, :3] = 0.5
    x_hat[1, 1, 2, 2] = 1
    value = SquaredError()(None, Trace(x, None, x_hat))
    assert value.item() == pytest.approx((3 * 0.25 + 1) / 3)


def test_negative_entropy_is_minus_the_estimate():
    z = torch.randn(30, 4)
    for k in (1, 3):
        value = NegativeEntropy(k=k)(None, Trace(None, Code(z), None))
        assert value.item() == pytest.approx(-knn_entropy(z, k).item())


def test_objective_is_the_weighted_sum():
    model = make()
    trace = model(torch.rand(20, *SHAPE))
    objective = Objective([SquaredError(2.0), NegativeEntropy(0.5)], model)
    total, values = objective(model, trace)
    assert list(values) == ["squared_error", "negative_entropy"]
    expected = 2 * values["squared_error"] + 0.5 * values["negative_entropy"]
    torch.testing.assert_close(total.detach(), expected)
    assert values["squared_error"].item() == pytest.approx(
        (trace.x_hat - trace.x).square().flatten(1).sum(1).mean().item()
    )


def test_a_term_of_weight_zero_is_left_out():
    class Untouched(SquaredError):
        name = "untouched"

        def __call__(self, *_):
            raise AssertionError

    model = make()
    total, values = Objective([SquaredError(), Untouched(0.0)], model)(model, model(torch.rand(20, *SHAPE)))
    assert list(values) == ["squared_error"]
    assert total.item() == values["squared_error"].item()
    Objective([SquaredError(), NegativeEntropy(0.0)], make(Identity))  # not unbounded, where it does not count


def test_entropy_of_an_unconstrained_bottleneck_is_refused():
    with pytest.raises(
        InputError,
        match=r"needs a bottleneck that bounds the entropy \(BatchNorm, ...\), got Identity: the loss would",
    ):
        Objective([SquaredError(), NegativeEntropy()], make(Identity))


@pytest.mark.parametrize("terms", [[], [SquaredError(), SquaredError(2.0)], [SquaredError(0.0)]])
def test_objective_refuses_none_and_twice(terms):
    with pytest.raises(InputError, match="at least one term with a weight above 0, and each only once"):
        Objective(terms, make())


def test_k_is_checked():
    with pytest.raises(InputError, match=r"entropy\.k must be at least 1, got 0"):
        NegativeEntropy(k=0)


def test_raising_the_entropy_alone_makes_codes_normal():
    """An encoder trained on nothing but the entropy maps skewed, correlated data close to N(0, I)."""
    generator = torch.Generator().manual_seed(0)

    def draw(n):
        skewed = torch.empty(n, 2).exponential_(generator=generator)
        return skewed @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])

    torch.manual_seed(0)
    bottleneck = BatchNorm(2)
    encoder = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (-knn_entropy(bottleneck(encoder(draw(200))).z)).backward()
        optimizer.step()
    fresh = draw(4000)
    with torch.no_grad():
        before, after = bottleneck(fresh).z, bottleneck(encoder(fresh)).z
    maximum = bottleneck.prior().entropy()
    assert maximum - knn_entropy(before) > 1
    assert maximum - knn_entropy(after) < 0.15
    assert before.pow(3).mean(0).min() > 1  # skewness
    assert after.pow(3).mean(0).abs().max() < 0.35


def test_gaussian_likelihood_is_the_log_probability_at_the_best_scale():
    x, x_hat = torch.rand(2, 7, 2, 8, 8, dtype=torch.float64)
    x_hat.requires_grad_()
    value = GaussianLikelihood()(None, Trace(x, None, x_hat))
    scale = (x - x_hat).detach().square().mean().sqrt()
    for factor in (0.9, 1.0, 1.1):  # the optimum
        other = -Normal(x_hat, factor * scale).log_prob(x).sum() / 7
        assert value <= other + 1e-9
    expected = -Normal(x_hat, scale).log_prob(x).sum() / 7
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, x_hat)[0] for v in (value, expected)))


def test_gaussian_likelihood_of_a_perfect_reconstruction_is_finite():
    x = torch.rand(3, 1, 8, 8, requires_grad=True)
    value = GaussianLikelihood()(None, Trace(x.detach(), None, x))
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()


def test_gaussian_likelihood_keeps_its_gradient_below_the_least_scale():
    """There it is the squared error over 2 gamma^2, gamma = 0.001."""
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    x_hat = (x + 5e-4).requires_grad_()
    GaussianLikelihood()(None, Trace(x, None, x_hat)).backward()
    torch.testing.assert_close(x_hat.grad, torch.full_like(x, 5e-4 / 1e-6 / 3))


@pytest.mark.parametrize(
    ("bottleneck", "dim"), [(GaussianPosterior(3).double(), 6), (ConstantVariancePosterior(3, std=0.7), 3)]
)
def test_kl_is_that_of_monte_carlo(bottleneck, dim):
    torch.manual_seed(0)
    code = bottleneck(0.3 * torch.randn(4, dim, dtype=torch.float64))
    value = KullbackLeibler()(None, Trace(None, code, None))
    z = code.posterior.sample((200_000,))
    drawn = code.posterior.log_prob(z) - bottleneck.prior().log_prob(z)
    assert value.item() == pytest.approx(
        drawn.mean().item(), abs=5 * drawn.std().item() / math.sqrt(drawn.numel())
    )


def test_kl_needs_a_posterior():
    with pytest.raises(
        InputError, match=r"needs a bottleneck with a posterior \(GaussianPosterior, ...\), got Id"
    ):
        Objective([SquaredError(), KullbackLeibler()], make(Identity))


def test_mmd_compares_with_the_prior():
    """0 in expectation for codes that follow the prior, far above for others."""
    model = make(Identity)
    torch.manual_seed(0)
    drawn = [MaximumMeanDiscrepancy()(model, Trace(None, Code(torch.randn(100, 4)), None)) for _ in range(300)]
    drawn = torch.stack(drawn)
    assert abs(drawn.mean()) < 4 * drawn.std() / math.sqrt(300)
    assert MaximumMeanDiscrepancy()(model, Trace(None, Code(2 * torch.randn(100, 4)), None)) > 10 * drawn.std()


def test_mmd_without_a_model_is_with_the_standard_normal():
    trace = Trace(None, Code(torch.randn(100, 4)), None)
    model = make(BatchNorm)
    torch.manual_seed(0)
    alone = MaximumMeanDiscrepancy()(None, trace)
    torch.manual_seed(0)
    assert torch.equal(alone, MaximumMeanDiscrepancy()(model, trace))


def test_code_norm_sums_over_dimensions():
    z = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    assert CodeNorm()(None, Trace(None, Code(z), None)).item() == 7.0


@pytest.mark.parametrize(
    ("choice", "kinds"),
    [
        ({}, (nn.Linear, nn.ConvTranspose2d)),
        ({"linear": False}, (nn.ConvTranspose2d,)),
        ({"convolutions": False}, (nn.Linear,)),
    ],
)
def test_decoder_decay_counts_the_chosen_weights(choice, kinds):
    model = Autoencoder(ConvEncoder(SHAPE, 4, width=2), Identity(4), ConvDecoder(SHAPE, 4, width=2))
    expected = sum(layer.weight.square().sum() for layer in model.decoder.modules() if isinstance(layer, kinds))
    assert DecoderDecay(**choice)(model, None).item() == pytest.approx(expected.item())


def test_decoder_decay_counts_the_weights_before_spectral_normalisation():
    decoder = ConvDecoder(SHAPE, 4, width=2, spectral=True)
    model = Autoencoder(ConvEncoder(SHAPE, 4, width=2), Identity(4), decoder)
    left = decoder.linear.parametrizations.weight[0]._u.clone()
    before = DecoderDecay()(model, None)
    assert torch.equal(decoder.linear.parametrizations.weight[0]._u, left)  # no power iteration
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(10)
    assert DecoderDecay()(model, None).item() == pytest.approx(100 * before.item(), rel=1e-5)


def test_decoder_decay_of_nothing_is_refused():
    with pytest.raises(InputError, match="found no weight in MLPDecoder"):
        Objective([DecoderDecay(linear=False)], make())


@pytest.mark.parametrize("training", [True, False])
def test_decoder_gradient_is_the_jacobian_in_expectation(training):
    """Against the whole Jacobian, through a decoder with batch norm, whose images depend on all the codes."""
    torch.manual_seed(0)
    model = Autoencoder(ConvEncoder(SHAPE, 3, width=1), Identity(3), ConvDecoder(SHAPE, 3, width=1)).double()
    model.train(training)
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(model.decode, z)  # (4, 1, 8, 8, 4, 3)
    copies = 1 if training else 20  # apart from each other only in evaluation: so many draws at once
    many = z.repeat(copies, 1)
    trace = Trace(None, Code(many), model.decode(many))
    drawn = torch.stack([DecoderGradient()(model, trace).detach() for _ in range(2000 // copies)])
    standard_error = drawn.std().item() / math.sqrt(len(drawn))
    assert standard_error < 0.04 * drawn.mean()
    assert drawn.mean().item() == pytest.approx(jacobian.square().sum().item() / 4, abs=5 * standard_error)


def test_decoder_gradient_is_minimised_through_convolutions_and_batch_norm():
    """Its gradient in a weight, in expectation, against that of the whole Jacobian's norm."""
    torch.manual_seed(0)
    model = Autoencoder(ConvEncoder(SHAPE, 2, width=1), Identity(2), ConvDecoder(SHAPE, 2, width=1)).double()
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = model.decoder.linear.weight
    exact = torch.autograd.functional.jacobian(model.decode, z, create_graph=True).square().sum() / 3
    (expected,) = torch.autograd.grad(exact, weight)
    drawn = []
    for _ in range(600):
        value = DecoderGradient()(model, Trace(None, Code(z), model.decode(z)))
        drawn.append(torch.autograd.grad(value, weight)[0])
    drawn = torch.stack(drawn)
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - expected).abs() < 5 * error + 1e-9).all()
    assert error.norm() < 0.15 * expected.norm()


def test_decoder_gradient_of_a_linear_decoder():
    """||J|| is ||W|| for every code; one projection of orthogonal rows is already exact."""
    decoder = nn.Linear(3, 3, bias=False)
    nn.init.orthogonal_(decoder.weight)
    decoder.weight.data *= 2
    model = Autoencoder(nn.Identity(), Identity(3), decoder)
    z = torch.randn(50_000, 3, requires_grad=True)
    value = DecoderGradient()(model, Trace(None, Code(z), decoder(z)))
    assert value.item() == pytest.approx(12)
    value.backward()
    torch.testing.assert_close(decoder.weight.grad, 2 * decoder.weight.detach(), atol=0.1, rtol=0)  # of ||W||^2
    with torch.no_grad():  # the value alone, where validation keeps no graph
        assert DecoderGradient()(model, Trace(None, Code(z), decoder(z))).item() == pytest.approx(12)


def test_entropy_on_the_sphere_is_that_of_its_surface():
    model = make(Sphere)
    trace = model(torch.rand(20, *SHAPE))
    assert NegativeEntropy()(model, trace).item() == pytest.approx(-sphere_entropy(trace.code.z).item())


BOUNDING = [name for name, kind in BOTTLENECKS.items() if kind.bounds_entropy and not kind.is_discrete]


@pytest.mark.parametrize("name", BOUNDING)
def test_excess_energy_is_the_cross_entropy_beyond_the_priors_entropy(name):
    bottleneck = BOTTLENECKS[name](4)
    torch.manual_seed(0)
    z = bottleneck(torch.randn(200, 4)).z
    assert bottleneck.excess_energy(z).item() == pytest.approx(0, abs=1e-3)
    if name in ("sphere", "noisy-sphere", "cube"):  # where there is no other code
        return
    loose, prior = 1.3 * z + 0.2, bottleneck.prior()
    expected = -prior.log_prob(loose).mean() - prior.entropy()
    assert bottleneck.excess_energy(loose).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("name", [name for name in BOUNDING if [*BOTTLENECKS[name](4).buffers()]])
@pytest.mark.parametrize("scale", [0.5, 0.8, 1.25, 2.0])
def test_validation_gains_nothing_by_running_statistics_of_another_scale(name, scale):
    model, h = make(BOTTLENECKS[name]), torch.randn(2000, 4)
    for _ in range(100):
        model.bottleneck(h)
    model.eval()
    trace = Trace(None, model.bottleneck(h), None)
    right = NegativeEntropy()(model, trace)
    assert right.item() == pytest.approx(-model.bottleneck.entropy(trace.code.z).item(), abs=0.01)
    for statistic in model.bottleneck.buffers():
        if statistic.is_floating_point():  # the others count minibatches
            statistic.mul_(scale**2)
    assert NegativeEntropy()(model, Trace(None, model.bottleneck(h), None)) > right + 0.05


def test_memory_lends_the_estimate_the_codes_of_earlier_minibatches():
    model = make()
    objective = Objective([NegativeEntropy(memory=50)], model)
    seen = []
    for step in range(5):
        trace = model(torch.rand(20, *SHAPE))
        _, values = objective(model, trace)
        earlier = torch.cat(seen)[-50:] if seen else trace.code.z[:0]
        expected = -knn_entropy(trace.code.z, others=earlier)
        assert values["negative_entropy"].item() == pytest.approx(expected.item(), rel=1e-6), step
        seen.append(trace.code.z.detach())
    assert len(objective.memory.codes()) == 50  # of 100: none is older than three minibatches of 20
    model.eval()
    before = objective.memory.codes().clone()
    trace = model(torch.rand(20, *SHAPE))
    _, values = objective(model, trace)
    expected = -knn_entropy(trace.code.z) + model.bottleneck.excess_energy(trace.code.z)  # that of training says
    assert values["negative_entropy"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(objective.memory.codes(), before)


def test_memory_gives_no_gradient_to_old_codes_and_some_to_new_ones():
    model = make()
    objective = Objective([NegativeEntropy(memory=40)], model)
    objective(model, model(torch.rand(20, *SHAPE)))
    total, _ = objective(model, model(torch.rand(20, *SHAPE)))
    total.backward()  # once, though the memory holds codes of a graph that is gone
    assert model.encoder.layers[1].weight.grad.abs().sum() > 0
    assert not objective.memory.codes().requires_grad


def test_memory_of_more_codes_than_images_never_holds_an_image_twice():
    images = torch.randint(256, (60, *SHAPE), dtype=torch.uint8)
    model = make()
    objective = Objective([NegativeEntropy(memory=500)], model)
    fit(model, objective, images, images[:20], Settings(epochs=3, batch_size=20), device="cpu")
    assert len(objective.memory.codes()) == 60


def test_memory_smaller_than_a_batch_and_its_state():
    memory = CodeMemory(3, 1)
    memory.push(torch.arange(5.0)[:, None])
    assert sorted(memory.codes().flatten().tolist()) == [2, 3, 4]
    memory.push(torch.tensor([[9.0]]))
    other = CodeMemory(3, 1)
    other.load_state_dict(memory.state_dict())
    for one in (memory, other):
        one.push(torch.tensor([[8.0]]))
    assert sorted(memory.codes().flatten().tolist()) == sorted(other.codes().flatten().tolist()) == [4, 8, 9]


def test_memory_is_checked():
    with pytest.raises(InputError, match=r"entropy\.memory must be at least 0, got -1"):
        NegativeEntropy(memory=-1)
    assert Objective([NegativeEntropy()], make()).memory is None
