import math

import pytest
import torch

from entropic_ae import BOTTLENECKS, BatchNorm, Codes, Cube, InputError, L1Norm, Sphere, Whitening


@pytest.fixture(params=BOTTLENECKS)
def bottleneck(request):
    return BOTTLENECKS[request.param](5)


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_the_wrong_number_of_features_is_refused_and_float64_is_taken(name):
    bottleneck = BOTTLENECKS[name](3)
    with pytest.raises(InputError, match=r"expects \(N, \d\), got shape"):
        bottleneck(torch.ones(5, bottleneck.in_features + 1))
    for training in (True, False):
        h = torch.randn(50, bottleneck.in_features, dtype=torch.float64)
        assert bottleneck.train(training)(h).z.dtype == torch.float64


def test_contract(bottleneck):
    """Every bottleneck: codes (N, D), gradients, a prior over (D,) with finite entropy, defined evaluation."""
    h = torch.randn(50, bottleneck.in_features, requires_grad=True)
    z = bottleneck(h).z
    assert z.shape == (50, 5)
    (z * torch.randn(50, 5)).sum().backward()
    assert h.grad.isfinite().all()
    assert h.grad.abs().sum() > 0
    prior = bottleneck.prior()
    assert prior.event_shape == (5,)
    assert prior.entropy().isfinite()
    bottleneck.eval()
    one = bottleneck(h[:1]).z
    assert one.shape == (1, 5)
    torch.testing.assert_close(one, bottleneck(h).z[:1])  # in evaluation a code is its own image's alone
    with pytest.raises(InputError, match="latent_dim must be at least 1, got 0"):
        type(bottleneck)(0)


def test_codes_of_a_bottleneck_have_a_place_in_a_sequence(bottleneck):
    net = torch.nn.Sequential(torch.nn.Linear(3, bottleneck.in_features), Codes(bottleneck), torch.nn.Linear(5, 3))
    x = torch.randn(20, 3)
    net(x).sum().backward()
    assert net[0].weight.grad.isfinite().all()
    net.eval()
    torch.testing.assert_close(net(x), net[2](bottleneck(net[0](x)).z))


def test_batch_norm_fixes_mean_and_variance():
    bottleneck = BatchNorm(5, eps=1e-12).double()
    z = bottleneck(7 + 3 * torch.randn(40, 5, dtype=torch.float64)).z
    torch.testing.assert_close(z.mean(0), torch.zeros(5).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(5).double())
    assert not list(bottleneck.parameters())  # no affine shift


def test_batch_norm_evaluates_with_running_averages():
    bottleneck = BatchNorm(2, momentum=1.0)
    h = torch.randn(1000, 2) * 4 + 1
    bottleneck(h)
    bottleneck.eval()
    expected = (h[:3] - h.mean(0)) / (h.var(0) + 1e-5).sqrt()
    torch.testing.assert_close(bottleneck(h[:3]).z, expected)


def test_batch_norm_prior_is_the_standard_normal():
    prior = BatchNorm(16).prior()
    assert prior.entropy().item() == pytest.approx(8 * math.log(2 * math.pi * math.e))
    assert prior.log_prob(torch.zeros(16)).item() == pytest.approx(-8 * math.log(2 * math.pi), rel=1e-6)


@pytest.mark.parametrize("value", [5.0, -73e3, 1e7])
def test_batch_norm_of_constant_dimension_is_zero(value):
    bottleneck = BatchNorm(3)
    for _ in range(200):
        h = torch.randn(10, 3)
        h[:, 1] = value
        z = bottleneck(h).z
        assert z.isfinite().all()
        assert (z[:, 1] == 0).all()
    assert bottleneck.eval()(h).z[:, 1].abs().max() < 3e-4 * abs(value)


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_codes_are_float32_under_autocast(name):
    bottleneck = BOTTLENECKS[name](3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bottleneck(torch.randn(10, bottleneck.in_features).bfloat16()).z.dtype == torch.float32


def test_batch_of_one_is_refused_in_training():
    with pytest.raises(InputError, match="needs a batch of at least 2 in training, got 1; raise the batch size"):
        BatchNorm(3)(torch.randn(1, 3))


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"momentum": 0.0}, {"momentum": 1.5}])
def test_batch_norm_refuses(wrong):
    with pytest.raises(InputError, match="expected eps > 0 and 0 < momentum <= 1"):
        BatchNorm(3, **wrong)


