"""Kernel and sliced distances, and intervals, against closed forms, loops and simulations."""

import itertools
import math

import pytest
import torch
from scipy import stats

from entropic_ae.errors import InputError
from entropic_ae.metrics import distances as module
from entropic_ae.metrics import interval, kernel_distance, sliced_distance


def normal(n, dim, seed=0):
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def all_pairs(x, y):
    n, m = len(x), len(y)
    a, b = (k.sum() - k.trace() for k in (kernel(x, x), kernel(y, y)))
    return (a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * kernel(x, y).mean()).item()


@pytest.mark.parametrize("chunk", [2**21, 50])
def test_kernel_distance_of_all_pairs(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    real, fake = normal(30, 5), normal(20, 5, seed=1) + 0.5
    estimate, error = kernel_distance(real, fake)
    assert estimate == pytest.approx(all_pairs(real, fake), rel=1e-10)
    assert error > 0
    monkeypatch.setattr(module, "_CHUNK", 2**21)
    assert kernel_distance(real, fake)[1] == pytest.approx(error, rel=1e-10)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(4))
    assert kernel_distance(real[order], fake) == pytest.approx((estimate, error), rel=1e-10)


def test_one_subset_of_all_rows_is_all_pairs():
    real, fake = normal(25, 6), normal(25, 6, seed=1) + 0.2
    by_torchmetrics = kernel_distance(real, fake, subsets=1, subset_size=25)
    assert kernel_distance(real, fake)[0] == pytest.approx(by_torchmetrics[0], rel=1e-10)


def test_kernel_distance_of_a_set_against_itself_is_unbiased():
    """Over all ways to halve one set the mean is 0, exactly."""
    rows = normal(8, 3)
    halves = [list(half) for half in itertools.combinations(range(8), 4)]
    found = [kernel_distance(rows[half], rows[[i for i in range(8) if i not in half]])[0] for half in halves]
    assert sum(found) / len(found) == pytest.approx(0, abs=1e-12)
    assert min(found) < 0 < max(found)


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 0.9, 1.4), (0.5, 0.85, 1.15)])
def test_standard_error_of_the_kernel_distance(shift, least, most):
    draws = [kernel_distance(normal(80, 4, seed), normal(60, 4, 10_000 + seed) + shift) for seed in range(300)]
    estimates, errors = torch.tensor(draws).double().T
    assert least < errors.mean().item() / estimates.std().item() < most
    # the kernel's expectations for N(0, I) and N(m, I) are polynomials in q = ||m||^2
    dim, q = 4, 4 * shift**2
    expected = (q**3 + 6 * q**2 + 3 * q * dim + 6 * q) / dim**3 + 3 * (q / dim) ** 2 + 3 * q / dim
    assert estimates.mean().item() == pytest.approx(expected, abs=4 * estimates.std().item() / math.sqrt(300))


def test_kid_convention_when_either_argument_is_given():
    real, fake = normal(60, 4), normal(50, 4, seed=1)
    whole = kernel_distance(real, fake, subsets=100, subset_size=20)
    assert kernel_distance(real, fake, subset_size=20) == whole
    assert kernel_distance(real, fake, subsets=3) == kernel_distance(real, fake, subsets=3, subset_size=1000)


def test_sliced_distance_of_a_shift():
    x = normal(200, 1)
    assert sliced_distance(x, x - 4) == pytest.approx(3 * 16, rel=1e-12)
    x, shift = normal(200, 6), torch.tensor([1.0, 2, 0, 0, -2, 0]).double()
    # the mean over directions u of (u^T d)^2 is ||d||^2 / F; its deviation over 20,000 directions is 1 %
    assert sliced_distance(x, x + shift, projections=20_000) == pytest.approx(3 * 9, rel=0.04)
    assert sliced_distance(x, x) == 0


