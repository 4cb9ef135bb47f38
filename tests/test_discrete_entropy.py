"""The entropy of codes of a finite alphabet, and the term that raises it, against known answers."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from entropic_ae import (
    BOTTLENECKS,
    Autoencoder,
    BatchNorm,
    Binary,
    InputError,
    Levels,
    MLPDecoder,
    MLPEncoder,
    NegativeDiscreteEntropy,
    NegativeEntropy,
    Objective,
    SquaredError,
    discrete_entropy,
)
from entropic_ae.estimators import groups_of, joint_usage, usage_entropy
from entropic_ae.randomness import generator

DISCRETE = [name for name, kind in BOTTLENECKS.items() if kind.is_discrete]
BIT = math.log(2)


def passed(bottleneck, h):
    """A pass of encoder outputs through a model of nothing but a bottleneck."""
    model = Autoencoder(nn.Identity(), bottleneck, nn.Identity())
    return model, model(h)


def outputs(codes):
    """Encoder outputs in the middle of the cells of codes of levels."""
    levels = len(codes.unique())
    return torch.atanh(codes * (levels - 1) / levels)


# estimates


def test_the_entropy_of_codes_is_that_of_the_shares_of_their_values():
    codes = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [5.0, 3.0]])
    expected = scipy.stats.entropy([3, 1]) + scipy.stats.entropy([1, 1, 2])
    assert discrete_entropy(codes).item() == pytest.approx(expected)
    assert discrete_entropy(codes[:2], others=codes[2:]).item() == pytest.approx(expected)
    for name in DISCRETE:
        prior = BOTTLENECKS[name](4).prior()
        drawn = prior.sample((20_000,))
        assert discrete_entropy(drawn).item() == pytest.approx(prior.entropy().item(), abs=0.01)
    with pytest.raises(InputError, match=r"expects codes \(N, D\), at least one, got shape \(0, 2\)"):
        discrete_entropy(codes[:0])
    with pytest.raises(InputError, match="expects finite codes, got NaN"):
        discrete_entropy(codes * math.nan)


@pytest.mark.parametrize(("states", "size"), [(2, 1), (2, 5), (3, 3), (4, 2)])
def test_joint_usage_is_the_mean_product_of_probabilities(states, size):
    p = torch.rand(7, 6, states, generator=generator(0), dtype=torch.float64)
    p = p / p.sum(2, keepdim=True)
    (group,) = groups_of(torch.tensor([4, 0, 3, 1, 5])[:size], size)
    found = joint_usage(p, group)
    expected = [
        sum(math.prod(p[n, t, k].item() for t, k in zip(group[0].tolist(), joint, strict=True)) for n in range(7))
        / 7
        for joint in itertools.product(range(states), repeat=size)
    ]
    torch.testing.assert_close(found[0], torch.tensor(expected).double())
    assert found.sum().item() == pytest.approx(1)


def test_joint_states_beyond_twelve_bits_are_refused():
    with pytest.raises(InputError, match="13 tokens of 2 states have 8,192 joint states, expected at most 4,096"):
        joint_usage(torch.rand(2, 13, 2), torch.arange(13)[None])


# the term


def everything(bits):
    return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits)


@pytest.mark.parametrize("group", [1, 2, 3, 4])
def test_codes_that_use_all_of_the_alphabet_alike_have_all_of_its_entropy(group):
    model, trace = passed(Binary(4), outputs(everything(4)))
    assert NegativeDiscreteEntropy(group=group)(model, trace).item() == pytest.approx(-4 * BIT)


def test_copies_are_seen_by_groups_and_dead_bits_by_each():
    free = everything(2)
    copied = torch.cat([free, free[:, :1], torch.ones(4, 1)], 1)  # the third copies the first, the fourth is dead
    model, trace = passed(Binary(4), torch.where(copied > 0, 2.0, -2.0))
    assert NegativeDiscreteEntropy(group=1)(model, trace).item() == pytest.approx(-3 * BIT)
    assert NegativeDiscreteEntropy(group=4)(model, trace).item() == pytest.approx(-2 * BIT)
    # pairs of four: one split in three has the two copies together
    found = [
        NegativeDiscreteEntropy(group=2)(model, trace._replace(step=step)).item() / BIT for step in range(300)
    ]
    assert {round(value, 3) for value in found} == {-3, -2}
    assert np.mean(np.array(found) > -2.5) == pytest.approx(1 / 3, abs=0.1)
    model.eval()  # the same split each time
    assert (
        len({NegativeDiscreteEntropy(group=2)(model, trace._replace(step=step)).item() for step in range(9)}) == 1
    )


def test_the_gradient_is_that_of_the_entropy_of_soft_assignments():
    h = torch.randn(6, 4, generator=generator(0), dtype=torch.float64, requires_grad=True)
    model, trace = passed(Binary(4), h)
    NegativeDiscreteEntropy(group=4)(model, trace).backward()
    p = Binary(4).assignments(h.detach().requires_grad_(), 0.5)
    other = h.detach().clone().requires_grad_()
    p = Binary(4).assignments(other, 0.5)
    (-usage_entropy(joint_usage(p, torch.arange(4)[None])).sum()).backward()
    torch.testing.assert_close(h.grad, other.grad)


def test_the_term_spreads_codes_over_the_alphabet():
    """Points that start in a corner with copied bits end with nearly all of the entropy."""
    h = torch.randn(200, 1, generator=generator(0)) * torch.ones(4) + 0.3 * torch.randn(
        200, 4, generator=generator(1)
    )
    h.requires_grad_()
    optimiser, term = torch.optim.Adam([h], 0.05), NegativeDiscreteEntropy()
    for step in range(150):
        model, trace = passed(Binary(4), h)
        loss = term(model, trace._replace(step=step))
        if step == 0:
            assert loss.item() > -3 * BIT
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    states = Binary(4).prior().to_states(h.detach())
    joint = joint_usage(nn.functional.one_hot(states, 2).double(), torch.arange(4)[None])
    assert usage_entropy(joint).item() > 0.97 * 4 * BIT


def test_memory_counts_the_codes_of_earlier_minibatches():
    codes = everything(3)
    model, _ = passed(Binary(3), outputs(codes))
    objective = Objective([NegativeDiscreteEntropy(group=3, memory=8)], model)
    found = []
    for part in outputs(codes).split(2):
        trace = model(part)
        found.append(objective(model, trace)[1]["negative_discrete_entropy"].item())
    assert found == pytest.approx([-math.log(n) for n in (2, 4, 6, 8)])
    model.eval()  # of the minibatch alone
    assert objective(model, model(outputs(codes)[:2]))[0].item() == pytest.approx(-BIT)


def test_outputs_that_are_not_finite_give_a_value_that_is_not():
    model, trace = passed(Binary(3), torch.full((5, 3), math.nan))
    assert NegativeDiscreteEntropy()(model, trace).isnan()


def test_the_size_of_a_group_follows_the_number_of_states():
    sizes = {states: NegativeDiscreteEntropy()._size(states) for states in (2, 3, 5, 8, 64, 65, 5000)}
    assert sizes == {2: 5, 3: 3, 5: 2, 8: 2, 64: 2, 65: 1, 5000: 1}


@pytest.mark.parametrize(
    ("term", "bottleneck", "sentence"),
    [
        (
            NegativeDiscreteEntropy(),
            BatchNorm(4),
            "bottleneck has a finite alphabet .*got BatchNorm; use NegativeEntropy",
        ),
        (
            NegativeEntropy(),
            Binary(4),
            "that of a density, and the codes of Binary are of a finite alphabet; use Neg",
        ),
        (
            NegativeDiscreteEntropy(group=5),
            Levels(6),
            r"entropy\.group=5 of 8 states each has 32,768 joint .* at most 4,096; set entropy\.group=4",
        ),
        (
            NegativeDiscreteEntropy(group=5),
            Binary(4),
            r"entropy\.group must be at most 4, the dimensions of a code",
        ),
    ],
)
def test_bottlenecks_and_groups_that_do_not_fit_are_refused(term, bottleneck, sentence):
    shape = (1, 8, 8)
    model = Autoencoder(MLPEncoder(shape, 4, hidden=8), bottleneck, MLPDecoder(shape, 4, hidden=8))
    with pytest.raises(InputError, match=sentence):
        Objective([SquaredError(), term], model)


def test_a_model_is_needed():
    _, trace = passed(Binary(3), torch.ones(5, 3))
    with pytest.raises(InputError, match=r"needs a model whose bottleneck .*, got NoneType"):
        NegativeDiscreteEntropy()(None, trace)


@pytest.mark.parametrize("wrong", [{"group": -1}, {"group": 1.5}, {"memory": -1}, {"temperature": 0.0}])
def test_fields_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=rf"entropy\.{next(iter(wrong))} must be"):
        NegativeDiscreteEntropy(**wrong)
