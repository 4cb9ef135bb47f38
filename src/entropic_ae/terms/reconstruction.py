"""Terms on reconstructions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.distributed import average
from entropic_ae.terms.term import Term

__all__ = ["AbsoluteError", "GaussianLikelihood", "SquaredError"]

_LEAST_ERROR = 1e-6  # lower limit of the learned variance, below the rounding of 8-bit images


@dataclass(frozen=True)
class SquaredError(Term):
    r"""Reconstruction error $\|\hat x - x\|^2$, summed over channels and pixels, averaged over the batch.

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
class AbsoluteError(Term):
    r"""Reconstruction error $\|\hat x - x\|_1$, summed over channels and pixels, averaged over the batch.

    Its optimum is the median of what a code may stand for, where that of the squared error is the mean.

    Reference: Zhao et al., "Loss functions for image restoration with neural networks", 2017,
    https://arxiv.org/abs/1511.08861.

    >>> import torch
    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.full((5, 1, 8, 8), 0.5))
    >>> AbsoluteError()(None, trace).item()
    32.0
    """

    name = "absolute_error"
    setting = "absolute_error"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the error in units of [0, 1] pixels."""
        return (trace.x_hat - trace.x).abs().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class GaussianLikelihood(Term):
    r"""Negative log likelihood of the images under $N(\hat x, \gamma^2 I)$ with learned $\gamma$, in nats.

    $\gamma^2$ is set to its optimum for the minibatch, the mean squared error. The term over P values is then

    $\frac{P}{2} (\log(2 \pi \gamma^2) + 1)$,

    with the gradient of the scaled squared error at fixed $\gamma$. $\gamma$ is at least 0.001. In the code of Dai
    and Wipf $\gamma$ is a parameter, which gradient descent moves to the same optimum with a delay.

    References:
        Dai and Wipf, "Diagnosing and enhancing VAE models", 2019, https://arxiv.org/abs/1903.05789.
        Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", 2021, for the
        closed form, https://arxiv.org/abs/2006.13202.

    >>> import torch
    >>> trace = Trace(torch.zeros(5, 1, 8, 8), None, torch.ones(5, 1, 8, 8))
    >>> round(GaussianLikelihood()(None, trace).item() / 64, 4)
    1.4189
    """

    name = "negative_log_likelihood"
    setting = "likelihood"

    def __call__(self, model: Autoencoder | None, trace: Trace) -> Tensor:  # noqa: ARG002
        """Return the sum over the values of an image, averaged over the batch."""
        error = (trace.x_hat - trace.x).square().mean()
        variance = average(error.detach()).clamp_min(_LEAST_ERROR)
        return 0.5 * trace.x[0].numel() * ((2 * math.pi * variance).log() + error / variance)
