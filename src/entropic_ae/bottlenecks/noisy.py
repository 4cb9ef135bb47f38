"""Bottlenecks whose codes the decoder sees turned towards a random draw of the prior, in training."""

from __future__ import annotations

import math

from torch import Tensor, nn

from entropic_ae.bottlenecks.domains import Sphere
from entropic_ae.bottlenecks.moments import BatchNorm
from entropic_ae.distributed import share
from entropic_ae.errors import InputError

__all__ = ["NoisyBatchNorm", "NoisySphere", "turned"]


def turned(z: Tensor, noise: Tensor, angles: Tensor) -> Tensor:
    r"""Return codes turned towards noise: $\cos(a) z + \sin(a) e$.

    If z and e are independent and follow N(0, I), so does the result, at any angle.

    Arguments:
        z, noise: (N, D).
        angles: in radians, (N, 1).

    >>> import torch
    >>> turned(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[math.pi / 2]])).round()
    tensor([[-0., 1.]])
    """
    return angles.cos() * z + angles.sin() * noise


class NoisyBatchNorm(BatchNorm):
    r"""``BatchNorm`` with noise for the decoder: in training it sees each code turned by a random angle.

    The angle a is uniform between 0 and ``noise_angle``, another for each code, and the decoder sees
    $\cos(a) z + \sin(a) e$ with $e \sim N(0, I)$, which follows N(0, I) if z does. So the decoder is trained where
    samples fall. Terms on codes see the codes themselves; in evaluation there is no noise.

    Arguments:
        latent_dim, eps, momentum: as for ``BatchNorm``.
        noise_angle: largest angle in degrees, from 0 to 90.

    Raises: InputError for another angle.

    Reference: the Sphere Encoder, 2026, https://arxiv.org/abs/2602.15030, whose codes are on a sphere, with angles
    up to 80 degrees.

    >>> import torch
    >>> bottleneck = NoisyBatchNorm(2, noise_angle=45.0)
    >>> z = bottleneck(torch.randn(100, 2)).z
    >>> bool((bottleneck.for_decoder(z) == z).all()), bool((bottleneck.eval().for_decoder(z) == z).all())
    (False, True)
    """

    def __init__(
        self, latent_dim: int, *, eps: float = 1e-5, momentum: float = 0.1, noise_angle: float = 60.0
    ) -> None:
        super().__init__(latent_dim, eps=eps, momentum=momentum)
        self.noise_angle = _checked(noise_angle)

    def for_decoder(self, z: Tensor) -> Tensor:
        """Return codes, (N, D), turned towards draws of N(0, I) in training, unchanged in evaluation."""
        if not self.training:
            return z
        return turned(z, share(z, lambda draws: draws.normal_()), _angles(z, self.noise_angle))


class NoisySphere(Sphere):
    r"""``Sphere`` with noise for the decoder: in training it sees each code turned by a random angle.

    As ``NoisyBatchNorm``; the noise is $e / \sqrt{D}$, of about the norm of a code, and the turned code is scaled
    to the sphere. Of uniform codes it is uniform.

    Arguments:
        latent_dim, eps: as for ``Sphere``.
        noise_angle: largest angle in degrees, from 0 to 90.

    Raises: InputError for another angle.

    Reference: the Sphere Encoder, 2026, https://arxiv.org/abs/2602.15030.

    >>> import torch
    >>> bottleneck = NoisySphere(3)
    >>> bottleneck.for_decoder(bottleneck(torch.randn(5, 3)).z).norm(dim=1).allclose(torch.ones(5))
    True
    """

    def __init__(self, latent_dim: int, *, eps: float = 1e-12, noise_angle: float = 60.0) -> None:
        super().__init__(latent_dim, eps=eps)
        self.noise_angle = _checked(noise_angle)

    def for_decoder(self, z: Tensor) -> Tensor:
        """Return codes, (N, D), turned towards draws of the prior in training, unchanged in evaluation."""
        if not self.training:
            return z
        noise = share(z, lambda draws: draws.normal_()) / math.sqrt(z.shape[1])
        return nn.functional.normalize(turned(z, noise, _angles(z, self.noise_angle)), dim=1, eps=self.eps)


def _angles(z: Tensor, largest: float) -> Tensor:
    return math.radians(largest) * share(z[:, :1], lambda draws: draws.uniform_())


def _checked(noise_angle: float) -> float:
    if not 0 <= noise_angle <= 90:
        raise InputError(f"noise_angle must be from 0 to 90 degrees, got {noise_angle}.")
    return noise_angle
