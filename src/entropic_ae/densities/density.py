"""The interface of all densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.errors import InputError

__all__ = ["Density", "check_codes"]


class Density:
    """A distribution over codes, fitted after training.

    Attributes:
        needs_codes: whether ``fit`` looks at the codes; if not, none need be computed.

    >>> from entropic_ae.densities import DENSITIES
    >>> sorted(name for name, density in DENSITIES.items() if density.needs_codes)
    ['gaussian', 'mixture']
    """

    needs_codes: ClassVar[bool] = True

    @classmethod
    def fit(cls, codes: Tensor, prior: Distribution, *, seed: int = 0) -> Density:
        """Fit to codes, (N, D).

        Arguments:
            codes: training codes, finite, more than one.
            prior: the bottleneck's prior over (D,).
            seed: of whatever the fit draws.

        Raises: InputError for too few codes or codes that are not finite.
        """
        raise NotImplementedError

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32 on the CPU; the same seed gives the same codes."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Return the parameters as tensors, for safetensors."""
        raise NotImplementedError

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Density:
        """Rebuild from ``state()``; KeyError if a parameter is missing."""
        raise NotImplementedError


def check_codes(codes: Tensor, least: int, who: str) -> Tensor:
    """Return codes as float64 on the CPU, or raise InputError if they cannot be fitted."""
    if codes.dim() != 2 or len(codes) < least:
        raise InputError(f"{who} expects at least {least} codes (N, D), got shape {tuple(codes.shape)}.")
    if not bool(torch.isfinite(codes).all()):
        raise InputError(f"{who} expects finite codes, got NaN or infinity; look at what produced them.")
    return codes.detach().double().cpu()
