"""Codes of a finite alphabet: bottlenecks, priors and their diagnosis, against known answers."""

import math

import pytest
import scipy.stats
import torch

import entropic_ae as eae
from entropic_ae import (
    BOTTLENECKS,
    Autoregressive,
    Binary,
    InputError,
    Levels,
    diagnose,
)
from entropic_ae.metrics import LEVEL, entropy_gap
from entropic_ae.networks import CausalTransformer
from entropic_ae.priors import Alphabet, Normal, UniformLevels
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


# the autoregressive density


def test_a_transformer_over_codes_is_an_exact_distribution_that_its_draws_follow():
    """Of codes whose second half copies the first; a symbol is half a code."""
    prior, codes = UniformLevels(12, 2), bits(1000, 6).repeat(1, 2)
    density = Autoregressive.fit(codes, prior, width=16, depth=1, epochs=12, batch_size=100, learning_rate=1e-2)
    assert (density.network.symbols, density.network.states) == (2, 64)
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 12)
    log_p = density.log_prob(every)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-4)
    new = -density.log_prob(bits(500, 6, seed=1).repeat(1, 2)).mean().item()
    assert 6 * BIT < new < 7 * BIT  # the prior has 12 bits
    drawn = density.sample(4000, seed=1)
    entropy = -(log_p.exp() * log_p).sum().item()
    assert -density.log_prob(drawn).mean().item() == pytest.approx(entropy, abs=0.1)
    assert (drawn[:, :6] == drawn[:, 6:]).all(1).float().mean() > 0.5
    assert density.log_prob(torch.zeros(1, 12)).item() == -math.inf


def test_a_transformer_draws_by_the_logits_of_a_whole_pass():
    network = CausalTransformer(5, 3, width=16)
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    drawn = network.draw(6000, generator(0))
    every = torch.cartesian_prod(*[torch.arange(3)] * 5)
    with torch.no_grad():
        p = network.log_prob(every).exp()
    counts = (drawn * 3 ** torch.arange(5).flip(0)).sum(1).bincount(minlength=3**5)
    likely = p > 5 / 6000
    kept = torch.cat([counts[likely], counts[~likely].sum()[None]])
    expected = torch.cat([p[likely], p[~likely].sum()[None]]).double()
    assert scipy.stats.chisquare(kept, 6000 * expected / expected.sum()).pvalue > 0.001


def test_codes_of_few_states_are_joined_to_symbols_that_divide_them():
    sizes = {(d, k): Autoregressive.fit(UniformLevels(d, k).sample((4,)), UniformLevels(d, k), width=16, epochs=1)
             for d, k in ((16, 2), (12, 2), (7, 2), (11, 2), (4, 8), (3, 300))}  # fmt: skip
    found = {key: (one.network.symbols, one.network.states) for key, one in sizes.items()}
    assert found == {
        (16, 2): (2, 256),
        (12, 2): (2, 64),
        (7, 2): (1, 128),
        (11, 2): (11, 2),
        (4, 8): (2, 64),
        (3, 300): (3, 300),
    }
    for (d, k), density in sizes.items():
        drawn = density.sample(200, seed=0)
        assert torch.equal(UniformLevels(d, k).nearest(drawn), drawn)


def test_a_transformer_of_continuous_codes_is_refused():
    with pytest.raises(InputError, match=r"expects codes of a finite alphabet .* got the prior N\(0, I\)"):
        Autoregressive.fit(torch.randn(50, 3), Normal.standard(3))
    for wrong in ({"width": 20}, {"depth": 0}, {"epochs": 0}, {"batch_size": 0}, {"learning_rate": -1.0}):
        with pytest.raises(InputError, match=rf"autoregressive\.{next(iter(wrong))} must be"):
            Autoregressive.check(**wrong)
    with pytest.raises(InputError, match="width must be a multiple of 16, got 8"):
        CausalTransformer(3, 2, width=8)


def test_dead_dimensions_are_a_part_of_what_an_alphabet_lacks():
    bits = torch.randint(2, (4000, 1), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    codes = torch.cat([bits, torch.ones(4000, 3)], 1)
    found = eae.diagnose(codes, eae.Binary(4).prior())
    assert found["dead"] == 3
    assert found["divergence"] == pytest.approx(3 * math.log(2), abs=0.01)
    assert found["verdict"].startswith(
        "codes: 3 of 4 dimensions are dead, all together 2.08 nats from uniform signs"
    )
    assert "(0.520 per dimension)" in found["verdict"]


def test_a_transformer_of_any_size_that_is_fitted_can_be_read_and_odd_codes_have_no_probability():
    prior = eae.Binary(2).prior()
    for size in ({"depth": 33}, {"width": 4112}):
        with pytest.raises(InputError, match=r"at most 32|up to 4096"):
            eae.Autoregressive.fit(prior.sample((4,)), prior, **size)
    density = eae.Autoregressive.fit(prior.sample((20,)), prior, width=16, epochs=1)
    odd = torch.tensor([[math.nan, 1], [math.inf, 1], [0.5, 1], [-1, 1]])
    assert density.log_prob(odd).isfinite().tolist() == [False, False, False, True]
    assert density.sample(0).shape == (0, 2)
