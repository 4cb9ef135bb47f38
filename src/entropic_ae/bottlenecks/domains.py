"""Bottlenecks that bound the domain of each code separately."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, as_float
from entropic_ae.errors import InputError
from entropic_ae.estimators import cube_entropy, sphere_entropy
from entropic_ae.priors import Uniform, UniformSphere

__all__ = ["Cube", "Sphere"]


class Sphere(Bottleneck):
    """Each code has norm 1. No minibatch statistics are needed, so training and evaluation are the same.

    Of all distributions on the sphere the uniform one has the most entropy, the logarithm of the area: it is the
    prior. Entropies are those of densities on the sphere, estimated by ``sphere_entropy``.

    Arguments:
        latent_dim: length D of a code, at least 2.
        eps: lower bound of the norm that h is divided by.

    References: "Hyperspherical Variational Auto-Encoders", Davidson et al. (2018),
    https://arxiv.org/abs/1804.00891; for uniformity on the sphere, "Understanding Contrastive Representation
    Learning through Alignment and Uniformity on the Hypersphere", Wang and Isola (2020),
    https://arxiv.org/abs/2005.10242.

    >>> Sphere(3)(torch.randn(5, 3)).z.norm(dim=1).allclose(torch.ones(5))
    True
    """

    bounds_entropy = True
    entropy = staticmethod(sphere_entropy)

    def __init__(self, latent_dim: int, *, eps: float = 1e-12) -> None:
        super().__init__(latent_dim)
        if latent_dim < 2 or not eps > 0:
            raise InputError(f"Sphere expects latent_dim >= 2 and eps > 0, got {latent_dim} and {eps}.")
        self.eps = eps

    def forward(self, h: Tensor) -> Code:
        """Divide each row of (N, D) by its norm."""
        self.check_batch(h)
        return Code(nn.functional.normalize(as_float(h), dim=1, eps=self.eps))

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return 0: the prior is uniform, and each code satisfies the constraint."""
        return z.new_zeros(())

    def prior(self) -> Distribution:
        """Return the uniform distribution on the sphere."""
        return UniformSphere(self.latent_dim)

    def describe(self) -> list[dict[str, Any]]:
        """Return the division by the norm."""
        return [{"op": "divide_by_norm", "eps": self.eps}]


class Cube(Bottleneck):
    """Each value is between -1 and 1, by a hyperbolic tangent. No minibatch statistics are needed.

    Of all distributions on the cube the uniform one has the most entropy, D * log 2 nats: it is the prior.
    Entropies are estimated by ``cube_entropy``, which corrects for the faces.

    Arguments:
        latent_dim: length D of a code.

    Reference, for constraints on the moments instead of the domain: section 3.3 of "Batch Norm with Entropic
    Regularization Turns Deterministic Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020),
    https://arxiv.org/abs/2002.10631.

    >>> Cube(2)(torch.tensor([[0.0, 100.0]])).z
    tensor([[0., 1.]])
    """

    bounds_entropy = True
    entropy = staticmethod(cube_entropy)

    def forward(self, h: Tensor) -> Code:
        """Map each value of (N, D) into (-1, 1)."""
        self.check_batch(h)
        return Code(torch.tanh(as_float(h)))

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return 0: the prior is uniform, and each code satisfies the constraint."""
        return z.new_zeros(())

    def prior(self) -> Distribution:
        """Return independent uniform variables on [-1, 1]."""
        return Uniform.standard(self.latent_dim)

    def describe(self) -> list[dict[str, Any]]:
        """Return the hyperbolic tangent."""
        return [{"op": "tanh"}]
