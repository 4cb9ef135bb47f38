"""Mixtures of Gaussians against scikit-learn and closed forms, and codes that are hard to fit."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture as Reference

from entropic_ae import InputError
from entropic_ae.mixtures import GaussianMixture, choose_mixture, fit_mixture, mean_and_deviation


def draws(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)).double()


def bent(n, dim, seed=0):
    """Points of no mixture, whose fit takes tens of iterations."""
    x = draws(n, dim, seed)
    return torch.tanh(2 * x @ draws(dim, dim, 100) / dim**0.5) + 0.3 * x


def clusters(count, n=600, dim=3):
    """Clusters on a line, 10 deviations apart."""
    return draws(n, dim) + 10 * (torch.arange(n) % count)[:, None]


@pytest.mark.parametrize(("n", "dim", "components", "seed"), [(500, 3, 10, 4), (1500, 16, 12, 1), (300, 1, 3, 0)])
def test_the_fit_is_scikit_learns(n, dim, components, seed):
    points = bent(n, dim)
    mean, deviation = mean_and_deviation(points)
    standard = ((points - mean) / deviation).numpy()
    theirs = Reference(components, tol=1e-3, max_iter=2000, random_state=seed).fit(standard)
    ours = fit_mixture(points, components, seed=seed)
    held_out = bent(200, dim, 1)
    expected = theirs.score_samples(((held_out - mean) / deviation).numpy()) - deviation.log().sum().item()
    np.testing.assert_allclose(ours.log_prob(held_out), expected, atol=1e-7)
    order, other = ours.weights.argsort(), theirs.weights_.argsort()
    np.testing.assert_allclose(ours.weights[order], theirs.weights_[other], atol=1e-8)
    np.testing.assert_allclose(((ours.means - mean) / deviation)[order], theirs.means_[other], atol=1e-7)
    scale = deviation * deviation[:, None]
    np.testing.assert_allclose((ours.covariances / scale)[order], theirs.covariances_[other], atol=1e-7)


def test_one_component_is_the_closed_form():
    points = bent(400, 4)
    fitted = fit_mixture(points, 1)
    torch.testing.assert_close(fitted.means[0], points.mean(0))
    ridge = 1e-6 * points.var(0).diag()
    torch.testing.assert_close(fitted.covariances[0], torch.cov(points.T, correction=0) + ridge)
    gaussian = stats.multivariate_normal(fitted.means[0].numpy(), fitted.covariances[0].numpy())
    np.testing.assert_allclose(fitted.log_prob(points), gaussian.logpdf(points.numpy()))


def test_the_density_integrates_to_one():
    fitted = fit_mixture(bent(300, 1), 4)
    x = torch.linspace(-8, 8, 20_001).double()
    assert torch.trapezoid(fitted.log_prob(x[:, None]).exp(), x).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_components_are_chosen_as_there_are_clusters(count):
    fitted = choose_mixture(clusters(count), components=(1, 2, 3, 5, 8))
    assert len(fitted.weights) == count
    torch.testing.assert_close(fitted.weights, torch.full((count,), 1 / count).double(), atol=0.02, rtol=0)
    expected = torch.arange(count)[:, None].expand(-1, 3) * 10.0
    torch.testing.assert_close(fitted.means.sort(0).values, expected.double(), atol=0.4, rtol=0)


def test_one_gaussian_is_chosen_for_normal_points():
    points = draws(2000, 8)
    assert len(choose_mixture(points).weights) == 1
    assert torch.equal(choose_mixture(points).means, fit_mixture(points, 1).means)  # fitted to all of them


def test_the_choice_needs_few_points():
    for n in (2, 3, 12):
        assert choose_mixture(draws(n, 2)).log_prob(draws(n, 2)).isfinite().all()


def test_fewer_distinct_points_than_components():
    points = draws(3, 2).repeat(20, 1)
    for fitted in (fit_mixture(points, 10), choose_mixture(points)):
        assert len(fitted.weights) == 3
        torch.testing.assert_close(fitted.weights, torch.full((3,), 1 / 3).double())
        assert torch.cdist(fitted.means, points).min(1).values.max() < 1e-6
        assert fitted.log_prob(points).isfinite().all()


def test_components_without_points_are_left_out(monkeypatch):
    """From a start with an empty cluster, and with one that shares all its points."""
    points = clusters(2, 200)
    start = torch.nn.functional.one_hot(torch.arange(200) % 2, 3).double()
    monkeypatch.setattr("entropic_ae.mixtures._start", lambda *_: start)
    fitted = fit_mixture(points, 3)
    assert len(fitted.weights) == 2
    torch.testing.assert_close(fitted.log_prob(points), fit_mixture(points, 2).log_prob(points))


@pytest.mark.parametrize("scales", [(1e-6, 1e-6), (1e6, 1e6), (1e-6, 1e6)])
def test_the_fit_does_not_depend_on_scales(scales):
    points, scale = bent(400, 2), torch.tensor(scales).double()
    fitted, scaled = fit_mixture(points, 5), fit_mixture(points * scale, 5)
    torch.testing.assert_close(scaled.means / scale, fitted.means)
    torch.testing.assert_close(scaled.covariances / scale / scale[:, None], fitted.covariances)
    torch.testing.assert_close(scaled.log_prob(points * scale), fitted.log_prob(points) - scale.log().sum())


@pytest.mark.parametrize("value", [0.0, 7.0, -1e-6])
@pytest.mark.parametrize("fit", [lambda points: fit_mixture(points, 5), choose_mixture])
def test_constant_and_dependent_dimensions(value, fit):
    points = draws(200, 3)
    points[:, 1], points[:, 2] = value, points[:, 0]
    fitted = fit(points)
    assert fitted.log_prob(points).isfinite().all()
    torch.testing.assert_close(fitted.means[:, 1], torch.full_like(fitted.weights, value))
    elsewhere = points + torch.tensor([0.0, 1.0, 0.0])
    assert fitted.log_prob(elsewhere).max() < fitted.log_prob(points).min() - 1e3
    assert not fitted.log_prob(elsewhere).isnan().any()


def test_points_that_are_all_equal():
    fitted = fit_mixture(torch.full((10, 2), 3.0), 4)
    assert fitted.weights.tolist() == [1]
    torch.testing.assert_close(fitted.means, torch.full((1, 2), 3.0).double())


def test_float32_points_are_fitted_in_float64():
    points = bent(300, 3).float()
    fitted = fit_mixture(points, 4)
    assert all(value.dtype == torch.float64 for value in fitted)
    assert torch.equal(fitted.means, fit_mixture(points.double(), 4).means)
    assert fitted.log_prob(points).dtype == torch.float64


def test_no_more_components_than_half_the_points():
    assert len(fit_mixture(draws(7, 3), 10).weights) == 3


def test_the_likelihood_of_draws_is_that_of_the_mixture_they_come_from():
    """Two clusters whose density is known: the fit's divergence from it is about its parameters over 2 N."""
    points = clusters(2, 4000, 2)
    truth = GaussianMixture(
        torch.full((2,), 0.5).double(),
        torch.tensor([[0.0], [10.0]]).double().expand(2, 2),
        torch.eye(2).double().expand(2, 2, 2),
    )
    gain = (fit_mixture(points, 2).log_prob(points) - truth.log_prob(points)).sum().item()
    assert 0 < 2 * gain < stats.chi2.ppf(0.999, 11)
    entropy = math.log(2) + math.log(2 * math.pi * math.e)
    assert -truth.log_prob(points).mean().item() == pytest.approx(entropy, abs=0.05)


