import math

import pytest
import scipy.stats
import torch
from torch.distributions import Independent, Laplace, Normal, Uniform

from entropic_ae import BOTTLENECKS, InputError
from entropic_ae.priors import UniformSphere, normal_scores


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


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_normal_scores_of_every_prior_are_standard_normal(name):
    prior = BOTTLENECKS[name](6).prior()
    torch.manual_seed(1)
    scores = normal_scores(prior.sample((5000,)), prior)
    assert scores.dtype == torch.float64
    for d in range(6):
        assert scipy.stats.kstest(scores[:, d].numpy(), "norm").pvalue > 0.001


def test_normal_scores_are_quantiles_and_keep_what_is_far_out():
    z = torch.tensor([[-15.0, 15.0, 0.5]]).T.double()
    expected = scipy.stats.norm.ppf(scipy.stats.laplace.cdf([-15.0, 0.5]))
    scores = normal_scores(z, Independent(Laplace(torch.zeros(1).double(), torch.ones(1).double()), 1)).squeeze(1)
    torch.testing.assert_close(scores[[0, 2]], torch.from_numpy(expected))
    assert scores[1] == -scores[0]
    shifted = normal_scores(z, Independent(Normal(torch.ones(1), 2 * torch.ones(1)), 1))
    torch.testing.assert_close(shifted, (z - 1) / 2)
    assert normal_scores(torch.ones(1, 1), Independent(Uniform(-torch.ones(1), torch.ones(1)), 1)).isfinite().all()
