import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.torch import load, save
from torch.distributions import Independent, Laplace

from entropic_ae import (
    BOTTLENECKS,
    DENSITIES,
    BatchNorm,
    Copula,
    Density,
    Gaussian,
    InputError,
    Marginals,
    Mixture,
    Radial,
)
from entropic_ae.densities import SecondStage, second_stage

PRIOR = BatchNorm(3).prior()
SMALL = {
    "second-stage": {"hidden": 8, "depth": 2, "epochs": 2},
    "flow": {"hidden": 8, "epochs": 2},
    "autoregressive": {"width": 16, "epochs": 2},
}
FAST = {"hidden": 32, "epochs": 10, "learning_rate": 1e-3}  # of the second stage, where figures are checked


def correlated(n, seed=0):
    mix = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 1.0]])
    return 1 + torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) @ mix


def sample_of(kind, n):
    """Codes that a density is of, and their prior."""
    if not kind.is_discrete:
        return correlated(n), PRIOR
    prior = BOTTLENECKS["levels"](3).prior()
    return prior.nearest(correlated(n) / 3), prior


@pytest.fixture(params=DENSITIES)
def kind(request):
    if request.param == "flow":
        pytest.importorskip("zuko")
    return DENSITIES[request.param]


def test_contract(kind):
    """Every density: fit, seeded samples (n, D) float32, untouched global randomness, state and back."""
    fit = partial(kind.fit, **SMALL.get(kind.name, {}))
    given, prior = sample_of(kind, 200)
    density = fit(given, prior, seed=0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    codes = density.sample(7, seed=1)
    assert torch.equal(torch.rand(2), expected)
    assert codes.shape == (7, 3)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, density.sample(7, seed=1))
    assert not torch.equal(codes, density.sample(7, seed=2))
    assert torch.equal(codes, fit(given, prior, seed=0).sample(7, seed=1))
    state = density.state()
    again = kind.from_state(load(save(state)), prior)
    assert torch.equal(codes, again.sample(7, seed=1))
    for name in state:
        with pytest.raises(KeyError):
            kind.from_state({k: v for k, v in state.items() if k != name}, prior)
    if kind.name != "second-stage":  # the others do not look at posteriors
        assert torch.equal(codes, fit(given, prior, std=torch.ones(200, 3)).sample(7, seed=1))
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=f"seed must be a whole number from 0 to 4294967295, got {seed}"):
            density.sample(1, seed=seed)
    for wrong in (torch.full((50, 3), math.nan), torch.zeros(1, 3), torch.zeros(5)):
        if kind.needs_codes:
            with pytest.raises(InputError, match=f"density '{kind.name}' expects"):
                fit(wrong, prior)


def test_the_sampler_of_every_density_draws_as_sample_does(kind):
    density = kind.fit(*sample_of(kind, 500), seed=0, **SMALL.get(kind.name, {}))
    if kind.sampler is Density.sampler:
        with pytest.raises(InputError, match=f"the density '{kind.name}' cannot be exported to ONNX"):
            density.sampler()
        assert kind.name in ("flow", "autoregressive")
        return
    sampler = density.sampler()
    assert sampler.columns
    noise = torch.randn(5000, sampler.noise, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        codes = sampler(noise)
    drawn = density.sample(5000, seed=6)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes.mean(0), drawn.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(codes.T), torch.cov(drawn.T), atol=0.2, rtol=0.1)
    for d in range(3):
        assert scipy.stats.ks_2samp(codes[:, d].numpy(), drawn[:, d].numpy()).pvalue > 0.001


def test_names_and_settings():
    assert all(density.name == name for name, density in DENSITIES.items())
    assert len(Mixture.fit(correlated(100), PRIOR, components=3).weights) == 3
    with pytest.raises(InputError, match=r"mixture\.components must be at least 1, or 0 to choose it, got -1"):
        Mixture.fit(correlated(100), PRIOR, components=-1)
    for name in ("hidden", "depth", "epochs"):
        with pytest.raises(InputError, match=rf"second-stage\.{name} must be at least 1, got 0"):
            SecondStage.fit(correlated(100), PRIOR, **{name: 0})
    for changed in ({"batch_size": 0}, {"learning_rate": -1.0}):
        with pytest.raises(InputError, match=rf"second-stage: .*{next(iter(changed))}"):
            SecondStage.fit(correlated(100), PRIOR, **changed)
    for std in (torch.ones(100, 2), torch.full((100, 3), -1.0), torch.full((100, 3), math.nan)):
        with pytest.raises(InputError, match="std expects a finite standard deviation"):
            SecondStage.fit(correlated(100), PRIOR, std=std)


