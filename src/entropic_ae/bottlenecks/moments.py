"""Bottlenecks that fix moments of the codes over the minibatch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from entropic_ae.arrays import exact
from entropic_ae.bottlenecks.bottleneck import Bottleneck, Code, as_float
from entropic_ae.distributed import global_mean, processes, total
from entropic_ae.errors import InputError
from entropic_ae.priors import Laplace

__all__ = ["BatchNorm", "L1Norm", "Whitening"]


class BatchNorm(Bottleneck):
    """Batch normalisation without affine shift: each dimension has mean 0 and variance 1 over the minibatch.

    Among distributions with these moments N(0, I) has the most entropy, D / 2 * log(2 pi e) nats: it is the
    prior. In evaluation running averages of mean and variance replace those of the minibatch. A dimension that is
    constant over the minibatch becomes zero; in evaluation too, once the averages have converged, up to 3e-4 of
    its value, since they are float32.

    Arguments:
        latent_dim: length D of a code.
        eps: added to the variance; absent from the paper's equation (1).
        momentum: weight of the newest minibatch in the running averages.

    Raises: InputError in training for a batch of one, whose variance is undefined.

    Reference: equation (1) and section 3 of "Batch Norm with Entropic Regularization Turns Deterministic
    Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> z = BatchNorm(2)(torch.randn(100, 2)).z
    >>> torch.allclose(z.mean(0), torch.zeros(2), atol=1e-5)
    True
    """

    bounds_entropy = True

    def __init__(self, latent_dim: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(latent_dim)
        eps, momentum = _checked(eps, momentum)
        self.eps, self.momentum = eps, momentum
        self.norm = nn.BatchNorm1d(latent_dim, eps=eps, momentum=momentum, affine=False)  # for evaluation

    def forward(self, h: Tensor) -> Code:
        """Normalise (N, D); statistics are computed in float32 at least, whatever the autocast state."""
        self.check_batch(h)
        with torch.autocast(h.device.type, enabled=False):
            h = as_float(h)
            if not self.training:
                return Code(self._followed(h))
            mean = _mean(h)
            centred = h - mean
            variance = global_mean(centred.square())
            _follow(self.norm.get_buffer("running_mean"), mean, self.momentum)
            _follow(self.norm.get_buffer("running_var"), _unbiased(variance, h), self.momentum)
            return Code(centred * (variance + self.eps).rsqrt())

    def _followed(self, h: Tensor) -> Tensor:
        mean, variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        if h.dtype == mean.dtype:
            normalised: Tensor = self.norm(h)
            return normalised
        return nn.functional.batch_norm(h, mean.to(h), variance.to(h), eps=self.eps)  # refuses two types

    @property
    def least_batch(self) -> int:
        """One code has no variance."""
        return 2

    def describe(self) -> list[dict[str, Any]]:
        """Return the normalisation by the running averages."""
        mean, variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        return [{"op": "normalise", "mean": mean, "deviation": (variance + self.norm.eps).sqrt()}]


class L1Norm(Bottleneck):
    """Each dimension has mean 0 and mean absolute value 1 over the minibatch, without affine shift.

    Among distributions with these moments that of independent Laplace variables of scale 1 has the most entropy,
    D * (1 + log 2) nats: it is the prior. In evaluation running averages of the mean and of the mean absolute
    deviation replace those of the minibatch. A dimension that is constant over the minibatch becomes zero.

    Arguments:
        latent_dim: length D of a code.
        eps: added to the mean absolute deviation.
        momentum: weight of the newest minibatch in the running averages.

    Raises: InputError in training for a batch of one, which has no deviation.

    References: section 3.3 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631; "L1-Norm Batch
    Normalization for Efficient Training of Deep Neural Networks", Wu et al. (2018),
    https://arxiv.org/abs/1802.09769.

    >>> z = L1Norm(2)(torch.randn(100, 2)).z
    >>> torch.allclose(z.abs().mean(0), torch.ones(2), atol=1e-4)
    True
    """

    bounds_entropy = True
    mean: Tensor
    deviation: Tensor

    def __init__(self, latent_dim: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(latent_dim)
        self.eps, self.momentum = _checked(eps, momentum)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("deviation", torch.ones(latent_dim))

    def forward(self, h: Tensor) -> Code:
        """Normalise (N, D); statistics are computed in float32 at least, whatever the autocast state."""
        self.check_batch(h)
        with torch.autocast(h.device.type, enabled=False):
            h = as_float(h)
            if not self.training:
                return Code((h - self.mean) / (self.deviation + self.eps))
            mean = _mean(h)
            deviation = global_mean((h - mean).abs())
            _follow(self.mean, mean, self.momentum)
            _follow(self.deviation, deviation, self.momentum)
            return Code((h - mean) / (deviation + self.eps))

    @property
    def least_batch(self) -> int:
        """One code has no deviation."""
        return 2

    def excess_energy(self, z: Tensor) -> Tensor:
        """Return the sum of the mean absolute values of codes, (N, D), minus D."""
        return z.abs().sum(1).mean() - self.latent_dim

    def prior(self) -> Distribution:
        """Return independent Laplace variables of location 0 and scale 1."""
        return Laplace.standard(self.latent_dim)

    def describe(self) -> list[dict[str, Any]]:
        """Return the normalisation by the running averages."""
        return [{"op": "normalise", "mean": self.mean, "deviation": self.deviation + self.eps}]


class Whitening(Bottleneck):
    """The codes have mean 0 and covariance I over the minibatch: batch norm that also removes correlations.

    Among distributions with these moments N(0, I) has the most entropy, as under ``BatchNorm``; of the codes that
    ``BatchNorm`` allows, only the uncorrelated ones remain. The codes are centred h times the inverse square root
    of its covariance (ZCA, the whitening that changes h least). In evaluation running averages of the mean and of
    the covariance replace those of the minibatch.

    Give a minibatch several times D codes. Of N normal codes the matrix of the minibatch stretches one direction
    about 1 / (1 - sqrt(D / N)) times as much as that of their own covariance, by Marchenko and Pastur's law: five
    times for N = 100 and D = 64. The running averages, too, need many codes for D x D numbers, so that
    reconstructions in evaluation may be worse than in training.

    Arguments:
        latent_dim: length D of a code.
        eps: added to the variances.
        momentum: weight of the newest minibatch in the running averages.
        iterations: Newton-Schulz steps to the inverse square root. A direction with a share s of the total
            variance is white after about 1.2 * log(1 / s) + 4 steps: 20 suffice for a millionth.

    Raises: InputError in training for a batch of D codes or fewer, whose covariance is singular.

    References: "Decorrelated Batch Normalization", Huang et al. (2018), https://arxiv.org/abs/1804.08450;
    "Iterative Normalization: Beyond Standardization towards Efficient Whitening", Huang et al. (2019),
    https://arxiv.org/abs/1904.03441; for the coupled iteration, equation (6.35) of "Functions of Matrices", Higham
    (2008), https://doi.org/10.1137/1.9780898717778.

    >>> z = Whitening(2)(torch.randn(100, 2) @ torch.tensor([[1.0, 2.0], [0.0, 1.0]])).z
    >>> torch.allclose(z.T @ z / 100, torch.eye(2), atol=1e-3)
    True
    """

    bounds_entropy = True
    mean: Tensor
    covariance: Tensor

    def __init__(self, latent_dim: int, *, eps: float = 1e-5, momentum: float = 0.1, iterations: int = 20) -> None:
        super().__init__(latent_dim)
        self.eps, self.momentum = _checked(eps, momentum)
        if iterations < 1:
            raise InputError(f"iterations must be at least 1, got {iterations}.")
        self.iterations = iterations
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("covariance", torch.eye(latent_dim))

    def forward(self, h: Tensor) -> Code:
        """Whiten (N, D); statistics are computed in float32 at least, whatever the autocast state."""
        self.check_batch(h)
        with torch.autocast(h.device.type, enabled=False):
            h = as_float(h)
            if not self.training:
                return Code((h - self.mean) @ self.matrix().to(h))
            mean = _mean(h)
            centred = h - mean
            covariance = total(centred.T @ centred) / (len(h) * processes())
            _follow(self.mean, mean, self.momentum)
            _follow(self.covariance, _unbiased(covariance, h), self.momentum)
            return Code(centred @ self._inverse_root(covariance).to(h))

    def matrix(self) -> Tensor:
        """Return the whitening matrix of evaluation, (D, D) float64."""
        return self._inverse_root(self.covariance)

    @property
    def least_batch(self) -> int:
        """The covariance of D codes is singular."""
        return self.latent_dim + 1

    def describe(self) -> list[dict[str, Any]]:
        """Return the centring and the multiplication by ``matrix()``."""
        return [{"op": "normalise", "mean": self.mean}, {"op": "multiply", "matrix": self.matrix().to(self.mean)}]

    @exact
    def _inverse_root(self, covariance: Tensor) -> Tensor:
        """Return the inverse square root, (D, D) float64, by matrix products alone: no GPU synchronisation."""
        identity = torch.eye(self.latent_dim, dtype=torch.float64, device=covariance.device)
        covariance = covariance.double() + self.eps * identity
        total = covariance.trace()
        root, inverse = covariance / total, identity  # eigenvalues in (0, 1], for which the iteration converges
        for _ in range(self.iterations):
            step = (3 * identity - inverse @ root) / 2
            root, inverse = root @ step, step @ inverse
        return inverse / total.sqrt()


def _checked(eps: float, momentum: float) -> tuple[float, float]:
    if not eps > 0 or not 0 < momentum <= 1:
        raise InputError(f"expected eps > 0 and 0 < momentum <= 1, got eps={eps} and momentum={momentum}.")
    return eps, momentum


def _mean(h: Tensor) -> Tensor:
    """Return the mean over the rows of all processes; for a constant dimension exactly its value.

    A plain mean has a rounding error, by which a constant dimension would seem to vary.
    """
    mean = global_mean(h)
    return mean + global_mean((h - mean).detach())  # the correction has no gradient


def _unbiased(variance: Tensor, h: Tensor) -> Tensor:
    """Return the unbiased variance or covariance, from the biased one over the rows, (N, D), of all processes."""
    count = len(h) * processes()
    return variance * (count / (count - 1))


@torch.no_grad()
def _follow(average: Tensor, newest: Tensor, momentum: float) -> None:
    average.lerp_(newest.to(average), momentum)
