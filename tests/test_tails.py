"""Tails of distributions that are known, and the sum of two of them."""

import math

import pytest
import torch
from scipy import stats

from entropic_ae import InputError
from entropic_ae.metrics import p_values, tail_surprise


def draws(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_surprise_of_an_exponential_value_is_the_value():
    reference = -draws(20_000, 0).log()
    values = torch.tensor([0.0, 0.5, 2.0, 4.0, 9.0, 15.0])
    assert tail_surprise(values, reference).tolist() == pytest.approx(values.tolist(), rel=0.06, abs=0.01)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_it_does_not_depend_on_units_and_orders_values_beyond_the_reference(scale):
    reference = stats.norm.ppf(draws(500, 1))
    values = torch.linspace(-3, 12, 60).double()
    found = tail_surprise(values, reference)
    assert (found.diff() >= 0).all()
    assert (found[values > reference.max()].diff() > 0).all()
    assert torch.allclose(tail_surprise(scale * values + 3 * scale, scale * reference + 3 * scale), found)


def test_twice_the_sum_of_two_independent_surprises_is_chi_squared():
    """Fisher's statistic has 4 degrees of freedom; the tails beyond the reference keep it so."""
    n = 4000
    parts = [stats.expon.ppf(draws(2 * n, 2)), stats.norm.ppf(draws(2 * n, 3))]
    found = sum(tail_surprise(part[:n], part[n:]) for part in parts)
    assert stats.kstest(2 * found.numpy(), stats.chi2(4).cdf).statistic < 0.03
    for level in (0.1, 0.01):
        share = (2 * found > stats.chi2(4).isf(level)).double().mean().item()
        assert share == pytest.approx(level, abs=3 * math.sqrt(level / n) + 0.003)


def test_both_scores_together_find_what_each_finds_in_part():
    """Two shifts of half the values each: the sum ranks all of them above ordinary ones, each alone half."""
    ordinary = torch.randn(3, 1000, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    odd = ordinary[2].clone()
    odd[:500, 0] += 5
    odd[500:, 1] += 5
    surprise = [
        torch.stack([tail_surprise(one[:, i], ordinary[0, :, i]) for i in range(2)], 1)
        for one in (odd, ordinary[1])
    ]
    alone = [
        (odd_one > surprise[1][:, i].quantile(0.99)).double().mean() for i, odd_one in enumerate(surprise[0].T)
    ]
    together = (surprise[0].sum(1) > surprise[1].sum(1).quantile(0.99)).double().mean()
    assert max(alone) < 0.55
    assert together > 0.95


def test_p_values_of_ordinary_values_are_uniform():
    values, reference = draws(5000, 5), draws(999, 6)
    found = p_values(values, reference)
    assert found.min() == 1 / 1000
    assert stats.kstest(found.numpy(), "uniform").statistic < 0.06
    assert (p_values(torch.zeros(1), torch.zeros(20)) == 1).all()  # ties are no surprise


def test_equal_reference_values_have_no_tail():
    assert tail_surprise(torch.tensor([0.0, 1.0, 2.0]), torch.ones(39)).exp().tolist() == pytest.approx([1, 1, 40])


@pytest.mark.parametrize(
    ("values", "reference", "said"),
    [
        (torch.ones(2), torch.ones(19), r"reference expects at least 20 numbers \(N,\), got shape \(19,\)"),
        (torch.ones(2, 2), torch.ones(30), r"values expects at least 0 numbers \(N,\), got shape \(2, 2\)"),
        (torch.tensor([math.nan]), torch.ones(30), "values expects finite numbers"),
    ],
)
def test_wrong_values_are_refused(values, reference, said):
    for function in (tail_surprise, p_values):
        with pytest.raises(InputError, match=said):
            function(values, reference)


def test_values_at_the_start_of_the_tail_are_not_beyond_it():
    """Of 950 zeros and 50 larger values, 51 of 1,001 are beyond what is just above 0."""
    reference = torch.cat([torch.zeros(950), torch.linspace(1, 2, 50)])
    (found,) = tail_surprise(torch.tensor([1e-9], dtype=torch.float64), reference).tolist()
    assert found == pytest.approx(-math.log(51 / 1001), abs=1e-6)