def test_prior_samples_follow_the_distribution():
    laplace = Independent(Laplace(torch.zeros(2), torch.ones(2)), 1)
    codes = DENSITIES["prior"].fit(None, laplace).sample(50_000, seed=0)
    assert codes.abs().mean().item() == pytest.approx(1, abs=0.02)
    assert codes.square().mean().item() == pytest.approx(2, abs=0.08)


@pytest.mark.parametrize("name", ["gaussian", "mixture"])
def test_samples_have_the_mean_and_covariance_of_the_codes(name):
    codes = correlated(5000)
    drawn = DENSITIES[name].fit(codes, PRIOR).sample(50_000, seed=0)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(codes.T), atol=0.1, rtol=0.03)


def test_gaussian_of_known_codes():
    codes = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 6.0], [2.0, -6.0]])
    density = Gaussian.fit(codes, PRIOR)
    assert density.mean.tolist() == [2, 0]
    torch.testing.assert_close(density.covariance, torch.tensor([[2 / 3, 0], [0, 24.0]]).double())


def test_mixture_finds_its_modes():
    generator = torch.Generator().manual_seed(0)
    modes = torch.randint(2, (3000, 1), generator=generator) * torch.tensor([[10.0, 0.0, 0.0]])
    codes = modes + torch.randn(3000, 3, generator=generator)
    drawn = Mixture.fit(codes, PRIOR).sample(3000, seed=0)
    between = ((drawn[:, 0] > 4) & (drawn[:, 0] < 6)).float().mean()
    assert between < 0.01  # one Gaussian puts 15 % there
    assert (drawn[:, 0] > 5).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_density_of_a_mixture_is_the_sum_of_its_gaussians():
    weights = torch.tensor([0.3, 0.7]).double()
    means, root = torch.randn(2, 3).double(), torch.randn(2, 3, 3).double()
    covariances = root @ root.mT + 0.1 * torch.eye(3)
    codes = torch.randn(5, 3)
    found = Mixture(weights, means, covariances).log_prob(codes)
    gaussians = zip(weights, means, covariances, strict=True)
    density = sum(w.item() * scipy.stats.multivariate_normal(m, c).pdf(codes.numpy()) for w, m, c in gaussians)
    torch.testing.assert_close(found.exp(), torch.as_tensor(density))


def test_a_mixture_whose_number_of_components_is_chosen():
    codes = correlated(600) + 20 * (torch.arange(600) % 2)[:, None]
    assert len(Mixture.fit(codes, PRIOR, components=0).weights) == 2
    assert len(Mixture.fit(codes, PRIOR).weights) == 10


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
@pytest.mark.parametrize("name", ["gaussian", "mixture"])
def test_any_scale_and_degenerate_codes(name, scale):
    codes = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    codes[:, 1] = 7  # a constant dimension
    codes[:, 2] = codes[:, 0]  # a dependent one
    drawn = DENSITIES[name].fit(scale * codes, PRIOR).sample(2000, seed=0) / scale
    assert drawn.isfinite().all()
    torch.testing.assert_close(drawn[:, 1], torch.full((2000,), 7.0), atol=0.02, rtol=0)
    assert (drawn[:, 2] - drawn[:, 0]).abs().max() < 0.02
    assert drawn[:, 0].std().item() == pytest.approx(codes[:, 0].std().item(), rel=0.1)


def test_mixture_of_few_codes():
    codes = correlated(7)
    density = Mixture.fit(codes, PRIOR)
    assert len(density.weights) == 3
    assert density.sample(5, seed=0).isfinite().all()


def test_mixture_of_few_distinct_codes():
    codes = torch.randn(3, 2).repeat(20, 1)
    drawn = Mixture.fit(codes, PRIOR).sample(100, seed=0)
    assert torch.cdist(drawn, codes).min(1).values.max() < 0.05


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def clusters(n, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[4.0, 0.0], [-4.0, 1.0]])[torch.randint(2, (n,), generator=generator)]
    return centres + 0.5 * torch.randn(n, 2, generator=generator)


