"""Codes of a finite alphabet: bottlenecks, priors and their diagnosis, against known answers."""

import math

import pytest
import scipy.stats
import torch

from entropic_ae import (
    BOTTLENECKS,
    Binary,
    InputError,
    Levels,
    diagnose,
)
from entropic_ae.metrics import LEVEL, entropy_gap
from entropic_ae.priors import Alphabet, UniformLevels
from entropic_ae.randomness import generator

DISCRETE = [name for name, kind in BOTTLENECKS.items() if kind.is_discrete]
BIT = math.log(2)


# bottlenecks and priors


def test_signs_are_bits_and_their_gradient_that_of_the_hyperbolic_tangent():
    h = torch.tensor([[0.3, -2.0, 0.0, -1e-9]], requires_grad=True)
    z = Binary(4)(h).z
    assert z.tolist() == [[1, -1, 1, -1]]
    z.sum().backward()
    torch.testing.assert_close(h.grad, 1 - h.detach().tanh().square())


@pytest.mark.parametrize("levels", [2, 3, 8])
def test_levels_are_those_of_equal_cells_of_the_cube(levels):
    y = torch.linspace(-1, 1, 12 * levels + 1, dtype=torch.float64)[:-1] + 1 / (12 * levels)
    z = Levels(1, levels=levels)(y.atanh()[:, None]).z[:, 0]
    values, counts = z.unique(return_counts=True)
    torch.testing.assert_close(values, torch.linspace(-1, 1, levels).double())
    assert counts.tolist() == [12] * levels  # a cube that is evenly filled has uniform levels
    assert Levels(1, levels=levels)(torch.tensor([[-math.inf], [math.inf]])).z.tolist() == [[-1], [1]]


@pytest.mark.parametrize("name", DISCRETE)
def test_the_prior_is_uniform_over_the_alphabet(name):
    bottleneck = BOTTLENECKS[name](3)
    prior = bottleneck.prior()
    assert isinstance(prior, Alphabet)
    every = torch.cartesian_prod(*[torch.arange(prior.states)] * prior.tokens).reshape(-1, prior.tokens)
    codes = prior.from_states(every)
    assert len(codes.unique(dim=0)) == prior.states**prior.tokens
    assert torch.equal(prior.to_states(codes), every)
    assert prior.entropy().item() == pytest.approx(math.log(len(codes)))
    assert prior.log_prob(codes.double()).exp().sum().item() == pytest.approx(1)
    assert prior.log_prob(codes[0] + 0.05).item() == -math.inf
    bottleneck.eval()
    z = bottleneck(torch.randn(50, bottleneck.in_features)).z
    assert torch.equal(prior.nearest(z), z)
    # what is decoded is of the alphabet
    loose = torch.randn(50, 3)
    assert torch.equal(bottleneck.inverse(loose), prior.nearest(loose))
    assert torch.equal(bottleneck.train().inverse(loose), loose)


@pytest.mark.parametrize("name", DISCRETE)
def test_what_only_continuous_codes_can_is_refused(name):
    prior = BOTTLENECKS[name](3).prior()
    codes = prior.sample((50,))
    with pytest.raises(InputError, match="has finitely many codes, expected a continuous prior"):
        prior.to_normal(codes)
    with pytest.raises(InputError, match="have no normal scores, since they have finitely many values"):
        prior.normal_scores(codes)


def test_draws_from_noise_change_their_level_at_the_normal_quantiles():
    prior = UniformLevels(1, 4)
    edges = torch.tensor(scipy.stats.norm.ppf([0.25, 0.5, 0.75]))[:, None]
    assert prior.to_states(prior.from_noise(edges)).flatten().tolist() == [1, 2, 3]
    assert prior.to_states(prior.from_noise(edges - 1e-6)).flatten().tolist() == [0, 1, 2]


def test_fewer_than_two_levels_are_refused():
    with pytest.raises(InputError, match="levels must be at least 2, got 1"):
        Levels(3, levels=1)
    with pytest.raises(InputError, match="levels must be at least 2, got 1"):
        UniformLevels(3, 1)


