"""One Gaussian with full covariance: the paper's MVG."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae.densities.density import Density, Sampler, check_codes, square_root
from entropic_ae.randomness import generator
from entropic_ae.storage.tensors import parameters

__all__ = ["Gaussian"]


class Gaussian(Density):
    """N(mu, Sigma) with the codes' mean and full covariance, in float64.

    The covariance may be singular (constant or dependent dimensions, fewer codes than dimensions): samples
    then stay in its range.

    If codes have posteriors, the density is fitted to the posterior means, as in Ghosh et al., and the standard
    deviations are ignored.

    Arguments:
        mean: (D,) float64.
        covariance: (D, D) float64, symmetric.

    Raises: InputError from ``fit`` for fewer than 2 codes or codes that are not finite.

    Reference: section 4 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436; the paper's column MVG.

    >>> density = Gaussian(torch.zeros(2).double(), torch.eye(2).double())
    >>> density.sample(5, seed=0).shape
    torch.Size([5, 2])
    """

    name = "gaussian"

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean = mean
        self.covariance = covariance

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution,  # noqa: ARG003
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,  # noqa: ARG003
    ) -> Gaussian:
        """Take the mean and the unbiased covariance of codes, (N, D)."""
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        return cls(codes.mean(0), torch.cov(codes.T).reshape(codes.shape[1], codes.shape[1]))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32."""
        noise = torch.randn(n, len(self.mean), generator=generator(seed), dtype=torch.float64)
        # an eigendecomposition, unlike Cholesky's, works for a singular covariance too
        values, vectors = torch.linalg.eigh(self.covariance)
        return (self.mean + noise * values.clamp_min(0).sqrt() @ vectors.T).float()

    def sampler(self) -> Sampler:
        """Return the density as a function of D values of noise."""
        return _Affine(self)

    def state(self) -> dict[str, Tensor]:
        """Return mean and covariance."""
        return {"mean": self.mean, "covariance": self.covariance}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Gaussian:
        """Rebuild from mean and covariance."""
        return cls(*parameters(state, prior.event_shape[0], mean="D", covariance="DD"))


class _Affine(Sampler):
    mean: Tensor
    root: Tensor

    def __init__(self, density: Gaussian) -> None:
        columns = "each row is multiplied by a square root of the covariance and shifted by the mean"
        super().__init__(density.mean.numel(), columns, mean=density.mean, root=square_root(density.covariance))

    def forward(self, noise: Tensor) -> Tensor:
        return self.mean + noise @ self.root.mT
