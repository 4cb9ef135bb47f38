"""The interface of all transports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.arrays import exact, has_double
from entropic_ae.errors import DivergenceError, InputError
from entropic_ae.mixtures import mean_and_deviation
from entropic_ae.priors import CodePrior, as_prior

__all__ = ["Transport", "mean_and_unit"]

_LEAST = 2  # codes for a fit
_LEAST_UNIT, _SMALLEST_UNIT = 1e-12, 1e-30  # of a dimension's deviation: in units of the largest, and of all


class Transport(nn.Module):
    """An invertible map from codes z, (N, D), to codes u, (N, D), that follow the prior.

    A subclass maps normal scores: numbers that are independent and standard normal exactly if the codes follow
    the prior (for N(0, I), the codes themselves). It defines ``fit_scores``, ``transform`` and ``restore``, and
    keeps its parameters as float64 buffers. It is fitted to codes and not trained with the networks: the map
    follows the codes. A map whose likelihood also moved the codes would be minimised by codes without entropy.

    Computation is in float64; results have the dtype of the input. Gradients pass in both directions.

    Arguments:
        prior: over (D,), with the methods ``to_normal`` and ``from_normal``.

    Attributes:
        name: the transport in the registry, in files and on the command line.

    >>> from entropic_ae.transports import TRANSPORTS
    >>> "mixture" in TRANSPORTS
    True
    """

    name: ClassVar[str] = ""

    def __init__(self, prior: Distribution) -> None:
        super().__init__()
        self.prior: CodePrior = as_prior(prior)

    @property
    def summary(self) -> str:
        """The transport in words, for one line of a terminal."""
        return f"transport '{self.name}' to {self.prior.title}"

    @classmethod
    def check(cls) -> None:
        """Raise InputError for an invalid setting of ``fit``; called with the settings when a system is built."""

    @classmethod
    def fit(cls, codes: Tensor, prior: Distribution, *, seed: int = 0, **settings: Any) -> Self:
        """Fit to codes, (N, D), of at least 2 rows.

        Arguments:
            codes: training codes, finite.
            prior: the bottleneck's prior over (D,).
            seed: of all random draws in the fit.
            settings: of ``fit_scores``.

        Raises: InputError for too few codes, codes of another length than the prior's, codes that are not finite,
            or a prior without normal scores.
        """
        if codes.dim() != 2 or len(codes) < _LEAST:
            raise InputError(
                f"the transport '{cls.name}' expects at least {_LEAST} codes (N, D), got shape "
                f"{tuple(codes.shape)}."
            )
        _check_width(codes, as_prior(prior))
        if not bool(torch.isfinite(codes).all()):
            raise DivergenceError(
                f"the transport '{cls.name}' expects finite codes, got NaN or infinity; look at what produced "
                "them."
            )
        with torch.no_grad():
            codes = codes.detach() if has_double(codes.device) else codes.detach().cpu()
            scores = as_prior(prior).to_normal(as_prior(prior).interior(codes))
            return cls(prior, **cls.fit_scores(scores, seed=seed, **settings))

    @classmethod
    def fit_scores(cls, scores: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
        """Return the parameters of the map of normal scores, (N, S) float64, by name.

        A subclass names its settings as keyword arguments, scalars with defaults.
        """
        raise NotImplementedError

    def transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores, (N, S) float64, and return the log determinant of the derivative, (N,), too."""
        raise NotImplementedError

    def restore(self, scores: Tensor) -> Tensor:
        """Invert ``transform``: (N, S) float64."""
        raise NotImplementedError

    @exact
    def forward(self, codes: Tensor) -> Tensor:
        """Map codes z, (N, D), to codes u, (N, D), that follow the prior as well as the fit does."""
        _check_width(codes, self.prior)
        u, _ = self.transform(self.prior.to_normal(self.prior.interior(codes)))
        return self.prior.from_normal(u).to(codes.dtype)

    @exact
    def inverse(self, codes: Tensor) -> Tensor:
        """Map codes u, (N, D), such as draws from the prior, to codes z, (N, D), for the decoder."""
        _check_width(codes, self.prior)
        z = self.restore(self.prior.to_normal(self.prior.interior(codes)))
        return self.prior.from_normal(z).to(codes.dtype)

    @exact
    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the exact log density of codes z, (N, D), if u follows the prior: (N,) float64, in nats."""
        _check_width(codes, self.prior)
        codes = self.prior.interior(codes)
        if not len(codes):  # of which torch.distributions has no density
            return codes.sum(1)
        scores = self.prior.to_normal(codes)
        u, log_det = self.transform(scores)
        # the derivative of to_normal is the quotient of the prior's density and the normal one
        return self.prior.log_prob(codes) + _log_normal(u) - _log_normal(scores) + log_det

    def traced(self) -> nn.Module:
        """Return a module with ``transform`` and ``restore`` of scores, (N, S), by operations that ONNX has.

        Unlike the transport's own ``transform``, that of the module returns no log determinant.

        Raises: InputError for a transport that does not define this method.
        """
        raise InputError(
            f"the transport '{self.name}' cannot be exported to ONNX without a method traced(); define it, or fit "
            "another transport."
        )

    def describe(self) -> list[dict[str, Any]]:
        """Return ``forward`` as operations for the export to safetensors, see ``Bottleneck.describe``.

        Raises: InputError for a transport that does not define this method.
        """
        raise InputError(
            f"the transport '{self.name}' cannot be exported to safetensors without its methods describe() and "
            "describe_inverse(); define them, or export --to onnx."
        )

    def describe_inverse(self) -> list[dict[str, Any]]:
        """Return ``inverse`` as operations."""
        return self.describe()

    def _apply(self, function: Any, recurse: bool = True) -> Self:
        """Follow the model to another device, but keep float64: a narrower type would break the inverse.

        On a device without float64 the parameters stay on the CPU, where ``exact`` computes.
        """
        if not has_double(function(torch.empty(0)).device):
            return self
        before: list[tuple[dict[str, Any], str, Tensor]] = [
            (own, name, value.detach())  # of its own, since a parameter is narrowed in place
            for module in self.modules()
            for own in (module._parameters, module._buffers)
            for name, value in own.items()
            if value is not None and value.dtype == torch.float64
        ]
        super()._apply(function, recurse)
        for own, name, value in before:
            moved = own[name]
            if moved is not None and moved.dtype != torch.float64:
                wide = value.to(moved.device)
                own[name] = nn.Parameter(wide, moved.requires_grad) if isinstance(moved, nn.Parameter) else wide
        return self

    def state(self) -> dict[str, Tensor]:
        """Return the parameters as tensors, for safetensors."""
        return dict(self.state_dict())

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from ``state()``; KeyError if a parameter is missing or does not fit the others or the prior."""
        try:
            return cls(prior, **state)
        except TypeError as error:
            raise KeyError(str(error)) from None

    @staticmethod
    def scores_of(prior: Distribution) -> int:
        """Return S, the number of normal scores of a code: D, or one less on a sphere."""
        middle = as_prior(prior).from_noise(torch.ones(1, prior.event_shape[0]))
        return as_prior(prior).to_normal(middle).shape[1]

    def _keep(self, **parameters: Tensor) -> None:
        for name, value in parameters.items():
            self.register_buffer(name, value.detach().double())


def _check_width(codes: Tensor, prior: Distribution) -> None:
    """Raise InputError unless codes are (N, D) with the prior's D."""
    if codes.shape[1:] != prior.event_shape:
        dim = prior.event_shape[0]
        raise InputError(
            f"a transport to a prior over {dim} values expects codes (N, {dim}), got shape {tuple(codes.shape)}."
        )


def mean_and_unit(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each dimension of scores, (N, S) float64, by which a map standardises them.

    A constant dimension has no deviation: it counts as 1e-12 of the largest one.

    >>> mean_and_unit(torch.tensor([[0.0, -1.0], [0.0, 1.0]]).double())[1]
    tensor([1.4142e-12, 1.4142e+00], dtype=torch.float64)
    """
    mean, deviation = mean_and_deviation(scores)
    return mean, deviation.maximum(_LEAST_UNIT * deviation.amax()).clamp_min(_SMALLEST_UNIT)


def _log_normal(x: Tensor) -> Tensor:
    return -0.5 * (x.square().sum(1) + x.shape[1] * math.log(2 * math.pi))
