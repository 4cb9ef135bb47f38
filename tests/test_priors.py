"""Priors against known distributions; every bottleneck's prior keeps the contract."""

import math

import pytest
import scipy.stats
import torch
from torch import distributions

from entropic_ae import BOTTLENECKS, InputError
from entropic_ae.priors import Alphabet, IndependentPrior, Laplace, Normal, Uniform, UniformSphere, as_prior


def independent(marginals):
    return distributions.Independent(marginals, 1)


@pytest.fixture(params=BOTTLENECKS)
def prior(request):
    return BOTTLENECKS[request.param](6).prior()


def test_every_prior_has_a_name_and_is_a_distribution_of_torch(prior):
    assert prior.title
    assert prior.description
    assert prior.columns
    assert isinstance(prior, distributions.Distribution)
    assert prior.entropy().isfinite()
    assert prior.log_prob(prior.sample((5,))).shape == (5,)
    if isinstance(prior, distributions.Independent):
        assert prior.expand((3,)).sample().shape == (3, 6)


def test_draws_from_noise_follow_every_prior(prior):
    torch.manual_seed(2)
    codes = prior.from_noise(torch.randn(5000, 6))
    drawn = prior.sample((5000,))
    for d in range(6):
        assert scipy.stats.ks_2samp(codes[:, d].numpy(), drawn[:, d].numpy()).pvalue > 0.001
    spread = drawn.var().item()
    torch.testing.assert_close(torch.cov(codes.T), spread * torch.eye(6), atol=0.1 * spread, rtol=0)


def test_the_nearest_point_is_on_the_support_of_every_prior(prior):
    torch.manual_seed(3)
    codes = 3 * torch.randn(100, 6)
    nearest = prior.nearest(codes)
    torch.testing.assert_close(prior.nearest(nearest), nearest)
    drawn = prior.sample((100,))
    torch.testing.assert_close(prior.nearest(drawn), drawn)
    distance = (codes - nearest).norm(dim=1)
    assert (distance <= (codes - drawn).norm(dim=1) + 1e-6).all()


def test_normal_scores_of_every_prior_are_standard_normal(prior):
    if isinstance(prior, Alphabet):  # tests/test_quantised.py: it has none
        return
    torch.manual_seed(1)
    scores = prior.normal_scores(prior.sample((5000,)))
    assert scores.dtype == torch.float64
    for d in range(6):
        assert scipy.stats.kstest(scores[:, d].numpy(), "norm").pvalue > 0.001


def test_uniform_sphere():
    prior = UniformSphere(4)
    torch.manual_seed(0)
    z = prior.sample((20_000,))
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=0.02, rtol=0)
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(4) / 4, atol=0.01, rtol=0)
    area = 2 * math.pi**2  # of the sphere in four dimensions
    assert prior.entropy().item() == pytest.approx(math.log(area))
    torch.testing.assert_close(prior.log_prob(z[:3]), torch.full((3,), -math.log(area)))
    for d in range(4):
        assert scipy.stats.kstest(z[:, d].numpy(), lambda x: prior.cdf(torch.from_numpy(x)).numpy()).pvalue > 0.001
    with pytest.raises(InputError, match="at least 2 dimensions, got 1"):
        UniformSphere(1)


def test_normal_scores_are_quantiles_and_keep_what_is_far_out():
    z = torch.tensor([[-15.0, 15.0, 0.5]]).T.double()
    expected = scipy.stats.norm.ppf(scipy.stats.laplace.cdf([-15.0, 0.5]))
    scores = Laplace.standard(1).normal_scores(z).squeeze(1)
    torch.testing.assert_close(scores[[0, 2]], torch.from_numpy(expected))
    assert scores[1] == -scores[0]
    shifted = Normal(distributions.Normal(torch.ones(1), 2 * torch.ones(1)))
    torch.testing.assert_close(shifted.normal_scores(z), (z - 1) / 2)
    assert Uniform.standard(1).normal_scores(torch.ones(1, 1)).isfinite().all()


def test_distributions_of_torch_become_priors():
    zeros, ones = torch.zeros(2), torch.ones(2)
    for marginals, kind in (
        (distributions.Normal(zeros, ones), Normal),
        (distributions.Laplace(zeros, ones), Laplace),
        (distributions.Uniform(-ones, ones), Uniform),
        (distributions.Exponential(ones), IndependentPrior),
    ):
        plain = independent(marginals)
        prior = as_prior(plain)
        assert type(prior) is kind
        assert as_prior(prior) is prior
        torch.manual_seed(0)
        drawn = plain.sample((5,))
        torch.manual_seed(0)
        assert torch.equal(prior.sample((5,)), drawn)
        assert torch.equal(prior.log_prob(drawn), plain.log_prob(drawn))


def test_a_custom_prior_works_up_to_what_it_lacks():
    z = torch.full((1, 2), math.log(10))  # a tenth of Exponential(1) is above it
    prior = as_prior(independent(distributions.Exponential(torch.ones(2))))
    assert prior.title == "Exponential"
    torch.testing.assert_close(prior.normal_scores(z), torch.full((1, 2), scipy.stats.norm.ppf(0.9)).double())
    assert torch.equal(prior.nearest(z), z)
    sentence = r"the prior Exponential cannot be exported without a method from_noise\(noise\); define it"
    with pytest.raises(InputError, match=sentence):
        prior.from_noise(z)
    dependent = as_prior(distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    assert dependent.sample((3,)).shape == (3, 2)
    assert dependent.log_prob(z).item() == pytest.approx(-math.log(2 * math.pi) - math.log(10) ** 2, rel=1e-6)
    assert torch.equal(dependent.nearest(z), z)
    with pytest.raises(InputError, match="the prior MultivariateNormal without a method normal_scores"):
        dependent.normal_scores(z)
