"""A mixture of Gaussians with full covariances: the paper's GMM."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # missing in its stub

from entropic_ae.arrays import as_tensor
from entropic_ae.densities.density import (
    Density,
    Sampler,
    check_codes,
    mean_and_deviation,
    square_root,
)
from entropic_ae.errors import InputError
from entropic_ae.priors import normal_cdf
from entropic_ae.randomness import generator
from entropic_ae.storage.tensors import parameters

__all__ = ["Mixture"]

_PUBLISHED: dict[str, Any] = {"tol": 1e-3, "max_iter": 2000}
_ONE_AT_A_TIME = threading.Lock()


class Mixture(Density):
    """Gaussians with full covariances, by scikit-learn's expectation maximisation in float64.

    As published: ten Gaussians, tolerance 1e-3 and at most 2000 iterations from a k-means start. The number of
    Gaussians is at most half the number of codes. The codes are standardised for the fit, so that scikit-learn's
    ridge of 1e-6 on the covariances means the same at every scale. With scikit-learn 1.8 or newer, codes on a GPU
    are fitted there, from the same start and to the same mixture up to rounding.

    If codes have posteriors, the density is fitted to the posterior means, as in Ghosh et al., and the standard
    deviations are ignored.

    Arguments:
        weights: (K,) float64, sum 1.
        means: (K, D) float64.
        covariances: (K, D, D) float64.

    Raises: InputError from ``fit`` for fewer than 2 codes, codes that are not finite, or ``components`` below 1.

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
        """Raise InputError for fewer than one component."""
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

        cls.check(components=components)
        codes = as_tensor(codes, cls.name)
        device = codes.device
        codes = check_codes(codes, 2, f"the density '{cls.name}'")
        mean, deviation = mean_and_deviation(codes)
        standard, count = (codes - mean) / deviation, min(components, len(codes) // 2)
        with warnings.catch_warnings():
            # with fewer distinct codes than components some stay empty, which is still a valid fit
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                if device.type == "cpu" or not _takes_tensors():
                    weights, means, covariances = _fit_arrays(standard, count, seed)
                else:
                    weights, means, covariances = _fit_tensors(standard, count, seed, device)
            except (ValueError, LinAlgError) as error:
                raise InputError(
                    f"the density 'mixture' could not be fitted to {len(codes)} codes: {error}"
                ) from None
        return cls(weights, mean + deviation * means, deviation[:, None] * covariances * deviation)

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the logarithm of the density at codes, (N, D): (N,) float64, in nats."""
        mixture = MixtureSameFamily(
            Categorical(self.weights), MultivariateNormal(self.means, self.covariances), validate_args=False
        )
        log_density: Tensor = mixture.log_prob(as_tensor(codes, self.name).detach().cpu().double())
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
        component = (choice[None] >= self.cumulative[:, None]).sum(0)
        chosen = torch.arange(len(self.means))[:, None] == component[None]
        # a draw from each Gaussian, all but one set to 0; gathering a matrix per code would take more memory
        drawn = self.means[:, None] + noise @ self.roots.mT
        return (drawn * chosen[:, :, None]).sum(0)


def _takes_tensors() -> bool:
    """Return whether this scikit-learn fits mixtures to tensors: 1.8 or newer."""
    import sklearn

    major, minor = sklearn.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (1, 8)


def _fit_arrays(codes: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and covariances of standardised codes, (N, D) float64 on the CPU."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(components, random_state=seed, **_PUBLISHED).fit(codes.numpy())
    weights, means, covariances = map(torch.from_numpy, (mixture.weights_, mixture.means_, mixture.covariances_))
    return weights, means, covariances


def _fit_tensors(codes: Tensor, components: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as ``_fit_arrays``; the expectation maximisation runs on a device.

    scikit-learn has no k-means start for tensors, so the start is computed from arrays and passed as parameters.
    """
    from sklearn.mixture import GaussianMixture

    start = GaussianMixture(components, random_state=seed, **{**_PUBLISHED, "max_iter": 0}).fit(codes.numpy())
    precisions = torch.from_numpy(start.precisions_)
    mixture = GaussianMixture(
        components,
        init_params="random_from_data",  # works for tensors; its draw is replaced by the start below
        weights_init=torch.from_numpy(start.weights_ / start.weights_.sum()).to(device),
        means_init=torch.from_numpy(start.means_).to(device),
        precisions_init=((precisions + precisions.mT) / 2).to(device),  # else refused as asymmetric, by rounding
        random_state=seed,
        **_PUBLISHED,
    )
    with _on_tensors():
        mixture.fit(codes.to(device))
    return mixture.weights_.cpu(), mixture.means_.cpu(), mixture.covariances_.cpu()


@contextmanager
def _on_tensors() -> Iterator[None]:
    """Let scikit-learn compute on tensors within the block, in one thread at a time.

    It requires an environment variable that enables the same in SciPy, which mixtures of tensors do not use. SciPy
    reads the variable only at import, so setting it here has no other effect.
    """
    import sklearn

    name = "SCIPY_ARRAY_API"
    with _ONE_AT_A_TIME:
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            with sklearn.config_context(array_api_dispatch=True):
                yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
