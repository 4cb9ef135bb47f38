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
from entropic_ae.generation import mix_codes, walk_codes
from entropic_ae.metrics import LEVEL, entropy_gap
from entropic_ae.metrics.usage import compare_usage
from entropic_ae.networks import CausalTransformer
from entropic_ae.priors import Alphabet, Normal, UniformLevels
from entropic_ae.randomness import generator
from entropic_ae.recipes import PRESETS, RECIPES, configure

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


@pytest.mark.parametrize("levels", [1, 2.5])
def test_levels_are_two_at_least_and_whole(levels):
    for kind in (Levels, UniformLevels):
        with pytest.raises(InputError, match=f"levels must be a whole number of at least 2, got {levels}"):
            kind(3, levels=levels)


@pytest.mark.parametrize(("levels", "dim"), [(2, 128), (4, 64), (5, 64)])
def test_between_two_codes_values_change_one_after_the_other(levels, dim):
    prior = UniformLevels(dim, levels)
    a, b = prior.sample((100,)).split(50)
    t = torch.linspace(0, 1, 11)
    path = mix_codes(a, b, t, prior=prior)
    assert torch.equal(path[:, 0], a)
    assert torch.equal(path[:, -1], b)
    assert torch.equal(prior.nearest(path.flatten(0, 1)), path.flatten(0, 1))
    towards = (b - a).sign()[:, None]
    assert (path.diff(dim=1) * towards >= 0).all()  # no value turns back
    moved = (path - a[:, None]).abs().sum(2) / (b - a).abs().sum(1)[:, None]
    torch.testing.assert_close(moved.mean(0), t, atol=0.02, rtol=0)
    halfway = path[:, 5].mean().item()
    assert halfway == pytest.approx(((a + b) / 2).mean().item(), abs=0.02)  # no level is preferred
    turned = mix_codes(b, a, t, prior=prior).flip(1)
    torch.testing.assert_close(turned[:, 1:-1], path[:, 1:-1], atol=2 / (levels - 1) + 1e-6, rtol=0)
    assert torch.equal(walk_codes(torch.stack([a[0], b[0]]), 10, prior=prior)[:11], path[0])


def test_codes_off_the_alphabet_are_refused(brief):
    prior = UniformLevels(8, 2)
    codes = bits(200, 8)
    for wrong in ((codes + 1) / 2, codes + 0.1, 0.3 * codes):
        for use in (lambda z: diagnose(z, prior), lambda z: Autoregressive.fit(z, prior, width=16, epochs=1)):
            with pytest.raises(
                InputError, match=r"expects codes of uniform signs \(.*\), got \d+ of 200 that are not"
            ):
                use(wrong)
    with pytest.raises(InputError, match=r"uniform signs expects codes \(\.\.\., 8\), got shape \(200, 5\)"):
        prior.log_prob(codes[:, :5])


def test_the_gap_under_an_alphabet_is_of_counts():
    prior, codes = UniformLevels(8, 2), bits(500, 8)
    assert entropy_gap(codes, prior) == entropy_gap(codes, prior, estimator=Binary.entropy)


def test_a_transport_of_finitely_many_codes_is_refused_before_training():
    system = configure(RECIPES["q-eae"], PRESETS["digits"], {"transport": "gaussian"})
    with pytest.raises(
        InputError, match="maps continuous codes, and those of the bottleneck Binary are of a finite"
    ):
        system.build((1, 8, 8))


def test_a_setting_of_another_bottleneck_or_network_names_it():
    for name, home in (("levels", "bottleneck=levels"), ("grid", "network=grid")):
        with pytest.raises(InputError, match=f"{name} is a setting of {home}; set that too"):
            configure(RECIPES["q-eae"], PRESETS["digits"], {name: 4})


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


def test_independent_bits_that_are_uneven_have_no_groups(brief):
    for seed, (p, dim) in enumerate([(0.3, 16), (0.1, 32)]):
        codes = torch.bernoulli(torch.full((2000, dim), p), generator=generator(seed)) * 2 - 1
        found = diagnose(codes, UniformLevels(dim, 2))
        assert found["parts"]["groups"] == pytest.approx(0, abs=0.05)
        assert found["p_values"]["marginals"] < LEVEL < found["p_values"]["groups"]


def test_the_tests_of_usage_keep_their_level():
    """Of 100 sets of uniform bits, in few dimensions, where what they lack is far from normal."""
    rejected = {"marginals": 0, "groups": 0}
    for seed in range(100):
        found = compare_usage(bits(400, 2, seed=seed), UniformLevels(2, 2), seed)
        for part, p in found["p_values"].items():
            rejected[part] += p <= LEVEL
    assert max(rejected.values()) <= 5  # 1 expected; P(> 5) = 0.0005


def test_few_codes_of_many_states_copy_each_other_by_chance_only():
    prior = UniformLevels(4, 256)
    codes = prior.sample((60,))
    assert compare_usage(codes, prior, 0)["dependent"] == 0
    many = UniformLevels(4, 16).from_states(torch.randint(16, (1000, 4), generator=generator(0)))
    many[:, 3] = many[:, 0]
    assert compare_usage(many, UniformLevels(4, 16), 0)["dependent"] == 1


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
        "codes: 3 of 4 dimensions are dead, all together at least 2.08 nats from uniform signs"
    )
    assert "(0.520 per dimension)" in found["verdict"]


def test_a_transformer_of_few_codes_does_not_learn_them_by_heart():
    prior = UniformLevels(8, 2)
    density = Autoregressive.fit(bits(15, 8), prior, width=16, depth=1, epochs=60)
    new = -density.log_prob(bits(500, 8, seed=1)).mean().item()
    assert new < 9 * BIT  # uniform: 8 bits


def test_a_transformer_of_any_size_that_is_fitted_can_be_read_and_odd_codes_have_no_probability():
    prior = eae.Binary(2).prior()
    for size in ({"depth": 33}, {"width": 4112}):
        with pytest.raises(InputError, match=r"at most 32|up to 4096"):
            eae.Autoregressive.fit(prior.sample((4,)), prior, **size)
    density = eae.Autoregressive.fit(prior.sample((20,)), prior, width=16, epochs=1)
    odd = torch.tensor([[math.nan, 1], [math.inf, 1], [0.5, 1], [-1, 1]])
    assert density.log_prob(odd).isfinite().tolist() == [False, False, False, True]
    assert density.sample(0).shape == (0, 2)