def contaminated(n, dim=6, seed=0):
    """Draws of one mean and covariance A A', a fifth of them three times as far from it."""
    shape = draws(dim, dim, 100) / dim**0.5 + torch.eye(dim).double()
    factor = torch.where(torch.arange(n) % 5 == 0, 3.0, 1.0)[:, None]
    return factor * draws(n, dim, seed) @ shape.T + 2, shape @ shape.T


def test_scales_recover_a_contaminated_normal():
    points, covariance = contaminated(20_000)
    fitted = fit_mixture(points, 1, scales=2)
    assert torch.equal(fitted.means[0], fitted.means[1])
    torch.testing.assert_close(fitted.means[0], torch.full((6,), 2.0).double(), atol=0.03, rtol=0)
    order = fitted.weights.argsort(descending=True)
    torch.testing.assert_close(fitted.weights[order], torch.tensor([0.8, 0.2]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(fitted.covariances[order[0]], covariance, atol=0.03, rtol=0.03)
    torch.testing.assert_close(fitted.covariances[order[1]], 9 * covariance, atol=0.3, rtol=0.03)
    ratio = fitted.covariances[order[1]] / fitted.covariances[order[0]]
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))


def test_scales_of_normal_points_are_their_density():
    points, others = draws(5000, 4), draws(5000, 4, 1)
    gained = fit_mixture(points, 1, scales=3).log_prob(others) - fit_mixture(points, 1).log_prob(others)
    assert abs(gained.mean()) < 1e-3


