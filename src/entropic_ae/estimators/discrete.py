"""The entropy of codes of a finite alphabet, exact for the usage that is given: of dimensions, and of groups."""

from __future__ import annotations

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import DivergenceError, InputError

__all__ = ["MOST_STATES", "discrete_entropy", "groups_of", "joint_usage", "usage_entropy"]

MOST_STATES = 4096  # joint states of a group, all of which are counted: 12 bits


def usage_entropy(usage: Tensor) -> Tensor:
    """Return the entropy in nats of distributions, (..., K), whose last axis sums to 1: (...).

    >>> usage_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    return torch.special.entr(usage).sum(-1)


def joint_usage(assignments: Tensor, groups: Tensor) -> Tensor:
    """Return how often groups of tokens take each of their joint states: (G, K^g), each row of sum 1.

    Given its code's probabilities, a token is independent of the others, so a code has a joint state with the
    product of the probabilities of its tokens. This is the mean of these products over codes, exact for all joint
    states. Of one-hot assignments it is the share of codes with each joint state.

    Arguments:
        assignments: probabilities of K states for each of T tokens of N codes, (N, T, K).
        groups: numbers of the tokens of G groups, (G, g).

    Raises: InputError for more than 4,096 joint states.

    >>> bits = torch.tensor([[0, 0], [1, 1]])  # two codes, whose second bit copies the first
    >>> joint_usage(torch.nn.functional.one_hot(bits, 2).float(), torch.tensor([[0, 1]]))
    tensor([[0.5000, 0.0000, 0.0000, 0.5000]])
    """
    size, states = groups.shape[1], assignments.shape[2]
    if states**size > MOST_STATES:
        raise InputError(
            f"{size} tokens of {states} states have {states**size:,} joint states, expected at most "
            f"{MOST_STATES:,}; take smaller groups."
        )
    parts = assignments[:, groups]  # (N, G, g, K)
    left, right = _products(parts[:, :, : size // 2]), _products(parts[:, :, size // 2 :])
    return torch.einsum("nga,ngb->gab", left, right).flatten(1) / len(assignments)


def _products(parts: Tensor) -> Tensor:
    """Return the products of probabilities, (N, G, g, K), for all joint states: (N, G, K^g)."""
    found = parts.new_ones(*parts.shape[:2], 1)
    for token in range(parts.shape[2]):
        found = (found[..., None] * parts[:, :, token, None]).flatten(2)
    return found


def groups_of(tokens: Tensor, size: int) -> list[Tensor]:
    """Return numbers of tokens, (T,), in groups of a size: (T // size, size), and the rest as one smaller group.

    >>> [found.tolist() for found in groups_of(torch.arange(5), 2)]
    [[[0, 1], [2, 3]], [[4]]]
    """
    whole = len(tokens) // size * size
    parts = (tokens[:whole].reshape(-1, size), tokens[None, whole:])
    return [part for part in parts if part.numel()]


def discrete_entropy(
    z: ArrayLike,
    k: int = 1,  # noqa: ARG001
    *,
    others: Tensor | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""Return the sum over dimensions of the entropies of their values, in nats: $\sum_d H(z_d)$.

    The entropy of a dimension is that of the shares of its values among the codes. The sum is the entropy of the
    codes if their dimensions are independent, and an upper bound of it otherwise. The shares of N codes have by
    about (L - 1) / (2 N) nats less entropy for each dimension of L values than the distribution they are of.

    Arguments:
        z: codes, (N, D), N of at least 1.
        k: of no effect; estimators of all bottlenecks are called alike.
        others: further codes that are counted with them, (M, D).
        check_finite: whether to check that codes are finite.

    Raises: InputError for no codes, or codes that are not finite.

    Reference: Miller, "Note on the bias of information estimates", 1955, for the bias.

    >>> discrete_entropy(torch.tensor([[-1.0, 1.0], [1.0, 1.0]])).item() == torch.tensor(2.0).log().item()
    True
    """
    z = as_tensor(z, "discrete_entropy")
    if z.dim() != 2 or len(z) == 0:
        raise InputError(f"discrete_entropy expects codes (N, D), at least one, got shape {tuple(z.shape)}.")
    if check_finite and not bool(z.isfinite().all()):
        raise DivergenceError(
            "discrete_entropy expects finite codes, got NaN or infinity; lower the learning rate."
        )
    counted = z if others is None else torch.cat([z, others.to(z)])
    kind = torch.promote_types(z.dtype, torch.float32)
    total = torch.zeros((), dtype=kind, device=z.device)
    for values in counted.detach().T:
        counts = values.unique(return_counts=True)[1]
        total = total + usage_entropy(counts.to(kind) / len(counted))
    return total
