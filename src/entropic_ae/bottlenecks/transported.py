"""A bottleneck followed by a transport, so that its codes follow the prior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, as_float
from entropic_ae.transports import Transport

__all__ = ["Transported"]


class Transported(Bottleneck):
    """A trained bottleneck and a transport of its codes to its prior.

    In evaluation the codes are u = T(z), and ``inverse`` gives back z for the decoder: reconstructions stay as
    they are, and draws from the prior become draws of the distribution that was fitted to the codes. In training
    there is no transport in either direction, so that the networks never follow the map.

    Codes with a posterior lose it: u is the transport of the posterior's mean.

    Arguments:
        bottleneck: gives codes z, (N, D).
        transport: fitted to such codes, for the prior of ``bottleneck``.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.transports import GaussianTransport
    >>> h = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * 3
    >>> bottleneck = BatchNorm(2).eval()
    >>> transport = GaussianTransport.fit(bottleneck(h).z, bottleneck.prior())
    >>> u = Transported(bottleneck, transport).eval()(h).z
    >>> [round(value, 3) for value in u.std(0).tolist()]
    [1.0, 1.0]
    """

    def __init__(self, bottleneck: Bottleneck, transport: Transport) -> None:
        super().__init__(bottleneck.latent_dim)
        self.bottleneck = bottleneck
        self.transport = transport
        self.bounds_entropy = bottleneck.bounds_entropy  # type: ignore[misc]  # of the one inside
        self.is_discrete = bottleneck.is_discrete  # type: ignore[misc]
        self.entropy = bottleneck.entropy  # type: ignore[misc, method-assign]
        self.train(bottleneck.training)

    @property
    def in_features(self) -> int:
        """Length of the encoder's output."""
        return self.bottleneck.in_features

    @property
    def least_batch(self) -> int:
        """The smallest batch for which the bottleneck is defined in training."""
        return self.bottleneck.least_batch

    def forward(self, h: Tensor) -> Code:
        """Map the encoder's output, (N, in_features), to codes z in training, u in evaluation."""
        z, _ = self.bottleneck(h)
        if self.training:
            return Code(z)
        with torch.autocast(h.device.type, enabled=False):
            return Code(self.transport(as_float(z)))

    def inverse(self, z: Tensor) -> Tensor:
        """Undo the transport in evaluation; return (N, D) unchanged in training."""
        if self.training:
            return z
        with torch.autocast(z.device.type, enabled=False):
            return self.transport.inverse(z)

    def for_decoder(self, z: Tensor) -> Tensor:
        """Return what the bottleneck inside shows the decoder in training; in evaluation (N, D) unchanged."""
        return self.bottleneck.for_decoder(z) if self.training else z

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return that of the bottleneck inside, whose prior this is."""
        return self.bottleneck.excess_energy(z)

    def prior(self) -> Distribution:
        """Return the prior of the bottleneck inside."""
        return self.bottleneck.prior()

    def describe(self) -> list[dict[str, Any]]:
        """Return the operations of the bottleneck inside, and the transport."""
        return [*self.bottleneck.describe(), *self.transport.describe()]

    def describe_inverse(self) -> list[dict[str, Any]]:
        """Return the inverse of the transport."""
        return self.transport.describe_inverse()
