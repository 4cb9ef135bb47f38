import math
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_regression

from entropic_ae import InputError, mutual_information


def pair(n, dim, correlation, seed=0):
    x, noise = np.random.default_rng(seed).standard_normal((2, n, dim))
    return x, correlation * x + math.sqrt(1 - correlation**2) * noise


def stretched(sample, factor):
    """A sample whose values beyond one deviation are stretched: another deviation, and the same quantiles."""
    inner = sample.clip(-1, 1)
    return inner + factor * (sample - inner)


def spreads(sample):
    """Return the deviation, by which scikit-learn divides, as a multiple of half the distance of the quantiles."""
    low, high = np.quantile(sample, norm.cdf([-1, 1]))
    return 2 * sample.std() / (high - low)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_scikit_learn_in_one_dimension(k):
    x, y = pair(500, 1, 0.8)
    y = stretched(y, brentq(lambda factor: spreads(stretched(y, factor)) - spreads(x), 0.1, 10))
    expected = mutual_info_regression(x, y[:, 0], n_neighbors=k, random_state=0)[0]
    assert mutual_information(x, y, k) == pytest.approx(expected, abs=1e-4)
    assert mutual_information(torch.from_numpy(x[:, 0]), y[:, 0].tolist(), k) == mutual_information(x, y, k)


def test_units_and_far_points_change_nothing():
    x, y = pair(2000, 1, 0.6)
    plain = mutual_information(x, y)
    assert plain == pytest.approx(-math.log(0.8), abs=0.06)
    assert mutual_information(1000 * x + 5, -0.001 * y) == pytest.approx(plain, abs=1e-3)
    x[0] = 1e6
    assert mutual_information(x, y) == pytest.approx(plain, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("decimals", [0, 1, 3])
def test_rounded_values_are_near_scikit_learn(decimals, seed):
    x, y = (sample.round(decimals) for sample in pair(2000, 1, 0.6, seed))
    expected = mutual_info_regression(x, y[:, 0], random_state=0)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert mutual_information(x, y) == pytest.approx(expected, abs=0.05)


def test_classes_have_their_information():
    x, _ = pair(2000, 1, 0.0)
    assert mutual_information(x, x[:, 0] > 0) == pytest.approx(math.log(2), abs=0.03)


def test_copies_count_once():
    x, y = pair(1000, 1, 0.6)
    assert mutual_information(np.repeat(x, 5, 0), np.repeat(y, 5, 0)) == mutual_information(x, y)
    with pytest.raises(InputError, match="N=1 different pairs"):
        mutual_information(np.zeros(50), np.ones(50))


def test_equal_pairs_of_rounded_values_are_told():
    x, y = (sample.round(1) for sample in pair(500, 1, 0.6))
    equal = 500 - len(np.unique(np.hstack([x, y]), axis=0))
    with pytest.warns(UserWarning, match=f"{equal} of 500 pairs equal another"):
        mutual_information(x, y)


@pytest.mark.parametrize(("dim", "correlation"), [(1, 0.8), (1, 0.0), (2, 0.5)])
def test_known_information_of_normal_variables(dim, correlation):
    truth = -dim / 2 * math.log(1 - correlation**2)
    assert mutual_information(*pair(3000, dim, correlation)) == pytest.approx(truth, abs=0.06)


@pytest.mark.parametrize(
    ("x", "y", "k", "sentence"),
    [
        (np.zeros((5, 2)), np.zeros((4, 2)), 3, "of equal N"),
        (np.zeros((5, 2)), np.zeros((5, 2)), 5, "k from 1 to N - 1, got k=5"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), 3, "finite"),
    ],
)
def test_refuses(x, y, k, sentence):
    with pytest.raises(InputError, match=sentence):
        mutual_information(x, y, k)
