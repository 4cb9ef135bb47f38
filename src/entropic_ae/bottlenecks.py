"""Bottlenecks: how a code is made of what the encoder emits, and the prior that the constraints imply."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from entropic_ae.errors import InputError

__all__ = [
    "BOTTLENECKS",
    "BatchNorm",
    "Bottleneck",
    "Code",
    "ConstantVariancePosterior",
    "GaussianPosterior",
    "Identity",
]


class Code(NamedTuple):
    """What a bottleneck makes of a batch.

    Attributes:
        z: codes, (N, D).
        posterior: the distribution that z was drawn from, or None where z is deterministic.

    >>> Code(torch.zeros(3, 2)).posterior is None
    True
    """

    z: Tensor
    posterior: Distribution | None = None


class Bottleneck(nn.Module):
    """Base of all bottlenecks: ``forward(h) -> Code`` and ``prior() -> Distribution`` over (D,).

    Attributes:
        latent_dim: length D of a code.
        in_features: length of the encoder's output that ``forward`` takes.
        bounds_entropy: whether the constraints bound the entropy of the codes, so that the prior is the
            maximum-entropy distribution under them and its entropy the maximum.
        has_posterior: whether codes come with a posterior: samples of it in training, its mean in evaluation.

    >>> Bottleneck(3).prior().event_shape
    torch.Size([3])
    """

    bounds_entropy: ClassVar[bool] = False
    has_posterior: ClassVar[bool] = False

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise InputError(f"latent_dim must be at least 1, got {latent_dim}.")
        self.latent_dim = latent_dim

    @property
    def in_features(self) -> int:
        """Length of the encoder's output."""
        return self.latent_dim

    def forward(self, h: Tensor) -> Code:
        """Make codes of the encoder's output, (N, in_features)."""
        raise NotImplementedError

    def prior(self) -> Distribution:
        """Return the distribution over codes, (D,), that new codes are drawn from; on the CPU."""
        return Independent(Normal(torch.zeros(self.latent_dim), torch.ones(self.latent_dim)), 1)


class Identity(Bottleneck):
    """No constraint: the code is what the encoder emits.

    The prior is N(0, I) by convention only; nothing makes the codes follow it.

    >>> Identity(2)(torch.ones(3, 2)).z.shape
    torch.Size([3, 2])
    """

    def forward(self, h: Tensor) -> Code:
        """Return (N, D) unchanged."""
        return Code(h)


class BatchNorm(Bottleneck):
    """Batch normalisation without affine shift: each dimension has mean 0 and variance 1 over the minibatch.

    Among distributions with these moments N(0, I) has the most entropy, D / 2 * log(2 pi e) nats: it is the
    prior. In evaluation the running averages of mean and variance take the place of the minibatch's. A
    dimension that is constant over the minibatch gives zeros, up to rounding.

    Arguments:
        latent_dim: length D of a code.
        eps: added to the variance; the paper's equation (1) has none.
        momentum: weight of the newest minibatch in the running averages.

    Raises: InputError in training for a batch of one, whose variance is undefined.

    Reference: equation (1) and section 3 of the paper.

    >>> z = BatchNorm(2)(torch.randn(100, 2)).z
    >>> torch.allclose(z.mean(0), torch.zeros(2), atol=1e-5)
    True
    """

    bounds_entropy = True

    def __init__(self, latent_dim: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(latent_dim)
        if eps <= 0 or not 0 < momentum <= 1:
            raise InputError(f"expected eps > 0 and 0 < momentum <= 1, got eps={eps} and momentum={momentum}.")
        self.norm = nn.BatchNorm1d(latent_dim, eps=eps, momentum=momentum, affine=False)

    def forward(self, h: Tensor) -> Code:
        """Normalise (N, D); statistics are computed in float32 at least, whatever the autocast state."""
        if self.training and len(h) < 2:
            raise InputError(
                f"BatchNorm needs a batch of at least 2 in training, got {len(h)}; raise the batch size "
                "or switch to eval()."
            )
        with torch.autocast(h.device.type, enabled=False):
            return Code(self.norm(h if h.dtype == torch.float64 else h.float()))


class GaussianPosterior(Bottleneck):
    """A Gaussian posterior with learned mean and standard deviation: the variational autoencoder's.

    Called with the encoder's output, (N, 2 D), it takes the first D values as means and the others, after a
    bound, as logarithms of standard deviations, and gives a ``Code``: ``z`` is a sample in training (with the
    reparametrisation trick) and the mean in evaluation, ``posterior`` the distribution.

    Arguments:
        latent_dim: length D of a code.
        log_std_limit: the logarithm of the standard deviation is ``log_std_limit * tanh(h)``, as in the code of
            Ghosh et al.

    Reference: Kingma and Welling (2013).

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
        """A mean and a logarithm for each dimension."""
        return 2 * self.latent_dim

    def forward(self, h: Tensor) -> Code:
        """Read means and standard deviations off (N, 2 D); float32 at least, whatever the autocast state."""
        mean, raw = (h if h.dtype == torch.float64 else h.float()).chunk(2, dim=1)
        std = (self.log_std_limit * torch.tanh(raw)).exp()
        return _draw(mean, std, self.training)


class ConstantVariancePosterior(Bottleneck):
    """A Gaussian posterior with learned mean and one fixed standard deviation.

    The code is a sample in training and the mean in evaluation.

    Arguments:
        latent_dim: length D of a code.
        std: standard deviation of every dimension, above 0.

    Reference: the CV-VAE of Ghosh et al. (2019).

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
        """Take (N, D) as means; float32 at least, whatever the autocast state."""
        mean = h if h.dtype == torch.float64 else h.float()
        return _draw(mean, torch.full_like(mean, self.std), self.training)


def _draw(mean: Tensor, std: Tensor, training: bool) -> Code:
    # validating the arguments would wait for the device
    posterior = Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
    return Code(posterior.rsample() if training else mean, posterior)


BOTTLENECKS: dict[str, type[Bottleneck]] = {
    "identity": Identity,
    "batch-norm": BatchNorm,
    "gaussian-posterior": GaussianPosterior,
    "constant-variance-posterior": ConstantVariancePosterior,
}
