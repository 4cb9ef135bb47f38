import math

import numpy as np
import pytest
import torch
from sklearn.feature_selection import mutual_info_regression

from entropic_ae import InputError, mutual_information


def pair(n, dim, correlation, seed=0):
    x, noise = np.random.default_rng(seed).standard_normal((2, n, dim))
    return x, correlation * x + math.sqrt(1 - correlation**2) * noise


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_scikit_learn_in_one_dimension(k):
    x, y = (sample / sample.std() for sample in pair(500, 1, 0.8))  # scikit-learn scales, and adds noise of 1e-10
    expected = mutual_info_regression(x, y[:, 0], n_neighbors=k, random_state=0)[0]
    assert mutual_information(x, y, k) == pytest.approx(expected, abs=1e-4)
    assert mutual_information(torch.from_numpy(x[:, 0]), y[:, 0].tolist(), k) == mutual_information(x, y, k)


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
