"""The entropy of codes of a finite alphabet as a term."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.bottlenecks import Quantised
from entropic_ae.distributed import gather
from entropic_ae.errors import InputError
from entropic_ae.estimators import MOST_STATES, groups_of, joint_usage, usage_entropy
from entropic_ae.randomness import generator
from entropic_ae.terms.term import Term

__all__ = ["NegativeDiscreteEntropy"]

_FEW_STATES = 32  # joint states of a group by default: a third of the usual minibatch


@dataclass(frozen=True)
class NegativeDiscreteEntropy(Term):
    r"""Negative entropy of how a minibatch uses a finite alphabet, in nats.

    The dimensions of a code (its tokens) are split into groups of g at random, in each step anew. The value is
    $-\sum_G H(q_G)$, where $q_G$ is the share of codes with each of the $K^g$ joint states of the group, all of
    which are counted. Since

    $H(z) \le \sum_G H(z_G) \le \sum_d H(z_d) \le D \log K$,

    the sum is greatest if and only if the codes of each group are uniform. With g = 1 it sees each dimension
    alone, and dimensions that copy each other go unnoticed; from g = 2 on every pair meets in some step.

    Counts have no gradient. So it is that of the same sum for soft assignments of the encoder's output to states
    (``Quantised.assignments``): $\sum_k \log \bar p_k \, \nabla \bar p_k$ for each group, with the mean
    $\bar p$ over the minibatch of the products of the probabilities of its dimensions. States that are used too
    often push codes away, the more the nearer these are to another state.

    The entropy of few codes is low by chance: N of them use N states at most. Groups of many more joint states
    need a memory, the codes of earlier minibatches that are counted with these. The logarithm is then of the usage
    of all of them.

    Attributes:
        group: dimensions of a group; their joint states are at most 4,096 (12 bits). 0 takes as many as have 32
            joint states at most (5 bits), but 2 at least where 4,096 allow that.
        temperature: of the soft assignments, in units of a cell of the alphabet.
        memory: number of codes of earlier minibatches that are counted too.

    Raises: InputError, when the objective is built, for a bottleneck without a finite alphabet, or groups of more
        joint states.

    References:
        Yu et al., "Language model beats diffusion: tokenizer is key to visual generation", 2023, equation (5), for
        an entropy of soft assignments, https://arxiv.org/abs/2310.05737. Theirs also lowers the entropy of each
        code's assignment; here nothing does.
        Ghose, Rashwan and Poupart, "Batch norm with entropic regularization turns deterministic autoencoders into
        generative models", 2020, section 6, https://arxiv.org/abs/2002.10631.

    >>> from torch import nn
    >>> from entropic_ae.bottlenecks import Binary
    >>> model = Autoencoder(nn.Identity(), Binary(2), nn.Identity())
    >>> trace = model(torch.tensor([[9.0, 9.0], [-9.0, -9.0]]))  # of two bits the second copies the first
    >>> [round(NegativeDiscreteEntropy(group=g)(model, trace).item() / math.log(2), 3) for g in (1, 2)]
    [-2.0, -1.0]
    """

    group: int = 0
    temperature: float = 0.5
    memory: int = 0

    name = "negative_discrete_entropy"
    setting = "entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("group", "memory"):
            if not isinstance(value := getattr(self, name), Integral) or value < 0:
                raise InputError(f"{self.setting}.{name} must be a whole number of at least 0, got {value}.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"{self.setting}.temperature must be above 0, got {self.temperature}.")

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the negative entropy; encoder outputs that are not finite give a value that is not, no error."""
        bottleneck = _quantised(model)
        assert trace.hidden is not None
        prior = bottleneck.prior()
        soft = bottleneck.assignments(gather(trace.hidden), self.temperature)

        def hard(z: Tensor) -> Tensor:
            return one_hot(prior.to_states(z.nan_to_num()), prior.states).to(soft)

        used = hard(gather(trace.code.z.detach()))
        earlier = hard(trace.recent) if self.memory and trace.recent is not None and model.training else used[:0]
        ours = len(used) / (len(used) + len(earlier))
        # in validation the same groups each time
        source = generator(trace.step if model.training else 0)
        order = torch.randperm(prior.tokens, generator=source).to(soft.device)
        entropy = soft.new_zeros(())
        for groups in groups_of(order, self._size(prior.states)):
            before = joint_usage(earlier, groups) if len(earlier) else 0.0
            shares = joint_usage(soft, groups)
            usage = ours * shares.detach() + (1 - ours) * before
            push = -(shares * usage.clamp_min(torch.finfo(usage.dtype).tiny).log()).sum()
            exact = usage_entropy(ours * joint_usage(used, groups) + (1 - ours) * before).sum()
            entropy = entropy + exact + (push - push.detach())
        return -entropy

    @property
    def recent_codes(self) -> int:
        """The memory."""
        return self.memory

    def check(self, model: Autoencoder) -> None:
        """Reject a bottleneck without a finite alphabet, and groups of too many joint states."""
        prior = _quantised(model).prior()
        states = prior.states
        if self.group > prior.tokens:
            raise InputError(
                f"{self.setting}.group must be at most {prior.tokens}, the {prior.quantum}s of a code, got "
                f"{self.group}."
            )
        if states ** self._size(states) > MOST_STATES:
            least = f"; set {self.setting}.group={largest}" if (largest := _most(states, MOST_STATES)) else ""
            raise InputError(
                f"{self.setting}.group={self.group} of {states:,} states each has "
                f"{states ** self._size(states):,} joint states, expected at most {MOST_STATES:,}{least}."
            )

    def _size(self, states: int) -> int:
        """Return the number of tokens in a group."""
        return self.group or max(_most(states, _FEW_STATES), min(2, _most(states, MOST_STATES)), 1)


def _quantised(model: Autoencoder) -> Quantised:
    """Return the bottleneck of a model; InputError if it has no finite alphabet."""
    bottleneck = getattr(model, "bottleneck", None)
    if not isinstance(bottleneck, Quantised):
        raise InputError(
            "NegativeDiscreteEntropy needs a model whose bottleneck has a finite alphabet (Binary, Levels, ...), "
            f"got {type(model if bottleneck is None else bottleneck).__name__}; use NegativeEntropy."
        )
    return bottleneck


def _most(states: int, joint: int) -> int:
    """Return the largest number of tokens that have so many joint states at most."""
    size = 0
    while states ** (size + 1) <= joint:
        size += 1
    return size
