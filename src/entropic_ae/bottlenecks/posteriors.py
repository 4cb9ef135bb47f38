"""Bottlenecks with a Gaussian posterior, for variational systems."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, as_float
from entropic_ae.distributed import share
from entropic_ae.errors import InputError

__all__ = ["ConstantVariancePosterior", "GaussianPosterior"]


class GaussianPosterior(Bottleneck):
    """A Gaussian posterior with learned mean and standard deviation: the variational autoencoder's.

    Of the encoder's output, (N, 2 D), the first D values are the means and the others, after a bound, the
    logarithms of the standard deviations. In the returned ``Code``, ``z`` is a sample in training (by the
    reparametrisation trick) and the mean in evaluation; ``posterior`` is the distribution.

    Arguments:
        latent_dim: length D of a code.
        log_std_limit: the logarithm of the standard deviation is ``log_std_limit * tanh(h)``, as in the code of
            Ghosh et al. (2019).

    References: "Auto-Encoding Variational Bayes", Kingma and Welling (2013), https://arxiv.org/abs/1312.6114;
    "From Variational to Deterministic Autoencoders", Ghosh et al. (2019), https://arxiv.org/abs/1903.12436.

    >>> code = GaussianPosterior(2)(torch.zeros(3, 4))
    >>> code.z.shape, code.posterior.stddev[0].tolist()
    (torch.Size([3, 2]), [1.0, 1.0])
    """

    has_posterior = True

    def __init__(self, latent_dim: int, *, log_std_limit: float = 5.0) -> None:
        super().__init__(latent_dim)
        if not 0 < log_std_limit <= 20:
            raise InputError(f"expected 0 < log_std_limit <= 20, got {log_std_limit}.")
        self.log_std_limit = log_std_limit

    @property
    def in_features(self) -> int:
        """A mean and a log standard deviation for each dimension."""
        return 2 * self.latent_dim

    def forward(self, h: Tensor) -> Code:
        """Read means and standard deviations off (N, 2 D); in at least float32, whatever the autocast state."""
        self.check_batch(h)
        mean, raw = as_float(h).chunk(2, dim=1)
        std = (self.log_std_limit * torch.tanh(raw)).exp()
        return _draw(mean, std, self.training)

    def describe(self) -> list[dict[str, Any]]:
        """Return the selection of the means."""
        return [{"op": "first", "size": self.latent_dim}]


class ConstantVariancePosterior(Bottleneck):
    """A Gaussian posterior with learned mean and one fixed standard deviation.

    The code is a sample in training and the mean in evaluation.

    Arguments:
        latent_dim: length D of a code.
        std: standard deviation of every dimension, above 0.

    Reference: the CV-VAE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> ConstantVariancePosterior(2, std=0.5)(torch.zeros(3, 2)).posterior.stddev[0].tolist()
    [0.5, 0.5]
    """

    has_posterior = True

    def __init__(self, latent_dim: int, *, std: float = 0.7) -> None:
        super().__init__(latent_dim)
        if not (math.isfinite(std) and std > 0):
            raise InputError(f"std must be a finite number above 0, got {std}.")
        self.std = std

    def forward(self, h: Tensor) -> Code:
        """Take (N, D) as means; in at least float32, whatever the autocast state."""
        self.check_batch(h)
        mean = as_float(h)
        return _draw(mean, torch.full_like(mean, self.std), self.training)

    def describe(self) -> list[dict[str, Any]]:
        """Return no operation: the encoder's output is the mean."""
        return []


def _draw(mean: Tensor, std: Tensor, training: bool) -> Code:
    # validate_args would force a synchronisation with the device
    posterior = Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
    return Code(mean + std * share(mean, Tensor.normal_) if training else mean, posterior)
