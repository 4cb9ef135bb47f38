"""The interface of all densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import DivergenceError, InputError

__all__ = ["Density", "Sampler", "check_codes", "no_sampler", "square_root"]


class Sampler(nn.Module):
    """A density as a function of noise: ``forward`` maps standard normal values, (N, noise), to codes, (N, D).

    Arguments:
        noise: number of noise values per code.
        columns: one sentence on the role of these values, for the metadata of the exported file.
        parameters: tensors that ``forward`` needs; they become float32 buffers of those names on the CPU.

    >>> from entropic_ae.densities import Gaussian
    >>> sampler = Gaussian(torch.ones(1).double(), 4 * torch.eye(1).double()).sampler()
    >>> sampler(torch.zeros(1, 1)).tolist(), sampler.noise
    ([[1.0]], 1)
    """

    def __init__(self, noise: int, columns: str, **parameters: Tensor) -> None:
        super().__init__()
        self.noise = noise
        self.columns = columns
        for name, value in parameters.items():
            self.register_buffer(name, value.detach().float().cpu().clone())


class Density:
    """A distribution over codes, fitted after training.

    Attributes:
        name: the density in the registry, in files and on the command line.
        needs_codes: whether ``fit`` uses the codes; if not, they are not computed.
        has_sampler: whether ``sampler`` can be defined; otherwise an export without names leaves the density out.
        is_discrete: whether it is a distribution over a finite alphabet, and ``log_prob`` of probabilities.

    >>> from entropic_ae.densities import DENSITIES
    >>> DENSITIES["prior"].needs_codes, DENSITIES["mixture"].needs_codes
    (False, True)
    """

    name: ClassVar[str] = ""
    needs_codes: ClassVar[bool] = True
    has_sampler: ClassVar[bool] = True
    is_discrete: ClassVar[bool] = False

    @classmethod
    def check(cls) -> None:
        """Raise InputError for an invalid setting of ``fit``; called with the settings when a model is built."""

    @classmethod
    def fit(cls, codes: Tensor, prior: Distribution, *, std: Tensor | None = None, seed: int = 0) -> Density:
        """Fit to codes, (N, D).

        A subclass adds its settings as further keyword arguments, scalars with defaults.

        Arguments:
            codes: training codes, finite, more than one; if they have posteriors, the posterior means.
            prior: the bottleneck's prior over (D,).
            std: standard deviations of the codes' Gaussian posteriors, (N, D), or None for deterministic codes.
                Only a density that models the aggregate posterior uses them.
            seed: of all random draws in the fit.

        Raises: InputError for too few codes or codes that are not finite.
        """
        raise NotImplementedError

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32 on the CPU; the same seed gives the same codes."""
        raise NotImplementedError

    def sampler(self) -> Sampler:
        """Return a module that maps noise to codes by operations of ONNX, for the export.

        Raises: InputError for a density that does not define this method, or a prior without ``from_noise``.
        """
        raise no_sampler(self.name)

    def log_prob(self, codes: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return the log density at codes, (N, D): (N,), in nats; None if it has no closed form."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Return the parameters as tensors, for safetensors: the attributes that are tensors."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Density:  # noqa: ARG003
        """Rebuild from ``state()``; KeyError if a parameter is missing or does not fit the others or the prior.

        By default the parameters are passed to the constructor by name.
        """
        try:
            return cls(**state)
        except TypeError as error:
            raise KeyError(str(error)) from None


def no_sampler(name: str) -> InputError:
    """Return the error for a density without a sampler."""
    return InputError(
        f"the density '{name}' cannot be exported to ONNX, since it has no method sampler(); leave it out, or "
        "define the method if it is your own."
    )


def check_codes(codes: ArrayLike, least: int, who: str) -> Tensor:
    """Return codes as float64 on the CPU, or raise InputError if they cannot be fitted."""
    codes = as_tensor(codes, who)
    if codes.dim() != 2 or len(codes) < least:
        raise InputError(f"{who} expects at least {least} codes (N, D), got shape {tuple(codes.shape)}.")
    if not bool(torch.isfinite(codes).all()):
        raise DivergenceError(f"{who} expects finite codes, got NaN or infinity; look at what produced them.")
    return codes.detach().cpu().double()


def square_root(covariance: Tensor) -> Tensor:
    """Return R with R R^T = C for symmetric matrices C, (..., D, D), which may be singular.

    >>> square_root(torch.tensor([[4.0]]).double()).abs().tolist()
    [[2.0]]
    """
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()[..., None, :]
