import math

import pytest
import torch
from torch import nn

from entropic_ae import (
    TERMS,
    Autoencoder,
    BatchNorm,
    Code,
    Identity,
    InputError,
    MLPDecoder,
    MLPEncoder,
    NegativeEntropy,
    Objective,
    SquaredError,
    Trace,
    knn_entropy,
)

SHAPE = (1, 8, 8)


def make(bottleneck=BatchNorm):
    torch.manual_seed(0)
    return Autoencoder(MLPEncoder(SHAPE, 4, hidden=16), bottleneck(4), MLPDecoder(SHAPE, 4, hidden=16))


@pytest.fixture(params=TERMS)
def term(request):
    return TERMS[request.param]


def test_contract(term):
    """Every term: a finite 0-dimensional value, a gradient for some weight, unique names, no negative weight."""
    model = make()
    value = term()(model, model(torch.rand(20, *SHAPE)))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
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


def test_weight_zero_measures_without_a_gradient():
    gradients = []
    for terms in ([SquaredError()], [SquaredError(), NegativeEntropy(0.0)]):
        model = make()
        total, _ = Objective(terms, model)(model, model(torch.ones(20, *SHAPE).tril()))
        total.backward()
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_entropy_of_an_unconstrained_bottleneck_is_refused():
    with pytest.raises(
        InputError,
        match=r"needs a bottleneck that bounds the entropy \(BatchNorm, ...\), got Identity: the loss would",
    ):
        Objective([SquaredError(), NegativeEntropy()], make(Identity))


@pytest.mark.parametrize("terms", [[], [SquaredError(), SquaredError(2.0)]])
def test_objective_refuses_none_and_twice(terms):
    with pytest.raises(InputError, match="at least one term and each only once"):
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
