"""How codes use a finite alphabet: their divergence from uniform use, of dimensions alone and of groups."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import scipy
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from entropic_ae.estimators import usage_entropy
from entropic_ae.priors import Alphabet
from entropic_ae.randomness import generator, seeded

__all__ = ["compare_usage"]

_DRAWS = 20  # samples of the prior, and permutations
_JOINT, _MOST_JOINT = 256, 4096  # joint states of a group: usual, and of a pair of tokens of many states
_EACH = 4  # codes for each joint state, at least
_WIDEST = 2048  # tokens times states, up to which all pairs are compared
_COPY = 0.99  # of its entropy that another token tells
_TOLD_BY_CHANCE = 0.9  # of its entropy, at most, where copies are looked for


class _Part(NamedTuple):
    """What codes lack of the entropy of their alphabet, in nats, also corrected for their number."""

    plain: float
    corrected: float


def compare_usage(codes: Tensor, prior: Alphabet, seed: int) -> dict[str, Any]:
    r"""Return the divergence of codes from the uniform distribution over an alphabet, by parts, with tests.

    $KL = T \log K - H(z)$ is the sum of

    - ``marginals``: $\sum_t \log K - H(z_t)$, of tokens alone;
    - ``groups``: $\sum_G \sum_{t \in G} H(z_t) - H(z_G)$, the total correlation within groups of tokens;
    - what is left between the groups, which is not measured. So the sum of the two estimates a lower bound.

    The groups have up to 256 joint states, pairs up to 4,096, fewer for few codes. Half of the codes choose them,
    each group around a pair with much information about each other; the other half is measured. Entropies of N
    codes are corrected by (states used - 1) / (2 N). What is left of the bias is that of 20 samples of the prior
    for the marginals, and for the groups that of 20 times the same half, the values of each token in another
    order: its tokens are independent and used as before. These also give the p-values, by Student's test of one
    more among them, on cube roots, which makes the chi-squared distributions of such statistics nearly normal.

    Arguments:
        codes: (N, D), of the alphabet.
        prior: T tokens of K states.
        seed: of the halves and the samples.

    Returns: ``divergence``, ``parts``, ``bias`` of the groups, ``p_values``, ``dependent``, the number of tokens
        that an earlier one determines but for a hundredth of their entropy, as far as chance does not, and
        ``usage``: ``quantum``, what a token is called, ``tokens``, ``states``, ``unused``, how many of the T K
        states no code has, ``entropy`` of each token, ``perplexity``, the exponential of their mean, ``group``,
        the size of a group, and ``pairs``, the information of two tokens in nats, ``mean`` and ``largest``, with
        the bias of the number of codes, some (K - 1)^2 / (2 N); None for one token and for too many states to
        compare.

    References:
        Miller, "Note on the bias of information estimates", 1955.
        Wilson and Hilferty, "The distribution of chi-square", 1931, for the cube roots.

    >>> from entropic_ae.priors import UniformLevels
    >>> bits = torch.randint(2, (2000, 2), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    >>> found = compare_usage(torch.cat([bits, bits], 1), UniformLevels(4, 2), 0)
    >>> round(found["parts"]["groups"] / torch.tensor(2.0).log().item(), 2), found["dependent"]
    (2.0, 2)
    """
    states = prior.to_states(codes)
    order = torch.randperm(len(states), generator=generator(seed))
    states = states[order]
    half = states[: len(states) // 2]
    information = _pairs(half, prior.states)
    size = _size(prior, len(states) - len(half))
    groups = _groups(information, size) if information is not None and size > 1 else []
    rest = states[len(half) :]
    with seeded(seed):
        uniform = [prior.to_states(prior.sample((len(states),))) for _ in range(_DRAWS)]
        shuffled = [_shuffled(rest) for _ in range(_DRAWS if groups else 0)]
        by_chance = None if information is None else _pairs(_shuffled(half), prior.states)
    found = {"marginals": _marginals(states, prior.states)}
    nulls = {"marginals": [_marginals(one, prior.states) for one in uniform]}
    if groups:
        found["groups"] = _correlation(rest, groups, prior.states)
        nulls["groups"] = [_correlation(one, groups, prior.states) for one in shuffled]
    bias = {name: statistics.mean(one.corrected for one in null) for name, null in nulls.items()}
    parts = {name: part.corrected - bias[name] for name, part in found.items()}
    shares = _shares(states, prior.states)
    entropies = usage_entropy(shares)
    return {
        "dependent": 0
        if information is None or by_chance is None
        else _copies(information, by_chance, usage_entropy(_shares(half, prior.states))),
        "divergence": sum(parts.values()),
        "parts": parts,
        "bias": bias.get("groups", 0.0),
        "p_values": {
            name: _p_value(part.plain, [one.plain for one in nulls[name]]) for name, part in found.items()
        },
        "usage": {
            "quantum": prior.quantum,
            "tokens": prior.tokens,
            "states": prior.states,
            "unused": int((shares == 0).sum()),
            "entropy": entropies.tolist(),
            "perplexity": entropies.mean().exp().item(),
            "group": size,
            "pairs": _summary(information),
        },
    }


def _shares(states: Tensor, count: int) -> Tensor:
    return one_hot(states, count).double().mean(0)


def _shuffled(states: Tensor) -> Tensor:
    """Return states, (N, T), with those of each token in another order."""
    return states.gather(0, torch.rand(states.shape).argsort(0))


def _marginals(states: Tensor, count: int) -> _Part:
    """Return what the tokens of codes, (N, T), lack of their maximum entropy."""
    shares, most = _shares(states, count), torch.tensor(count).double().log()
    return _Part((most - usage_entropy(shares)).sum().item(), (most - _entropy(shares, len(states))).sum().item())


def _correlation(states: Tensor, groups: Sequence[Tensor], count: int) -> _Part:
    """Return the total correlation within groups of the tokens of codes, (N, T)."""
    n, shares = len(states), _shares(states, count)
    alone, corrected = usage_entropy(shares), _entropy(shares, n)
    found = [0.0, 0.0]
    for group in groups:
        places = count ** torch.arange(len(group))
        joint = (states[:, group] * places).sum(1).bincount().double() / n
        found[0] += (alone[group].sum() - usage_entropy(joint)).item()
        found[1] += (corrected[group].sum() - _entropy(joint, n)).item()
    return _Part(*found)


def _entropy(shares: Tensor, n: int) -> Tensor:
    """Return the entropies of shares, (..., K), of n codes, corrected for their number."""
    return usage_entropy(shares) + ((shares > 0).sum(-1) - 1) / (2 * n)


def _p_value(value: float, null: list[float]) -> float:
    """Return Student's p-value of a value, of at least 0, as one more among those of the null, on cube roots."""
    root, *roots = [max(one, 0.0) ** (1 / 3) for one in (value, *null)]
    error = statistics.stdev(roots) * (1 + 1 / len(null)) ** 0.5
    if error == 0:
        return float(root <= roots[0])
    return float(scipy.stats.t.sf((root - statistics.mean(roots)) / error, len(null) - 1))


def _size(prior: Alphabet, n: int) -> int:
    """Return the number of tokens in a group whose joint states n codes can count."""
    size = 1
    while prior.states ** (size + 1) <= min(_JOINT, n // _EACH) and size < prior.tokens:
        size += 1
    pair = prior.states**2
    return 2 if size == 1 and prior.tokens > 1 and pair <= min(_MOST_JOINT, n // _EACH) else size


def _pairs(states: Tensor, count: int) -> Tensor | None:
    """Return the mutual information of all pairs of tokens in nats, (T, T); None for too many states."""
    n, tokens = states.shape
    if tokens < 2 or tokens * count > _WIDEST:
        return None
    rows = one_hot(states, count).flatten(1).float()
    joint = (rows.T @ rows).double().reshape(tokens, count, tokens, count).transpose(1, 2).flatten(2) / n
    entropies = usage_entropy(_shares(states, count))
    return (entropies[:, None] + entropies - usage_entropy(joint)).fill_diagonal_(0)


def _groups(information: Tensor, size: int) -> list[Tensor]:
    """Return groups of tokens: each starts with the pair of the most information, and adds what knows it most."""
    left = torch.ones(len(information), dtype=torch.bool)
    groups = []
    while int(left.sum()) > 1:
        among = torch.where(left & left[:, None], information, -1.0).fill_diagonal_(-1.0)
        first = int(among.max(1).values.argmax())
        chosen, gain = [first], among[first].clone()
        while len(chosen) < min(size, int(left.sum())):
            chosen.append(int(gain.argmax()))
            gain = gain + among[chosen[-1]]
            gain[chosen] = -torch.inf
        left[chosen] = False
        groups.append(torch.tensor(chosen))
    return groups


def _copies(information: Tensor, by_chance: Tensor, entropies: Tensor) -> int:
    """Return how many tokens an earlier one determines, up to a hundredth of their entropy.

    Few codes seem to determine much by chance: that of tokens in another order counts as none.
    """
    own = entropies[:, None]
    known = (own > 0) & (by_chance <= _TOLD_BY_CHANCE * own)
    copies = known & (information - by_chance >= _COPY * (own - by_chance))
    return int(copies.tril(-1).any(1).sum())


def _summary(information: Tensor | None) -> dict[str, float] | None:
    if information is None:
        return None
    tokens = len(information)
    return {
        "mean": information.sum().item() / (tokens * (tokens - 1)),
        "largest": information.max().item(),
    }
