"""A mixture of Gaussians with full covariances: the paper's GMM."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from entropic_ae.densities.density import Density, check_codes, mean_and_deviation, parameters
from entropic_ae.errors import InputError
from entropic_ae.randomness import generator

__all__ = ["Mixture"]


class Mixture(Density):
    """Gaussians with full covariances, by scikit-learn's expectation maximisation in float64.

    Ten Gaussians, tolerance 1e-3 and at most 2000 iterations from a k-means start, as published; at most half as
    many Gaussians as codes. The codes are standardised for the fit, so that scikit-learn's ridge of
    1e-6 on the covariances means the same at every scale.

    It is fitted to the codes that it is given: where codes have posteriors, these are the posteriors' means, as
    in Ghosh et al., and their standard deviations play no part.

    Arguments:
        weights: (K,) float64, sum 1.
        means: (K, D) float64.
        covariances: (K, D, D) float64.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes that are not finite, or ``components`` below 1.

    Reference: Ghosh et al. (2019), section 4; the paper's column GMM.

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
        """Refuse fewer than one component."""
        if components < 1:
            raise InputError(f"{cls.name}.components must be at least 1, got {components}.")

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
        """Fit ``components`` Gaussians to codes, (N, D), N at least 2; one random start from the seed."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        cls.check(components=components)
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        mean, deviation = mean_and_deviation(codes)
        standard = ((codes - mean) / deviation).numpy()
        mixture = GaussianMixture(min(components, len(codes) // 2), tol=1e-3, max_iter=2000, random_state=seed)
        with warnings.catch_warnings():
            # fewer distinct codes than components leave some empty, which is a fit all the same
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                mixture.fit(standard)
            except ValueError as error:
                raise InputError(
                    f"the density 'mixture' could not be fitted to {len(codes)} codes: {error}"
                ) from None
        return cls(
            torch.from_numpy(mixture.weights_),
            mean + deviation * torch.from_numpy(mixture.means_),
            deviation[:, None] * torch.from_numpy(mixture.covariances_) * deviation,
        )

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the logarithm of the density at codes, (N, D): (N,) float64, in nats."""
        mixture = MixtureSameFamily(
            Categorical(self.weights), MultivariateNormal(self.means, self.covariances), validate_args=False
        )
        log_density: Tensor = mixture.log_prob(codes.detach().cpu().double())
        return log_density

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

    def state(self) -> dict[str, Tensor]:
        """Return weights, means and covariances."""
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Mixture:
        """Rebuild from weights, means and covariances."""
        weights, means, covariances = parameters(state, prior, weights="K", means="KD", covariances="KDD")
        if weights.min() < 0 or weights.sum() <= 0:
            raise KeyError("weights are no probabilities")
        return cls(weights, means, covariances)