def test_iterations_with_scales_never_lower_the_likelihood(monkeypatch):
    points = bent(600, 4)
    likelihoods = []
    for iterations in range(1, 30):
        monkeypatch.setattr("entropic_ae.mixtures._ITERATIONS", iterations)
        likelihoods.append(fit_mixture(points, 3, scales=3).log_prob(points).mean().item())
    rises = np.diff(likelihoods)
    assert rises.min() > -1e-5, likelihoods  # the ridge is added after the maximum
    assert likelihoods[-1] > likelihoods[0] + 0.05


def test_shrinkage_adds_points_of_the_average_shape():
    """Two clusters far apart, so that each point belongs to one: the covariances have a closed form."""
    first, second = draws(90, 2), 3 * draws(30, 2, 1) * torch.tensor([1.0, 2.0]) + 100
    points = torch.cat([first, second])
    _, deviation = mean_and_deviation(points)
    plain, shrunk = fit_mixture(points, 2), fit_mixture(points, 2, shrinkage=5.0)
    ridge = 1e-6 * deviation.square().diag()
    plain = plain.covariances[plain.means[:, 0].argsort()] - ridge
    average = 0.75 * plain[0] + 0.25 * plain[1] + ridge
    sizes = [torch.linalg.solve(average, own).trace() / 2 for own in plain]
    expected = [
        (count * own + 10 * size * average) / (count + 10)
        for count, own, size in zip((90, 30), plain, sizes, strict=True)
    ]
    found = shrunk.covariances[shrunk.means[:, 0].argsort()]
    torch.testing.assert_close(found, torch.stack(expected) + ridge, rtol=1e-5, atol=1e-4)


def test_shrinkage_helps_where_points_are_few():
    """Twenty components of 30 points in 16 dimensions, whose covariances are one."""
    centres = 4 * draws(20, 16, 5)
    points, others = (draws(n, 16, seed) + centres[torch.arange(n) % 20] for n, seed in ((600, 0), (2000, 1)))
    bare, shrunk = (fit_mixture(points, 20, shrinkage=value).log_prob(others).mean() for value in (0.0, 1.0))
    assert shrunk > bare + 2


@pytest.mark.parametrize("points", [torch.ones(50, 3), draws(3, 3).repeat(20, 1), draws(2, 3)])
def test_points_that_coincide_have_scales_and_shrinkage(points):
    fitted = fit_mixture(points, 5, scales=3, shrinkage=1.0)
    assert fitted.log_prob(points).isfinite().all()
    assert fitted.weights.sum().item() == pytest.approx(1)
    assert torch.linalg.eigvalsh(fitted.covariances).min() > 0


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_a_component_of_one_point_keeps_its_scales(scales):
    points = torch.cat([draws(300, 64), torch.full((1, 64), 50.0).double()])
    fitted = fit_mixture(points, 2, scales=scales, shrinkage=1.0)
    assert fitted.log_prob(points).isfinite().all()
    assert fitted.weights[fitted.means[:, 0] > 40].sum().item() == pytest.approx(1 / 301, rel=1e-3)


@pytest.mark.parametrize("scales", [2, 3])
def test_few_points_far_out_leave_the_others_their_covariance(scales, monkeypatch):
    """One point in fifty a hundred times as far: the scales are four orders of magnitude apart."""
    points = draws(1000, 2) * torch.where(torch.arange(1000) % 50 == 0, 100.0, 1.0)[:, None]
    likelihoods = []
    for iterations in (1, 2, 4, 8, 16, 32):
        monkeypatch.setattr("entropic_ae.mixtures._ITERATIONS", iterations)
        fitted = fit_mixture(points, 1, scales=scales)
        likelihoods.append(fitted.log_prob(points).mean().item())
    assert np.diff(likelihoods).min() > -1e-5, likelihoods
    deviations = fitted.covariances.diagonal(dim1=1, dim2=2).mean(1).sqrt()
    assert deviations.min().item() == pytest.approx(1, abs=0.1)
    assert deviations.max().item() > 80


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"components": 0}, "components must be a whole number of at least 1, got 0"),
        ({"components": True}, "components must be a whole number of at least 1, got True"),
        ({"scales": 2.5}, "scales must be a whole number of at least 1, got 2.5"),
        ({"scales": 0}, "scales must be a whole number of at least 1, got 0"),
        ({"shrinkage": -1}, "shrinkage must be a number of at least 0, got -1"),
        ({"shrinkage": math.nan}, "shrinkage must be a number of at least 0, got nan"),
    ],
)
def test_settings_that_cannot_be_fitted_are_refused(setting, message):
    with pytest.raises(InputError, match=f"^mixture.{message}"):
        fit_mixture(draws(20, 2), **{"components": 2, **setting})
