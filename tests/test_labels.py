"""Accuracies of classifiers on codes, of known classes."""

import numpy as np
import pytest
import torch

from entropic_ae.errors import InputError
from entropic_ae.metrics import knn_accuracy, linear_probe_accuracy


def classes(n, distance, seed):
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=source)
    return torch.randn(n, 3, generator=source) + distance * (2 * labels[:, None] - 1), labels


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_probe_accuracy])
def test_accuracies_of_separate_and_of_equal_classes(accuracy):
    assert accuracy(*classes(300, 6, 0), *classes(200, 6, 1)) == 1
    assert accuracy(*classes(300, 0, 0), *classes(2000, 0, 1)) == pytest.approx(0.5, abs=0.05)


def test_a_linear_probe_reaches_the_best_accuracy_of_two_normals():
    distance = 0.5  # Phi(sqrt(3) / 2)
    found = linear_probe_accuracy(*classes(4000, distance, 0), *classes(20_000, distance, 1))
    assert found == pytest.approx(0.8068, abs=0.01)
    codes, labels = classes(4000, distance, 0)
    test, test_labels = classes(20_000, distance, 1)
    assert linear_probe_accuracy(1e3 * codes, labels, 1e3 * test, test_labels) == pytest.approx(found, abs=1e-3)


def test_neighbours_know_what_a_line_cannot():
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] * x[:, 1] > 0).long()
    assert knn_accuracy(x[:1500], labels[:1500], x[1500:], labels[1500:]) > 0.9
    assert linear_probe_accuracy(x[:1500], labels[:1500], x[1500:], labels[1500:]) < 0.65


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_probe_accuracy])
@pytest.mark.parametrize(
    ("labels", "test", "message"),
    [
        ([0, 1, 1], np.zeros((2, 2)), "needs training codes"),
        ([0, 1, 1, 0.5], np.zeros((2, 2)), "whole-numbered labels"),
        ([0, 1, 1, 0], np.zeros((2, 3)), "one width, got 2 and 3"),
        ([0, 1, 1, 0], np.zeros((0, 2)), "needs test codes"),
        ([0, 1, 1, 0], np.full((2, 2), np.nan), "must be finite"),
    ],
)
def test_codes_without_an_accuracy(accuracy, labels, test, message):
    with pytest.raises(InputError, match=message):
        accuracy(np.eye(4)[:, :2], labels, test, [0] * len(test))


def test_arguments_out_of_range():
    codes, labels = np.eye(4), [0, 1, 0, 1]
    with pytest.raises(InputError, match="from 1 to the number of training codes, 4, got 5"):
        knn_accuracy(codes, labels, codes, labels)
    with pytest.raises(InputError, match="at least 2 different labels"):
        linear_probe_accuracy(codes, [1] * 4, codes, labels)
    with pytest.raises(InputError, match="penalty must be above 0"):
        linear_probe_accuracy(codes, labels, codes, labels, penalty=0)