@pytest.mark.parametrize("name", DISCRETE)
def test_soft_assignments_are_most_probable_where_the_code_is(name):
    bottleneck = BOTTLENECKS[name](3)
    h = 2 * torch.randn(200, bottleneck.in_features, generator=generator(0))
    states = bottleneck.prior().to_states(bottleneck(h).z)
    for temperature in (0.05, 0.5):
        soft = bottleneck.assignments(h, temperature)
        torch.testing.assert_close(soft.sum(-1), torch.ones(soft.shape[:2]))
        assert torch.equal(soft.argmax(-1), states)
    hard = bottleneck.assignments(h, 1e-4)
    assert (hard.gather(2, states[..., None]) > 0.99).float().mean() > 0.98


def test_soft_signs_are_logistic():
    h = torch.randn(20, 2)
    expected = torch.sigmoid(h.tanh() / 0.5**2)  # cells of width 1, their centres at -1/2 and 1/2
    torch.testing.assert_close(Binary(2).assignments(h, 0.5)[..., 1], expected)


# diagnosis


def bits(n, d, seed=0):
    return 2.0 * torch.randint(2, (n, d), generator=generator(seed)) - 1


def test_the_divergence_of_copied_bits_is_a_bit_for_each(brief):
    codes = bits(2000, 8)
    codes[:, 6:] = codes[:, :2]
    codes[:, 5] = -codes[:, 4]
    found = diagnose(codes, UniformLevels(8, 2))
    assert found["divergence"] == pytest.approx(3 * BIT, abs=0.03)
    assert found["parts"]["groups"] == pytest.approx(3 * BIT, abs=0.03)
    assert found["p_values"]["groups"] < LEVEL < found["p_values"]["marginals"]
    assert found["dependent"] == 3
    assert found["usage"]["pairs"]["largest"] == pytest.approx(BIT, abs=0.01)
    assert "dimensions that copy others: 3; prior sampling is off mainly by groups" in found["verdict"]


def test_the_divergence_of_uneven_levels_is_that_of_their_shares(brief):
    shares = torch.tensor([0.7, 0.2, 0.1, 0.0])
    states = torch.multinomial(shares, 2000 * 6, replacement=True, generator=generator(0)).reshape(2000, 6)
    prior = UniformLevels(6, 4)
    found = diagnose(prior.from_states(states), prior)
    expected = 6 * (math.log(4) - scipy.stats.entropy(shares))
    assert found["parts"]["marginals"] == pytest.approx(expected, rel=0.02)
    assert found["parts"]["groups"] == pytest.approx(0, abs=0.03)
    assert found["usage"]["unused"] == 6
    assert found["usage"]["perplexity"] == pytest.approx(math.exp(scipy.stats.entropy(shares)), rel=0.02)
    assert found["p_values"]["marginals"] < LEVEL < found["p_values"]["groups"]
    assert found["verdict"].endswith("prior sampling is off mainly by marginals")


def test_parity_is_seen_in_its_group_though_every_pair_is_independent(brief):
    codes = bits(2000, 3)
    codes = torch.cat([codes, codes.prod(1, keepdim=True)], 1)
    found = diagnose(codes, UniformLevels(4, 2))
    assert found["usage"]["group"] == 4
    assert found["parts"]["groups"] == pytest.approx(BIT, abs=0.02)
    assert found["dependent"] == 0
    assert found["usage"]["pairs"]["largest"] < 0.01


def test_dead_bits_and_few_codes_of_a_small_alphabet_are_counted(brief):
    codes = bits(400, 3)
    codes[:, 0] = 1
    found = diagnose(codes, UniformLevels(3, 2))
    assert (found["dead"], found["distinct"], found["usage"]["unused"]) == (1, 4, 1)
    assert found["divergence"] == pytest.approx(BIT, abs=0.03)
    assert diagnose(torch.ones(400, 3), UniformLevels(3, 2))["verdict"] == "codes: all 3 dimensions are dead"


def test_the_gap_of_codes_counts_equal_ones():
    prior, codes = UniformLevels(2, 2), torch.ones(100, 2)
    codes[:50, 0] = -1
    found = entropy_gap(codes, prior, estimator=Binary.entropy)
    assert (found["n"], found["distinct"]) == (100, 2)
    assert found["entropy"] == pytest.approx(BIT)
    assert found["gap"] == pytest.approx(BIT)
