"""A mixture of Gaussians with full covariances: the paper's GMM."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # missing in its stub

from entropic_ae.arrays import as_tensor
from entropic_ae.densities.density import Density, Sampler, check_codes, square_root
from entropic_ae.errors import InputError
from entropic_ae.mixtures import GaussianMixture, choose_mixture, fit_mixture
from entropic_ae.priors import normal_cdf
from entropic_ae.randomness import generator
from entropic_ae.storage.tensors import parameters

__all__ = ["Mixture"]


class Mixture(Density):
    """Gaussians with full covariances, by expectation maximisation in float64.

    As published: ten Gaussians, tolerance 1e-3 and at most 2000 iterations from a k-means start. The number of
    Gaussians is at most half the number of codes, and at most that of distinct ones. The codes are standardised
    for the fit, so that the ridge of 1e-6 on the covariances means the same at every scale. Codes on a GPU are
    fitted there, from the same start and to the same mixture up to rounding.

    If codes have posteriors, the density is fitted to the posterior means, as in Ghosh et al., and the standard
    deviations are ignored.

    Arguments:
        weights: (K,) float64, sum 1.
        means: (K, D) float64.
        covariances: (K, D, D) float64.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes that are not finite, or ``components`` below 0.

    Reference: section 4 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436; the paper's column GMM.

    >>> density = Mixture(torch.ones(1).double(), torch.zeros(1, 2).double(), torch.eye(2).double()[None])
    >>> density.sample(5, seed=0).shape
    torch.Size([5, 2])
    """

    name = "mixture"

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.weights = weights
        self.means = means
        self.covariances = covariances

    @classmethod
    def check(cls, *, components: int = 10) -> None:
        """Raise InputError for a negative number of components."""
        if components < 0:
            raise InputError(f"{cls.name}.components must be at least 1, or 0 to choose it, got {components}.")

    @classmethod
    def fit(
        cls,
        codes: Tensor,
        prior: Distribution,  # noqa: ARG003
        *,
        std: Tensor | None = None,  # noqa: ARG003
        seed: int = 0,
        components: int = 10,
    ) -> Mixture:
        """Fit Gaussians to codes, (N, D), N at least 2; one random start from the seed.

        Arguments:
            components: number of Gaussians; 0 chooses it, from 1 to 200, by the likelihood of held-out codes, see
                ``mixtures.choose_mixture``.
        """
        cls.check(components=components)
        codes = as_tensor(codes, cls.name)
        points = check_codes(codes, 2, f"the density '{cls.name}'")
        if codes.device.type == "cuda":  # other devices may lack float64
            points = points.to(codes.device)
        try:
            fitted = (
                fit_mixture(points, components, seed=seed) if components else choose_mixture(points, seed=seed)
            )
        except (ValueError, LinAlgError) as error:
            raise InputError(f"the density 'mixture' could not be fitted to {len(codes)} codes: {error}") from None
        return cls(*(parameter.cpu() for parameter in fitted))

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the logarithm of the density at codes, (N, D): (N,) float64, in nats."""
        mixture = GaussianMixture(self.weights, self.means, self.covariances)
        return mixture.log_prob(as_tensor(codes, self.name).detach().cpu())

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw n codes, (n, D) float32, in random order of the components."""
        source = generator(seed)
        component = torch.multinomial(self.weights, n, replacement=True, generator=source)
        noise = torch.randn(n, self.means.shape[1], generator=source, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(self.covariances)
        roots = vectors * values.clamp_min(0).sqrt()[:, None]
        codes = self.means[component]
        for k in range(len(self.weights)):
            chosen = component == k
            codes[chosen] += noise[chosen] @ roots[k].T
        return codes.float()

    def sampler(self) -> Sampler:
        """Return the density as a function of D + 1 values of noise; the first selects the Gaussian."""
        return _Choice(self)

    def state(self) -> dict[str, Tensor]:
        """Return weights, means and covariances."""
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Mixture:
        """Rebuild from weights, means and covariances."""
        weights, means, covariances = parameters(
            state, prior.event_shape[0], weights="K", means="KD", covariances="KDD"
        )
        if weights.min() < 0 or weights.sum() <= 0:
            raise KeyError("weights are no probabilities")
        return cls(weights, means, covariances)


class _Choice(Sampler):
    cumulative: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, density: Mixture) -> None:
        components, dim = density.means.shape
        super().__init__(
            dim + 1,
            f"the first value chooses one of {components} Gaussians, the others draw from it",
            cumulative=(density.weights / density.weights.sum()).cumsum(0)[:-1],
            means=density.means,
            roots=square_root(density.covariances),
        )

    def forward(self, noise: Tensor) -> Tensor:
        choice, noise = normal_cdf(noise[:, 0]), noise[:, 1:]
        component = (choice[:, None] >= self.cumulative).sum(1)
        chosen = torch.arange(len(self.means)) == component[:, None]
        # a draw from each Gaussian, all but one set to 0; gathering a matrix per code would take more memory. The
        # matrices side by side: OpenVINO refuses a product of a batch of any size with a stack of them
        roots = self.roots.permute(2, 0, 1).flatten(1)
        drawn = self.means + (noise @ roots).unflatten(1, self.means.shape)
        return torch.where(chosen[:, :, None], drawn, 0.0).sum(1)
