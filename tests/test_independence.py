"""The mutual information of codes and labels, by known answers, and the level of its permutation test."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_classif

from entropic_ae import InputError
from entropic_ae.metrics import label_information
from entropic_ae.metrics.independence import _by_distance, _estimate


def shifted(n, dim, shift, seed=0, classes=2):
    """Normal codes, those of class 1 shifted in the first dimension."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=source)
    codes = torch.randn(n, dim, generator=source)
    codes[:, 0] += shift * (labels == 1)
    return codes, labels


def information(shift):
    """Nats that a normal value of one of two equally frequent classes tells of its class."""

    def integrand(x):
        parts = norm.pdf(x), norm.pdf(x - shift)
        return sum(0.5 * p * math.log(p / (0.5 * sum(parts))) for p in parts if p > 0)

    return quad(integrand, -10, 10 + shift)[0]


@pytest.mark.parametrize("shift", [1.0, 2.0, 8.0])
def test_two_classes_in_one_dimension_tell_what_the_integral_says(shift):
    found = label_information(*shifted(2000, 1, shift))
    assert found["information"] == pytest.approx(information(shift), abs=0.04)
    assert found["entropy"] == pytest.approx(math.log(2), abs=1e-3)
    assert found["p_value"] == 0.01


def test_equals_scikit_learn_in_one_dimension():
    codes, labels = shifted(300, 1, 1.5, classes=3)
    ours = _estimate(_by_distance(codes.double()), labels, 3)
    expected = mutual_info_classif(codes, labels, n_neighbors=3, random_state=0)[0]
    assert ours == pytest.approx(expected, abs=1e-3)


def test_a_shifted_class_among_ten_is_found_in_sixteen_dimensions_and_scales_change_nothing():
    codes, labels = shifted(2000, 16, 2.0, classes=10)
    found = label_information(codes, labels)
    assert found["p_value"] == 0.01
    assert found["information"] > found["null"][2]
    assert label_information(codes * torch.arange(1, 17) + 3, labels)["information"] == pytest.approx(
        found["information"], abs=1e-6
    )


def test_classes_that_differ_in_shape_alone_are_found():
    codes, labels = shifted(2000, 4, 0.0)
    codes[labels == 1, :2] *= 1.5
    codes[labels == 0, :2] *= 1 / 1.5
    assert label_information(codes, labels)["p_value"] == 0.01


def test_independent_codes_pass_at_the_nominal_rate():
    """The rank of an estimate among 19 permutations is uniform: of 200 samples, a tenth has p <= 0.1."""
    p = np.array([label_information(*shifted(60, 3, 0.0, s, 3), permutations=19)["p_value"] for s in range(200)])
    assert p.min() >= 1 / 20
    assert abs((p <= 0.1).mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 200)
    assert abs((p <= 0.5).mean() - 0.5) < 4 * math.sqrt(0.25 / 200)


def test_labels_with_one_code_are_left_out_and_copies_bear_it():
    codes, labels = shifted(100, 2, 0.0)
    labels[7] = 5
    assert label_information(codes, labels)["n"] == 99
    assert math.isfinite(label_information(torch.zeros(40, 2), torch.arange(40) % 2)["information"])


@pytest.mark.parametrize(
    ("codes", "labels", "options", "sentence"),
    [
        (torch.zeros(4), [0, 1, 0, 1], {}, r"codes \(N, D\)"),
        (torch.zeros(4, 1), [0, 1, 0], {}, r"labels \(N,\)"),
        (torch.zeros(4, 1), [0.0, 1.0, 0.0, 1.0], {}, "whole-numbered"),
        (torch.zeros(4, 1), [1, 1, 1, 1], {}, "at least 2 labels with at least 2 codes"),
        (torch.zeros(4, 1), [0, 1, 2, 2], {}, "at least 2 labels with at least 2 codes"),
        (torch.zeros(4, 1), [0, 1, 0, 1], {"k": 0}, "must be at least 1, got 0 and 99"),
        (torch.tensor([[math.nan]] * 4), [0, 1, 0, 1], {}, "NaN"),
    ],
)
def test_wrong_input_is_refused(codes, labels, options, sentence):
    with pytest.raises(InputError, match=sentence):
        label_information(codes, labels, **options)