def test_second_stage_models_what_a_gaussian_cannot():
    """Two clusters: 4 to 8 % of the Gaussian's distance in each of five seeds looked at."""
    codes, others = clusters(2000, 0), clusters(2000, 1)
    gaussian = energy_distance(Gaussian.fit(codes, None).sample(2000, seed=0), others)
    fitted = SecondStage.fit(codes, None, hidden=64, epochs=30, learning_rate=1e-3)
    assert energy_distance(fitted.sample(2000, seed=0), others) < 0.25 * gaussian
    assert fitted.gamma < 0.3  # in standardised units: the posterior has not collapsed
    between = fitted.sample(2000, seed=0)[:, 0].abs() < 1.5
    assert between.float().mean() < 0.1  # the Gaussian puts 30 % there


def test_second_stage_follows_the_aggregate_posterior():
    # another seed than the fit's, whose noise would be that of the codes
    means = torch.randn(2000, 2, generator=torch.Generator().manual_seed(9)) * torch.tensor([1.0, 0.1])
    std = torch.tensor([0.5, 0.6]).expand(2000, 2)
    drawn = SecondStage.fit(means, None, std=std, **FAST).sample(20_000, seed=0)
    aggregate = (means.var(0) + std[0].square()).sqrt()  # the means alone have (1, 0.1)
    torch.testing.assert_close(drawn.std(0), aggregate, rtol=0.1, atol=0)
    torch.testing.assert_close(drawn.mean(0), means.mean(0), rtol=0, atol=0.1)


def test_second_stage_sees_new_samples_each_epoch(monkeypatch):
    """The training codes as they are drawn, against the number that one draw for all epochs would give."""
    seen = []
    look = second_stage._Samples.__getitem__

    def noted(self, indices):
        found = look(self, indices)
        seen.append(found[:, 0])
        return found

    monkeypatch.setattr(second_stage._Samples, "__getitem__", noted)
    codes = correlated(100)
    SecondStage.fit(codes, None, std=torch.ones_like(codes), hidden=4, depth=1, epochs=3, batch_size=30)
    drawn = torch.cat(seen)
    assert len(drawn) > 3 * 90
    assert len(drawn.unique()) > 0.98 * len(drawn)  # but for chance


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_second_stage_of_degenerate_codes(scale):
    codes = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    codes[:, 1] = 7  # a constant dimension
    drawn = SecondStage.fit(scale * codes, None, **FAST).sample(2000, seed=0) / scale
    torch.testing.assert_close(drawn[:, 1], torch.full((2000,), 7.0), atol=0.02, rtol=0)
    assert drawn[:, 0].std().item() == pytest.approx(codes[:, 0].std().item(), rel=0.3)


@pytest.mark.parametrize("shape", [(2, 3), (3, 1), (19, 2), (20, 2), (65, 1)])
@pytest.mark.parametrize("value", [0.0, 5.0, None])
def test_second_stage_of_few_or_coinciding_codes(shape, value):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(shape, generator=generator) if value is None else torch.full(shape, value)
    for std in (None, torch.zeros(shape), torch.ones(shape)):
        density = SecondStage.fit(codes, None, std=std, **SMALL["second-stage"])
        drawn = density.sample(50, seed=0)
        assert drawn.isfinite().all()
        if value is not None and (std is None or not std.any()):
            torch.testing.assert_close(drawn, torch.full_like(drawn, value), atol=1e-3, rtol=0)


def test_second_stage_refuses_a_damaged_state():
    state = SecondStage.fit(correlated(50), PRIOR, **SMALL["second-stage"]).state()
    for name in state:
        with pytest.raises(KeyError):
            SecondStage.from_state(state | {name: torch.zeros(2, 5)}, PRIOR)


