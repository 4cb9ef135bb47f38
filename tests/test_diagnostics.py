"""Known cases: exact draws from the prior pass at the stated rate, all else fails for the right reason."""

import json
import math
import re

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad, trapezoid
from torch.distributions import Independent, Laplace, Normal

from entropic_ae import BOTTLENECKS, BatchNorm, InputError, Sphere, diagnose, sliced_wasserstein
from entropic_ae.metrics import LEVEL, diagnostics
from entropic_ae.metrics.diagnostics import _largest_p

TESTS = ("moments", "marginals", "correlation", "norms", "joint structure", "distance")
N, D = 3000, 4
PRIOR = BatchNorm(D).prior()


@pytest.fixture
def few_projections(monkeypatch):
    """Let the rank of the distance be of a tenth of its projections: it takes most of the time."""
    monkeypatch.setattr(diagnostics, "_PROJECTIONS", 10)


few = pytest.mark.usefixtures("few_projections")


def draws(n=N, d=D, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def correlated():
    z = draws()
    z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]
    return z, "correlation", -0.5 * math.log(1 - 0.6**2)


def laplace():
    torch.manual_seed(0)
    z = Laplace(0, 0.5**0.5).sample((N, D))  # variance 1
    return z, "marginals", D * (0.5 * math.log(2 * math.pi * math.e) - 1 - math.log(2 * 0.5**0.5))


def mixture():
    """Two clusters in each dimension, of variance 1 together."""

    def two(x):
        return sum(scipy.stats.norm.pdf(x, sign * 0.91**0.5, 0.3) / 2 for sign in (-1, 1))

    z = 0.3 * draws() + 0.91**0.5 * torch.sign(draws(seed=1))
    nats = quad(lambda x: -two(x) * math.log(two(x)), -6, 6)[0]
    return z, "marginals", D * (0.5 * math.log(2 * math.pi * math.e) - nats)


def ring():
    """Normal marginals without correlation: the second is the first or minus the first, and noise."""
    z = draws()
    z[:, 1] = (0.9**0.5 * z[:, 0] + 0.1**0.5 * z[:, 1]) * torch.sign(draws(seed=1)[:, 0])

    def conditional(x):
        """Entropy of the second, given the first."""

        def two(y):
            return sum(scipy.stats.norm.pdf(y, sign * 0.9**0.5 * x, 0.1**0.5) / 2 for sign in (-1, 1))

        y = np.linspace(-7, 7, 2001)
        return -trapezoid(two(y) * np.log(two(y) + 1e-300), y)

    x = np.linspace(-5, 5, 401)
    given = trapezoid(scipy.stats.norm.pdf(x) * [conditional(one) for one in x], x)
    return z, "joint structure", 0.5 * math.log(2 * math.pi * math.e) - given


def heavy():
    """Student's t with its marginals made normal, whose divergence is that of Student's t from independence."""
    nu = 4.0
    chi2 = torch.distributions.Chi2(nu)
    torch.manual_seed(0)
    t = scipy.stats.t(nu)
    z = t.cdf((draws() * (nu / chi2.sample((N, 1))).sqrt()).double().numpy())
    together = scipy.stats.multivariate_t(np.zeros(D), df=nu).entropy()
    return torch.from_numpy(scipy.stats.norm.ppf(z)), "norms", D * float(t.entropy()) - float(together)


def wide():
    return 1.5 * draws() + 0.3, "moments", D * 0.5 * (2.25 + 0.09 - 1 - math.log(2.25))


@few
@pytest.mark.parametrize("case", [correlated, laplace, mixture, wide])
def test_each_difference_is_found_for_what_it_is(case):
    codes, reason, nats = case()
    result = diagnose(codes, PRIOR)
    assert result["p_values"][reason] < LEVEL
    assert result["divergence"] == pytest.approx(nats, abs=0.05 + 0.08 * nats)
    assert result["parts"][reason] == pytest.approx(nats, abs=0.05 + 0.08 * nats)
    assert all(abs(value) < 0.08 for part, value in result["parts"].items() if part != reason)
    assert result["verdict"].endswith(f"; prior sampling is off mainly by {reason}")
    assert f"{result['divergence']:.2f} nats from N(0, I)" in result["verdict"]


