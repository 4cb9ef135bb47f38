import math

import pytest
import torch

from entropic_ae import BOTTLENECKS, BatchNorm, InputError


@pytest.fixture(params=BOTTLENECKS)
def bottleneck(request):
    return BOTTLENECKS[request.param](5)


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


def test_batch_norm_of_constant_dimension_is_zero():
    h = torch.randn(10, 3)
    h[:, 1] = 5
    z = BatchNorm(3)(h).z
    assert z.isfinite().all()
    assert z[:, 1].abs().max() < 1e-3


def test_batch_norm_computes_in_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert BatchNorm(3)(torch.randn(10, 3).bfloat16()).z.dtype == torch.float32


def test_batch_of_one_is_refused_in_training():
    with pytest.raises(InputError, match="needs a batch of at least 2 in training, got 1; raise the batch size"):
        BatchNorm(3)(torch.randn(1, 3))


@pytest.mark.parametrize("wrong", [{"eps": 0.0}, {"momentum": 0.0}, {"momentum": 1.5}])
def test_batch_norm_refuses(wrong):
    with pytest.raises(InputError, match="expected eps > 0 and 0 < momentum <= 1"):
        BatchNorm(3, **wrong)
