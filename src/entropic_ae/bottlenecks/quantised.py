"""Bottlenecks of a finite alphabet: each value of a code is one of a few levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, as_float
from entropic_ae.estimators import discrete_entropy
from entropic_ae.priors import Alphabet, UniformLevels, check_levels, level_values

__all__ = ["Binary", "Levels", "Quantised"]


class Quantised(Bottleneck):
    """Base of bottlenecks whose codes are of a finite alphabet: T tokens of K states, see ``priors.Alphabet``.

    >>> Binary(3).prior().tokens
    3
    """

    bounds_entropy = True
    is_discrete = True
    entropy = staticmethod(discrete_entropy)

    def assignments(self, h: Tensor, temperature: float) -> Tensor:
        """Return soft assignments of the encoder's output, (N, in_features): probabilities, (N, T, K).

        The gradient of the entropy passes through them. The lower the temperature, the nearer they are to one-hot
        rows with the states of the codes.
        """
        raise NotImplementedError

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return 0: the prior is uniform, and each code is of the alphabet."""
        return z.new_zeros(())

    def prior(self) -> Alphabet:
        """Return the uniform distribution over the alphabet."""
        raise NotImplementedError


class Levels(Quantised):
    r"""Each value of a code is one of L levels, equally spaced from -1 to 1: finite scalar quantisation.

    A hyperbolic tangent moves the encoder's output into the cube, $y = \tanh h$. The cube is cut into $L^D$ equal
    cells, and z is the level of the cell of y. The gradient passes as if z were y (straight-through). Nothing is
    drawn, in training either.

    Of all distributions over $L^D$ codes the uniform one has the most entropy, D log L nats: it is the prior.
    ``NegativeDiscreteEntropy`` raises the entropy of the codes towards it.

    Codes that are decoded in evaluation are moved to the nearest of the alphabet first, for example those between
    two codes, or draws of a Gaussian.

    In the published method the outermost levels have half the share of the range of y, since y is rounded to the
    nearest level. Here all levels have the same, as the prior has: codes that fill the cube evenly are uniform.

    Arguments:
        latent_dim: length D of a code.
        levels: L, at least 2.

    References:
        Mentzer, Minnen, Agustsson and Tschannen, "Finite scalar quantization: VQ-VAE made simple", 2023,
        https://arxiv.org/abs/2309.15505.
        Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for
        conditional computation", 2013, for the gradient, https://arxiv.org/abs/1308.3432.

    >>> Levels(1, levels=3)(torch.tensor([[-5.0], [0.1], [5.0]])).z.flatten().tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(self, latent_dim: int, *, levels: int = 8) -> None:
        super().__init__(latent_dim)
        self.levels = check_levels(levels)

    def forward(self, h: Tensor) -> Code:
        """Quantise (N, D), in at least float32, whatever the autocast state."""
        self.check_batch(h)
        y = torch.tanh(as_float(h))
        # in this order the difference is exactly 0, so that z is a level without rounding
        return Code(self.quantised(y).detach() + (y - y.detach()))

    def quantised(self, y: Tensor) -> Tensor:
        """Return the levels of the cells of points of the cube, (..., D)."""
        cells = (self.levels * ((y + 1) / 2)).floor().clamp(0, self.levels - 1)
        return level_values(cells, self.levels)

    def assignments(self, h: Tensor, temperature: float) -> Tensor:
        r"""Return soft assignments of the encoder's output, (N, D), to levels: probabilities, (N, D, L).

        $p_l \propto \exp(-(y - c_l)^2 / (2 \tau^2))$ with the centres c of the cells, and y, c and the temperature
        $\tau$ in units of a cell. The most probable level is that of z.
        """
        y = torch.tanh(as_float(h)) * (self.levels / 2)
        centres = torch.arange(self.levels, dtype=y.dtype, device=y.device) - (self.levels - 1) / 2
        return ((y[..., None] - centres).square() / (-2 * temperature**2)).softmax(-1)

    def inverse(self, z: Tensor) -> Tensor:
        """Return in evaluation the nearest codes of the alphabet; in training the codes, (N, D), unchanged."""
        if self.training:
            return z
        nearest = ((z.detach() + 1) * ((self.levels - 1) / 2) + 0.5).floor().clamp(0, self.levels - 1)
        return level_values(nearest, self.levels) + (z - z.detach())

    def prior(self) -> UniformLevels:
        """Return the uniform distribution over the codes."""
        return UniformLevels(self.latent_dim, self.levels)

    def describe(self) -> list[dict[str, Any]]:
        """Return the hyperbolic tangent and the levels of the cells."""
        return [{"op": "tanh"}, {"op": "cell_levels", "levels": self.levels}]

    def describe_inverse(self) -> list[dict[str, Any]]:
        """Return the nearest levels."""
        return [{"op": "nearest_levels", "levels": self.levels}]


class Binary(Levels):
    r"""Each value of a code is a sign, -1 or 1: lookup-free quantisation.

    z is the sign of the encoder's output h, 1 where that is 0, and its gradient that of $\tanh h$
    (straight-through). Nothing is drawn, in training either. It is ``Levels`` of 2 levels. The prior, uniform over
    all $2^D$ codes, has D log 2 nats: D bits.

    Arguments:
        latent_dim: length D of a code.

    Reference: Yu et al., "Language model beats diffusion: tokenizer is key to visual generation", 2023, section
    3.1, https://arxiv.org/abs/2310.05737.

    >>> Binary(2)(torch.tensor([[0.3, -2.0]])).z
    tensor([[ 1., -1.]])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim, levels=2)

    def quantised(self, y: Tensor) -> Tensor:
        """Return the signs of values, 1 for 0."""
        return torch.where(y >= 0, 1.0, -1.0).to(y.dtype)

    def describe(self) -> list[dict[str, Any]]:
        """Return the sign."""
        return [{"op": "sign"}]