def test_radial_draws_have_the_norms_of_the_codes_in_every_direction_alike():
    """All codes in one orthant, the squares of their norms uniform on [1, 4]."""
    source = torch.Generator().manual_seed(0)
    codes = torch.nn.functional.normalize(torch.rand(5000, 3, generator=source))
    codes *= torch.empty(5000, 1).uniform_(1, 4, generator=source).sqrt()
    drawn = Radial.fit(codes, PRIOR).sample(20_000, seed=1).double()
    squares = drawn.square().sum(1)
    assert scipy.stats.kstest(squares.numpy(), scipy.stats.uniform(1, 3).cdf).statistic < 0.02
    directions = drawn / squares.sqrt()[:, None]
    for d in range(3):  # of a uniform direction in three dimensions each coordinate is uniform
        assert scipy.stats.kstest(directions[:, d].numpy(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.001
    torch.testing.assert_close(torch.cov(drawn.T), 2.5 / 3 * torch.eye(3).double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", ["batch-norm", "l1-norm", "cube"])
def test_radial_draws_of_codes_that_follow_their_prior_follow_it_too(name):
    prior = BOTTLENECKS[name](4).prior()
    torch.manual_seed(0)
    density = Radial.fit(prior.sample((5000,)), prior)
    with torch.no_grad():
        exported = density.sampler()(torch.randn(5000, 5, generator=torch.Generator().manual_seed(2)))
    for drawn in (density.sample(5000, seed=1), exported):
        for d in range(4):
            assert scipy.stats.ks_2samp(drawn[:, d].numpy(), prior.sample((5000,))[:, d].numpy()).pvalue > 0.001


def test_radial_refuses_dependent_dimensions_and_negative_norms():
    with pytest.raises(InputError, match="'radial' expects a prior of independent dimensions, got the uniform"):
        Radial.fit(correlated(50), BOTTLENECKS["sphere"](3).prior())
    for norms in (torch.tensor([-1.0, 2.0]), torch.ones(1)):
        with pytest.raises(KeyError):
            Radial.from_state({"norms": norms}, PRIOR)


def test_a_flow_is_an_exact_density_that_its_draws_follow():
    pytest.importorskip("zuko")
    prior = BatchNorm(1).prior()
    codes = torch.cat([correlated(500)[:, :1] - 4, correlated(500, 1)[:, :1] + 4])
    density = DENSITIES["flow"].fit(codes, prior, hidden=16, epochs=15)
    x = torch.linspace(-40, 40, 20_001).double()
    p = density.log_prob(x[:, None]).exp()
    assert torch.trapezoid(p, x).item() == pytest.approx(1, abs=1e-3)
    drawn = density.sample(4000, seed=1)[:, 0].double().sort().values
    at = torch.from_numpy(np.interp(drawn.numpy(), x[1:].numpy(), torch.cumulative_trapezoid(p, x).numpy()))
    assert (at - (torch.arange(4000) + 0.5) / 4000).abs().max() < 0.03  # 1.95 / sqrt(N) is passed once in 1,000


def test_a_flow_models_what_a_gaussian_cannot():
    """Two clusters, of which a mixture of two is the truth."""
    pytest.importorskip("zuko")
    codes, others, prior = clusters(2000, 0), clusters(2000, 1), BatchNorm(2).prior()
    fitted, gaussian = DENSITIES["flow"].fit(codes, prior, hidden=16, epochs=10), Gaussian.fit(codes, prior)
    one = scipy.stats.multivariate_normal(gaussian.mean.numpy(), gaussian.covariance.numpy()).logpdf(
        others.numpy()
    )
    two = Mixture.fit(codes, prior, components=2).log_prob(others).mean()
    assert one.mean() + 0.7 < fitted.log_prob(others).mean() < two


def test_flows_without_their_package_are_refused(monkeypatch):
    monkeypatch.setattr("entropic_ae.transports.flow.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"flows need zuko.*pip install 'entropic-ae\[flow\]'"):
        DENSITIES["flow"].fit(correlated(50), PRIOR)


def skewed(n, seed=0):
    """Two log-normal dimensions whose logarithms are correlated by 0.8, and one that is constant."""
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.stack([z[:, 0].exp(), (0.8 * z[:, 0] + 0.6 * z[:, 1]).exp(), torch.full((n,), 2.0)], 1)


@pytest.mark.parametrize(("kind", "correlation"), [(Marginals, 0.0), (Copula, 0.8)])
def test_marginals_are_kept_and_a_copula_keeps_correlation_too(kind, correlation):
    drawn = kind.fit(skewed(20_000), PRIOR).sample(20_000, seed=1)
    for d in range(2):
        assert scipy.stats.kstest(drawn[:, d].log().numpy(), "norm").statistic < 0.015  # 1.36 / sqrt(N) = 0.0096
    assert torch.corrcoef(drawn[:, :2].log().T)[0, 1].item() == pytest.approx(correlation, abs=0.03)
    assert drawn[:, 2].eq(2).all()


def test_a_copula_of_values_that_repeat_has_their_correlation():
    """Of two values the normal scores are a shift and a scale of them, whatever the order of equal ones."""
    signs = torch.sign(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)))
    expected = torch.corrcoef(signs.T.double())
    torch.testing.assert_close(Copula.fit(signs, PRIOR).correlation, expected, atol=1e-6, rtol=0)
