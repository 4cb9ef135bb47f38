"""Priors over codes of a finite alphabet: each token of a code is one of so many states, all equally likely."""

from __future__ import annotations

import math
from numbers import Integral
from statistics import NormalDist
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from entropic_ae.errors import InputError
from entropic_ae.priors.distributions import CodePrior

__all__ = ["Alphabet", "UniformLevels", "check_levels", "level_values"]

_GOLDEN = (math.sqrt(5) - 1) / 2
_CLOSE = 1e-3  # of a level: a value that is nearer to one is that level


class Alphabet(CodePrior):
    """The uniform distribution over codes of a finite alphabet, which has the maximum entropy among all of them.

    A code is a sequence of T tokens, each one of K states. ``log_prob`` and ``entropy`` are those of
    probabilities, not of densities: a code has the probability K^-T, and the entropy is T log K nats. The
    distribution has no normal scores, which a map between continuous codes would need.

    Attributes:
        tokens: number T of tokens in a code.
        states: number K of states of a token.
        quantum: what has the states, one word: dimension, token.

    >>> prior = UniformLevels(3, 2)
    >>> prior.tokens, prior.states, round(prior.entropy().item() / math.log(2), 6)
    (3, 2, 3.0)
    """

    quantum: str = "token"
    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector

    def __init__(self, dim: int, tokens: int, states: int) -> None:
        super().__init__(event_shape=torch.Size([dim]), validate_args=False)
        self.tokens, self.states = tokens, states

    def to_states(self, codes: Tensor) -> Tensor:
        """Return the states of codes, (N, D), each of the nearest code of the alphabet: int64 (N, T)."""
        raise NotImplementedError

    def from_states(self, states: Tensor) -> Tensor:
        """Return the codes, (N, D) float32, of states, int64 (N, T)."""
        raise NotImplementedError

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw codes, (*sample_shape, D)."""
        shape = torch.Size(sample_shape)
        drawn = torch.randint(self.states, (shape.numel(), self.tokens))
        return self.from_states(drawn).reshape(*shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the logarithm of the probability of codes, (..., D); minus infinity off the alphabet."""
        if value.shape[-1:] != self.event_shape:
            raise InputError(
                f"{self.title} expects codes (..., {self.event_shape[0]}), got shape {tuple(value.shape)}."
            )
        found = self._has(value.reshape(-1, *self.event_shape)).reshape(value.shape[:-1])
        return torch.where(found, -self.entropy().to(value), -math.inf)

    def _has(self, codes: Tensor) -> Tensor:
        """Return which codes, (N, D), are of the alphabet: bool (N,)."""
        return torch.isclose(self.nearest(codes.nan_to_num(math.inf)), codes).all(1)

    def entropy(self) -> Tensor:
        """Return T log K, in nats."""
        return torch.tensor(self.tokens * math.log(self.states))

    def nearest(self, codes: Tensor) -> Tensor:
        """Return the nearest code of the alphabet to each code, (N, D)."""
        return self.from_states(self.to_states(codes)).to(codes)

    def dithered(self, codes: Tensor) -> Tensor:
        """Return codes of the alphabet for codes between them, (N, D), some values moved up and others down.

        So the values of a code change one after the other where it moves to another code, and the mean over
        dimensions is kept. Codes of the alphabet stay what they are. This base class moves all values to the
        nearest code.
        """
        return self.nearest(codes)

    def check_codes(self, codes: Tensor, who: str) -> None:
        """Raise InputError if codes, (N, D), are not of the alphabet, up to rounding."""
        if wrong := int((~self._has(codes)).sum()):
            raise InputError(
                f"{who} expects codes of {self.title} ({self.description}), got {wrong:,} of {len(codes):,} that "
                "are not; give codes of the bottleneck, or the nearest ones (prior.nearest)."
            )

    def to_normal(self, codes: Tensor) -> Tensor:  # noqa: ARG002
        """Raise InputError: no invertible map makes normal numbers of finitely many codes."""
        raise InputError(
            f"{self.title} has finitely many codes, expected a continuous prior for a transport or a density of "
            "norms; fit the density autoregressive instead, or leave it out."
        )

    def normal_scores(self, codes: Tensor) -> Tensor:  # noqa: ARG002
        """Raise InputError, as ``to_normal``."""
        raise InputError(
            f"codes of {self.title} have no normal scores, since they have finitely many values; compare their "
            "usage (diagnose)."
        )


