"""Terms of the reconstructions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.distributed import average
from entropic_ae.terms.term import Term

__all__ = ["GaussianLikelihood", "SquaredError"]

_LEAST_ERROR = 1e-6  # a squared error below the rounding of 8-bit images, at which a learned scale stops


@dataclass(frozen=True)
class SquaredError(Term):
    """Reconstruction error ||x_hat - x||^2, summed over channels and pixels, averaged over the batch.

    >>> import torch
    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.ones(5, 1, 8, 8))
    >>> SquaredError()(None, trace).item()
    64.0
    """

    name = "squared_error"
    setting = "squared_error"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the error in squared units of [0, 1] pixels."""
        return (trace.x_hat - trace.x).square().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class GaussianLikelihood(Term):
    """Negative log likelihood of the images under N(x_hat, gamma^2 I), gamma learned; in nats.

    gamma^2 is taken at its optimum for the minibatch, the mean squared error, so that the term over P values is
    P / 2 * (log(2 pi gamma^2) + 1), with the gradient that the squared error has at that gamma; it falls no lower
    than 0.001. The code of Dai and Wipf makes gamma a parameter, which gradient descent brings to the same place
    with a delay.

    References: Dai and Wipf (2019); the closed form is that of Rybkin, Daniilidis and Levine (2021).

    >>> import torch
    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.ones(5, 1, 8, 8))
    >>> round(GaussianLikelihood()(None, trace).item() / 64, 4)
    1.4189
    """

    name = "negative_log_likelihood"
    setting = "likelihood"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the sum over a code's or an image's values, averaged over the batch."""
        error = (trace.x_hat - trace.x).square().mean()
        variance = average(error.detach()).clamp_min(_LEAST_ERROR)
        return 0.5 * trace.x[0].numel() * ((2 * math.pi * variance).log() + error / variance)