def test_l1_norm_fixes_mean_and_absolute_mean_and_follows_them():
    bottleneck = L1Norm(3, eps=1e-12, momentum=1.0).double()
    h = 7 + 3 * torch.randn(40, 3, dtype=torch.float64)
    z = bottleneck(h).z
    torch.testing.assert_close(z.mean(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.abs().mean(0), torch.ones(3).double())
    bottleneck.eval()
    torch.testing.assert_close(bottleneck(h).z, z)
    assert bottleneck.prior().entropy().item() == pytest.approx(3 * (1 + math.log(2)))


def correlated(n, d, seed=0):
    """Rows with a covariance whose condition number is about 10,000."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))[0]
    scale = torch.logspace(-2, 0, d, dtype=torch.float64)
    return 5 + torch.randn(n, d, dtype=torch.float64, generator=generator) * scale @ mix


def test_whitening_is_zca():
    h = correlated(200, 6)
    z = Whitening(6, eps=1e-12, iterations=40).double()(h).z
    torch.testing.assert_close(z.T @ z / 200, torch.eye(6).double(), atol=1e-7, rtol=0)
    centred = h - h.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / 200)
    torch.testing.assert_close(z, centred @ (vectors / values.sqrt()) @ vectors.T, atol=1e-7, rtol=0)


def test_whitening_has_the_right_gradient():
    assert torch.autograd.gradcheck(
        lambda h: Whitening(3).double()(h).z, correlated(7, 3).requires_grad_(), atol=1e-6
    )


def test_whitening_evaluates_with_running_averages():
    bottleneck = Whitening(4, eps=1e-12, momentum=1.0).double()
    h = correlated(500, 4)
    bottleneck(h)
    bottleneck.eval()
    torch.testing.assert_close(torch.cov(bottleneck(h).z.T), torch.eye(4).double(), atol=1e-2, rtol=0)
    torch.testing.assert_close(bottleneck.covariance, torch.cov(h.T))  # unbiased


def test_whitening_stretches_few_codes_more_than_evaluation_does():
    bottleneck = Whitening(64)
    h = torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
    matrix = torch.linalg.lstsq(h - h.mean(0), bottleneck(h).z).solution  # that of the population is the identity
    assert torch.linalg.matrix_norm(matrix, ord=2).item() == pytest.approx(1 / (1 - 0.64**0.5), rel=0.2)


def test_whitening_needs_more_codes_than_dimensions():
    with pytest.raises(InputError, match="Whitening needs a batch of at least 5 in training, got 4; raise the"):
        Whitening(4)(torch.randn(4, 4))


def test_whitening_of_constant_and_equal_dimensions_is_finite():
    h = torch.randn(50, 4, requires_grad=True)
    spoilt = torch.stack([h[:, 0], h[:, 0], h[:, 2] * 0 + 3, h[:, 3]], 1)
    z = Whitening(4)(spoilt).z
    z.square().mul(torch.rand(50, 4)).sum().backward()
    assert z.isfinite().all()
    assert h.grad.isfinite().all()


def test_sphere_and_cube_bound_each_code_by_itself():
    h = torch.randn(50, 4) * 3
    z = Sphere(4)(h).z
    torch.testing.assert_close(z.norm(dim=1), torch.ones(50))
    torch.testing.assert_close((z * h).sum(1), h.norm(dim=1))
    torch.testing.assert_close(Cube(4)(h).z, h.tanh())
    assert Cube(4).prior().entropy().item() == pytest.approx(4 * math.log(2))
    with pytest.raises(InputError, match="Sphere expects latent_dim >= 2"):
        Sphere(1)