class UniformLevels(Alphabet):
    """The uniform distribution over L equally spaced levels of each of D values, from -1 to 1.

    Arguments:
        dim: D.
        levels: L, at least 2; 2 are the signs.

    >>> prior = UniformLevels(2, 3)
    >>> prior.nearest(torch.tensor([[0.2, -0.9]]))
    tensor([[ 0., -1.]])
    >>> prior.log_prob(torch.tensor([[0.0, -1.0], [0.2, -0.9]])).exp()
    tensor([0.1111, 0.0000])
    """

    quantum = "dimension"
    columns = "each value becomes the level of its normal distribution function"

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__(dim, dim, check_levels(levels))
        signs = levels == 2
        self.title = "uniform signs" if signs else f"the uniform distribution over {levels} levels"
        self.description = (
            "independent values, -1 or 1 with equal probability"
            if signs
            else f"independent values, each one of {levels} equally likely and equally spaced levels from -1 to 1"
        )
        # where the state of a normal value changes
        self._edges = [NormalDist().inv_cdf(level / levels) for level in range(1, levels)]

    def to_states(self, codes: Tensor) -> Tensor:
        """Return the nearest level of each value of codes, (N, D), from 0 to L - 1: int64."""
        return ((codes + 1) * ((self.states - 1) / 2) + 0.5).floor().clamp(0, self.states - 1).long()

    def dithered(self, codes: Tensor) -> Tensor:
        """Return levels for values between two, (N, D), moved up in the share of dimensions that keeps their mean.

        Each dimension has a threshold of its own, spread evenly from 0 to 1 by multiples of the golden ratio.

        >>> halfway = torch.zeros(1, 1000)  # between -1 and 1
        >>> round(UniformLevels(1000, 2).dithered(halfway).mean().item(), 2)
        0.0
        """
        place = (codes.double() + 1) * ((self.states - 1) / 2)
        share = torch.arange(1, codes.shape[1] + 1, dtype=torch.float64, device=codes.device) * _GOLDEN % 1
        levels = (place + share.clamp(_CLOSE, 1 - _CLOSE)).floor().clamp(0, self.states - 1)
        return level_values(levels, self.states).to(codes)

    def from_states(self, states: Tensor) -> Tensor:
        """Return the values, (N, D) float32, of levels from 0 to L - 1, int64 (N, D)."""
        return level_values(states.float(), self.states)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the levels of the normal distribution function of noise, (N, D)."""
        # compared with normal quantiles, so that a graph finds the same level as PyTorch
        edges = torch.tensor(self._edges, dtype=noise.dtype, device=noise.device)
        # chosen and not cast, so that converters to float16 can change the type
        passed = torch.where(noise[..., None] >= edges, torch.ones_like(edges), torch.zeros_like(edges))
        return level_values(passed.sum(-1), self.states)


def check_levels(levels: int) -> int:
    """Return a number of levels; InputError if it is not a whole number of at least 2."""
    if not isinstance(levels, Integral) or levels < 2:
        raise InputError(f"levels must be a whole number of at least 2, got {levels}.")
    return int(levels)


def level_values(levels: Tensor, count: int) -> Tensor:
    """Return the values of levels, numbers from 0 to count - 1: equally spaced from -1 to 1.

    >>> level_values(torch.arange(4.0), 4)
    tensor([-1.0000, -0.3333,  0.3333,  1.0000])
    """
    return (2 * levels - (count - 1)) / (count - 1)