@few
@pytest.mark.parametrize("case", [heavy, ring])
def test_norms_and_joint_structure_add_up_to_what_is_known_of_both(case):
    codes, _, nats = case()
    result = diagnose(codes, PRIOR)
    parts = result["parts"]
    assert parts["norms"] + parts["joint structure"] == pytest.approx(nats, abs=0.05 + 0.08 * nats)
    assert all(abs(parts[part]) < 0.08 for part in ("moments", "marginals", "correlation"))
    assert min(result["p_values"][part] for part in ("norms", "joint structure")) < LEVEL
    assert parts["norms"] > 0.02


@few
@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_norms_that_vary_less_or_more_than_those_of_the_prior(ratio):
    """Uniform directions in many dimensions, where marginals stay normal; squared norms of another variance."""
    d = 32
    directions = torch.nn.functional.normalize(draws(2500, d))
    squares = scipy.stats.gamma(d / 2 / ratio, scale=2 * ratio)
    codes = directions * torch.from_numpy(squares.rvs(2500, random_state=0)[:, None] ** 0.5).float()
    x = np.linspace(1, 300, 20_001)
    density = squares.pdf(x)
    nats = trapezoid(density * (squares.logpdf(x) - scipy.stats.chi2.logpdf(x, d)), x)
    result = diagnose(codes, BatchNorm(d).prior())
    assert result["p_values"]["norms"] < LEVEL
    least = 0.8 if ratio < 1 else 0.5  # norms that vary make the marginals heavy, which takes a part
    assert least * nats < result["parts"]["norms"] < 1.2 * nats
    assert result["divergence"] == pytest.approx(sum(result["parts"].values()))


@few
def test_codes_on_a_sphere_are_told_by_their_norms():
    codes = 16**0.5 * torch.nn.functional.normalize(draws(N, 16))
    result = diagnose(codes, BatchNorm(16).prior())
    assert result["p_values"]["norms"] < 1e-6
    assert result["verdict"].endswith("prior sampling is off mainly by norms")


@few
def test_the_verdict_of_dead_codes():
    codes = draws()
    codes[:, 2] = 0
    result = diagnose(codes, PRIOR)
    assert result["dead"] == 1
    assert result["verdict"].startswith("codes: 1 of 4 dimensions are dead, the others not told from N(0, I)")
    assert diagnose(torch.zeros(N, D), PRIOR)["verdict"] == "codes: all 4 dimensions are dead"


@pytest.mark.parametrize(("n", "d"), [(150, 64), (500, 16)])
def test_the_largest_of_many_statistics_rejects_at_the_stated_rate(n, d):
    """Of 400 samples more than 11 would be rejected once in 1,000 times; by the chi-squared tail 30 and 10 are."""
    p_values = [_largest_p(float(scipy.stats.normaltest(draws(n, d, seed=seed).numpy()).statistic.max()), n, d)
                for seed in range(400)]  # fmt: skip
    assert sum(p <= LEVEL for p in p_values) <= 11


@pytest.mark.parametrize(("n", "d"), [(150, 2), pytest.param(300, 8, marks=pytest.mark.slow)])
def test_exact_draws_pass_at_the_stated_rate(n, d):
    """Each test rejects 1 in 100 draws of the prior: of 40, more than 3 would come once in 1,400 times."""
    prior = BatchNorm(d).prior()
    rejected = dict.fromkeys(TESTS, 0)
    for seed in range(40):
        p_values = diagnose(draws(n, d, seed=1000 + seed), prior, seed=seed)["p_values"]
        for test in TESTS:
            rejected[test] += p_values[test] <= LEVEL
    assert max(rejected.values()) <= 3, rejected


@few
@pytest.mark.parametrize("name", {kind(5).prior().title: name for name, kind in BOTTLENECKS.items()}.values())
def test_exact_draws_of_every_prior_pass(name):
    prior = BOTTLENECKS[name](5).prior()
    told = 0
    for seed in range(5):
        torch.manual_seed(1000 + seed)  # not the draws of diagnose
        codes = prior.sample((500,))
        result = diagnose(codes, prior, estimator=BOTTLENECKS[name].entropy, seed=seed)
        told += min(result["p_values"].values()) <= LEVEL
        assert abs(result["divergence"]) < 0.4
    assert told <= 2  # five tests at 0.01: 1 in 20 is expected


