"""A spline flow as a density of codes; needs the extra ``flow``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.arrays import as_tensor
from entropic_ae.densities.density import Density, check_codes
from entropic_ae.randomness import seeded
from entropic_ae.transports import FlowTransport

__all__ = ["Flow"]

_BATCH = 10_000  # draws at once


class Flow(Density):
    """A neural spline flow: draws from the prior, through the inverse of an invertible network.

    It is fitted by maximum likelihood with early stopping, see ``transports.FlowTransport``, and has an exact
    density. It is not exported to ONNX.

    Arguments:
        transport: from codes to the prior.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes that are not finite, a setting below 1, or if
        zuko is not installed.

    Reference: Durkan et al., "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032.

    >>> from entropic_ae.priors import Normal
    >>> density = Flow.fit(torch.randn(100, 2), Normal.standard(2), epochs=1, hidden=8)
    >>> density.sample(5, seed=0).shape, density.log_prob(torch.zeros(3, 2)).shape
    (torch.Size([5, 2]), torch.Size([3]))
    """

    name = "flow"
    has_sampler = False

    def __init__(self, transport: FlowTransport) -> None:
        self.transport = transport

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Raise InputError for a missing package, or a setting below 1."""
        FlowTransport.check(**settings)

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution,
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,
        transforms: int = 3,
        hidden: int = 64,
        layers: int = 2,
        bins: int = 8,
        epochs: int = 200,
    ) -> Self:
        """Fit to codes, (N, D), on their device; settings as for ``FlowTransport.fit_scores``."""
        codes = as_tensor(codes, cls.name)
        points = check_codes(codes, 2, f"the density '{cls.name}'")
        if codes.device.type == "cuda":  # other devices may lack float64
            points = points.to(codes.device)
        settings = {"transforms": transforms, "hidden": hidden, "layers": layers, "bins": bins, "epochs": epochs}
        return cls(FlowTransport.fit(points, prior, seed=seed, **settings).cpu())

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        with seeded(seed):
            u = self.transport.prior.sample((n,)).double()
        with torch.no_grad():
            return torch.cat([self.transport.inverse(part) for part in u.split(_BATCH)]).float()

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the logarithm of the density at codes, (N, D): (N,) float64, in nats."""
        with torch.no_grad():
            return self.transport.log_prob(as_tensor(codes, self.name).detach().cpu())

    def state(self) -> dict[str, Tensor]:
        """Return the parameters of the transport."""
        return self.transport.state()

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from the parameters of the transport."""
        return cls(FlowTransport.from_state(state, prior))