def test_sliced_distance_of_a_scaled_set():
    x = normal(300, 5)
    expected = 3 * x.square().sum(1).mean().item()  # (2 - 1)^2 of the second moment, F times / F
    assert sliced_distance(x, 2 * x, projections=20_000) == pytest.approx(expected, rel=0.03)


def test_sliced_distance_of_two_normals():
    """The squared 2-Wasserstein distance of N(0, 1) and N(m, s^2) is m^2 + (s - 1)^2."""
    found = sliced_distance(normal(200_000, 1), 3 * normal(150_000, 1, seed=1) + 2, projections=1)
    assert found == pytest.approx(3 * (4 + 4), rel=0.02)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 4), (3, 7), (1, 5)])
def test_sliced_distance_of_unequal_numbers_repeats_rows(n, m):
    """Repeating each row changes no distribution; then both have equal numbers."""
    real, fake = normal(n, 3), normal(m, 3, seed=1) + 1
    found = sliced_distance(real, fake, projections=50, seed=3)
    equal = sliced_distance(real.repeat(m, 1), fake.repeat(n, 1), projections=50, seed=3)
    directions = torch.randn(50, 3, generator=torch.Generator().manual_seed(3)).double()
    directions /= directions.norm(dim=1, keepdim=True)
    x, y = ((z @ directions.T).sort(0).values for z in (real.repeat(m, 1), fake.repeat(n, 1)))
    assert found == pytest.approx(equal, rel=1e-12)
    assert found == pytest.approx(9 * (x - y).square().mean().item(), rel=1e-12)


def test_sliced_distance_in_parts(monkeypatch):
    real, fake = normal(40, 3), normal(30, 3, seed=1)
    whole = sliced_distance(real, fake)
    monkeypatch.setattr(module, "_CHUNK", 700)
    assert sliced_distance(real, fake) == pytest.approx(whole, rel=1e-12)
    assert sliced_distance(real, fake, seed=1) != whole


def test_sliced_distance_refuses():
    with pytest.raises(InputError, match="at least 1 projection"):
        sliced_distance(normal(3, 2), normal(3, 2), projections=0)
    with pytest.raises(InputError, match="one width"):
        sliced_distance(normal(3, 2), normal(3, 3))


def mean_difference(x, y):
    return float(y.mean() - x.mean())


def test_interval_of_a_difference_of_means():
    """For a mean the standard error over halves is the textbook's."""
    x, y = normal(400, 1), 2 * normal(100, 1, seed=1) + 3
    found = interval(mean_difference, x, y, resamples=2000)
    error = math.sqrt((x.var() / 400 + y.var() / 100).item())
    assert found.estimate == mean_difference(x, y)
    assert found.standard_error == pytest.approx(error, rel=0.06)
    width = stats.t.ppf(0.975, 1999) * found.standard_error
    assert (found.low, found.high) == pytest.approx((found.estimate - width, found.estimate + width))
    assert interval(mean_difference, x, y) == interval(mean_difference, x, y)
    assert interval(mean_difference, x, y) != interval(mean_difference, x, y, seed=1)
    assert interval(mean_difference, x, y, level=0.5).high < interval(mean_difference, x, y).high


def frechet(x, y):
    """The distance in one dimension: of means and of standard deviations."""
    return float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)


def test_interval_covers_the_frechet_distance():
    draws = [(normal(100, 1, seed), 1.5 * normal(100, 1, 10_000 + seed) + 1) for seed in range(150)]
    expected = sum(frechet(x, y) for x, y in draws) / len(draws)
    found = [interval(frechet, x, y, seed=seed) for seed, (x, y) in enumerate(draws)]
    covered = sum(one.low <= expected <= one.high for one in found) / len(found)
    assert covered == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (9, {"resamples": 1}, "at least 2 resamples"),
        (9, {"level": 1.0}, "below 1"),
        (3, {}, "at least 4 rows of real"),
    ],
)
def test_interval_refuses(n, options, message):
    with pytest.raises(InputError, match=message):
        interval(mean_difference, normal(n, 1), normal(9, 1), **options)