def test_uneven_codes_on_the_sphere_are_told():
    z = draws(2000, 3) + torch.tensor([1.0, 0, 0])
    z = z / z.norm(dim=1, keepdim=True)
    result = diagnose(z, Sphere(3).prior(), estimator=Sphere.entropy)
    assert result["p_values"]["density"] < LEVEL
    assert list(result["parts"]) == ["density"]
    assert "from the uniform distribution on the sphere" in result["verdict"]
    # KL to the uniform distribution, by the density of the angle's cosine: Monte Carlo of its histogram
    density, edges = np.histogram(z[:, 0].numpy(), bins=40, range=(-1, 1), density=True)
    width = edges[1] - edges[0]
    expected = sum(p * width * math.log(2 * p) for p in density if p > 0)
    assert result["divergence"] == pytest.approx(expected, abs=0.1)


@few
def test_parts_of_scaled_and_correlated_codes_add_up():
    """Of a normal distribution all parts and their sum are known."""
    codes, _, correlation = correlated()
    result = diagnose(codes * 2, PRIOR)
    moments = D * 0.5 * (4 - 1 - math.log(4))
    assert result["parts"]["moments"] == pytest.approx(moments, rel=0.06)
    assert result["parts"]["correlation"] == pytest.approx(correlation, abs=0.04)
    assert result["divergence"] == pytest.approx(moments + correlation, rel=0.06)
    assert result["divergence"] == pytest.approx(sum(result["parts"].values()))


def copied():
    z = draws()
    z[:, 1] = z[:, 0]
    return z, PRIOR, "directions that copy others: 1; prior sampling is off mainly by correlation"


def mirrored():
    z = draws()
    z[:, 1] = -z[:, 0]
    return z, PRIOR, "directions that copy others: 1; prior sampling is off mainly by correlation"


def one_in_all():
    return draws()[:, :1].repeat(1, D), PRIOR, "directions that copy others: 3"


def atom():
    z = draws()
    z[torch.rand(N, generator=torch.Generator().manual_seed(2)) < 0.3, 1] = 0
    return z, PRIOR, "mainly by marginals"


def two_values():
    return torch.sign(draws()), PRIOR, "codes: 3,000 of them have only 16 values"


def on_the_faces():
    return torch.tanh(3 * draws()).clamp(-0.99, 0.99) / 0.99, BOTTLENECKS["cube"](D).prior(), "mainly by"


@few
@pytest.mark.parametrize("case", [copied, mirrored, one_in_all, atom, two_values, on_the_faces])
def test_degenerate_codes_are_told_in_finite_numbers(case):
    codes, prior, told = case()
    result = diagnose(codes, prior)
    assert told in result["verdict"]
    json.dumps(result, allow_nan=False)


def test_fine_structure_of_few_codes_is_told():
    """Each code has a twin nearby, of which parts of the sample hold but few."""
    one = draws(180, 8)
    twins = torch.cat([one, (1 - 0.1**2) ** 0.5 * one + 0.1 * draws(180, 8, seed=1)])
    result = diagnose(twins, BatchNorm(8).prior())
    assert result["p_values"]["joint structure"] < 1e-6
    assert result["verdict"].endswith("mainly by joint structure")


def test_one_dimension_has_neither_correlation_nor_joint_structure():
    result = diagnose(draws(200, 1), BatchNorm(1).prior())
    assert (result["parts"]["correlation"], result["parts"]["joint structure"]) == (0, 0)
    assert "not told from N(0, I)" in result["verdict"]
    assert diagnose(draws(200, 1).exp(), BatchNorm(1).prior())["p_values"]["marginals"] < LEVEL


@few
def test_codes_that_come_twice_count_once():
    z = draws(2000, 8)
    result = diagnose(torch.cat([z, z[:200]]), BatchNorm(8).prior())
    assert (result["n"], result["distinct"]) == (2200, 2000)
    assert "not told from N(0, I) by 2,200 of them" in result["verdict"]


def test_norms_alone_are_a_lower_bound_where_the_estimate_is_negative():
    """Uniform directions with squared norms of a Gamma distribution: in 64 dimensions the estimate is below 0."""
    source = np.random.default_rng(0)
    z = source.standard_normal((5000, 64))
    z *= np.sqrt(source.gamma(96, 64 / 96, (5000, 1))) / np.linalg.norm(z, axis=1, keepdims=True)
    found = diagnose(torch.from_numpy(z), BatchNorm(64).prior())
    assert found["parts"]["joint structure"] < -0.5
    # the divergence of the two Gamma distributions of the squared norm, shapes 96 and 32, scales 2 / 3 and 2
    ratio = math.log(3)
    exact = (96 - 32) * scipy.special.digamma(96) - scipy.special.gammaln(96) + scipy.special.gammaln(32)
    exact += 32 * ratio + 96 * (1 / 3 - 1)
    assert found["parts"]["norms"] == pytest.approx(exact, abs=0.03)
    least = re.search(r"\(at least (\S+), since joint structure cannot be below 0\)", found["verdict"])
    assert float(least[1]) == pytest.approx(exact, abs=0.15)


@few
def test_a_lower_bound_is_told_where_it_is_more():
    codes, *_ = correlated()
    assert "(at least 7.00 by a guess)" in diagnose(codes, PRIOR, lower_bounds={"a guess": 7.0})["verdict"]
    assert "at least" not in diagnose(codes, PRIOR, lower_bounds={"a guess": 0.1})["verdict"]


@few
def test_joint_structure_in_many_dimensions_is_underestimated_as_stated():
    """Pairs of which the second is the first or minus the first, and noise: D / 2 times what one has."""
    _, _, nats = ring()
    for d, share in ((4, (0.9, 1.1)), (16, (0.3, 0.55)), (64, (0.05, 0.2))):
        z, sign = draws(10_000, d), torch.sign(draws(10_000, d // 2, seed=1))
        z[:, 1::2] = (0.9**0.5 * z[:, ::2] + 0.1**0.5 * z[:, 1::2]) * sign
        parts = diagnose(z, BatchNorm(d).prior())["parts"]
        found = (parts["norms"] + parts["joint structure"]) / (nats * d / 2)
        assert share[0] < found < share[1], d


@few
def test_skewness_and_kurtosis_are_those_of_each_dimension():
    codes = draws()
    codes[:, 1] = (codes[:, 1].exp() - math.exp(0.5)) / 2
    result = diagnose(codes, PRIOR)
    np.testing.assert_allclose(result["skewness"], scipy.stats.skew(codes.double().numpy()))
    np.testing.assert_allclose(result["excess_kurtosis"], scipy.stats.kurtosis(codes.double().numpy()))


def test_sliced_wasserstein_of_gaussians():
    """N(0, I) and N(0, 4 I) are 1 apart in every projection, N(0, I) and N(a, I) |a| / sqrt(D) in the mean."""
    x = draws(5000, 5)
    y = draws(5000, 5, seed=1)
    assert sliced_wasserstein(x, 2 * y) == pytest.approx(1, abs=0.03)
    assert sliced_wasserstein(x, y + 2, projections=1000) == pytest.approx(2, abs=0.06)
    line = scipy.stats.wasserstein_distance  # of order 1, in one dimension no more than that of order 2
    assert sliced_wasserstein(x[:, :1], y[:, :1].exp()) >= line(x[:, 0], y[:, 0].exp())
    with pytest.raises(InputError, match="samples of one shape"):
        sliced_wasserstein(x, y[:-1])


@pytest.mark.parametrize("codes", [torch.zeros(49, D), torch.zeros(60, D + 1), torch.zeros(60)])
def test_refuses(codes):
    with pytest.raises(InputError, match="diagnose expects at least 50 codes of the prior's 4 dimensions, got"):
        diagnose(codes, PRIOR)
    with pytest.raises(InputError, match="codes must be finite"):
        diagnose(torch.full((60, D), math.nan), PRIOR)


def test_the_prior_of_ones_own_scale():
    prior = Independent(Normal(torch.full((D,), 3.0), torch.full((D,), 0.5)), 1)
    assert "not told" in diagnose(3 + 0.5 * draws(), prior)["verdict"]
