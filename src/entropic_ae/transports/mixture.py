"""The Knothe-Rosenblatt map of a mixture of Gaussians, which makes its draws exactly standard normal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.errors import InputError
from entropic_ae.mixtures import GaussianMixture, check_fit, choose_mixture, fit_mixture
from entropic_ae.priors import Normal, normal_quantile
from entropic_ae.storage.tensors import parameters
from entropic_ae.transports.traced import TracedMixture
from entropic_ae.transports.transport import Transport

__all__ = ["MixtureTransport"]

_CELLS = 2**16  # values of a block: blocks that fit the cache are faster
_BROAD, _SPREAD = 1e-3, 4.0  # weight of the broad component, and its covariance in units of the scores' own
_LEAST_VARIANCE = 1e-24  # of the broad component, for codes that all coincide
_DEEP = 36.0  # deviations at which a tail has no digits in float64
_SINGLE = 5.0  # deviations up to which the search begins in float32
_COARSE, _POLISHED = 1e-3, 1e-6  # error in u, and last step, at which a search and Newton's steps end well
_STEPS = 100  # of a search, which never takes as many


class MixtureTransport(Transport):
    """The Knothe-Rosenblatt map of a mixture of Gaussians.

    A mixture's conditional distributions are one-dimensional mixtures, so u_d = F^-1(G(z_d | z_1 ... z_(d-1))),
    with G the conditional distribution function and F that of N(0, 1), is a closed form. It is deterministic,
    invertible, and needs no training beyond the mixture's. Draws of the mixture become exactly N(0, I); codes
    become N(0, I) as far as the mixture fits them. One broad Gaussian of weight 0.001, with the codes' mean and
    four times their covariance, is added to the fitted mixture: without it the map would be flat, and not
    invertible in float64, between components and far from all of them. The inverse solves one monotone equation
    per dimension by Newton's steps, kept in a bracket; its gradient is that of the implicit function.

    Arguments:
        prior: over (D,).
        weights: (K,), of all Gaussians, the broad one last.
        means: (K, S), of normal scores.
        covariances: (K, S, S).

    Raises: InputError from ``fit`` for an invalid setting.

    References: Rosenblatt, "Remarks on a multivariate transformation", The Annals of Mathematical Statistics 23,
    1952, https://doi.org/10.1214/aoms/1177729394; Knothe, "Contributions to the theory of convex bodies", The
    Michigan Mathematical Journal 4, 1957, https://doi.org/10.1307/mmj/1028990175.

    >>> from entropic_ae.priors import Normal
    >>> z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).double().exp()
    >>> transport = MixtureTransport.fit(z, Normal.standard(2), components=10)
    >>> u = transport(z)
    >>> bool((transport.inverse(u) - z).abs().max() < 1e-5), round(u.std().item(), 1)
    (True, 1.0)
    """

    name = "mixture"
    weights: Tensor
    means: Tensor
    covariances: Tensor
    _factors: Tensor
    _offsets: Tensor

    def __init__(self, prior: Distribution, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        super().__init__(prior)
        self._keep(weights=weights / weights.sum(), means=means, covariances=covariances)
        # e_k = P_k x - offset_k is standard normal under component k, and its value d depends on x_1 ... x_d only
        factors = self.mixture.precision_factors()
        self.register_buffer("_factors", factors.transpose(0, 1).contiguous(), persistent=False)  # (S, K, S)
        offsets = (factors @ self.means[..., None]).squeeze(2).T
        self.register_buffer("_offsets", offsets.contiguous(), persistent=False)  # (S, K)

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture of normal scores."""
        return GaussianMixture(self.weights, self.means, self.covariances)

    @property
    def components(self) -> int:
        """Number of components, each of ``scales`` Gaussians of one mean; the broad one is not counted."""
        return len(self.means[:-1].unique(dim=0))

    @property
    def summary(self) -> str:
        """The transport with its number of components."""
        return f"{super().summary}, {self.components} components"

    @classmethod
    def check(cls, *, components: int = 0, scales: int = 2, shrinkage: float = 1.0) -> None:
        """Raise InputError for a negative number of components or shrinkage, or less than one scale."""
        if components < 0:
            raise InputError(f"{cls.name}.components must be at least 1, or 0 to choose it, got {components}.")
        check_fit(cls.name, components or 1, scales, shrinkage)

    @classmethod
    def fit_scores(
        cls, scores: Tensor, *, seed: int = 0, components: int = 0, scales: int = 2, shrinkage: float = 1.0
    ) -> dict[str, Tensor]:
        """Fit the mixture to scores, (N, S).

        Arguments:
            components: their number; 0 chooses it by the likelihood of held-out scores, see
                ``mixtures.choose_mixture``.
            scales: Gaussians of a component, with one mean and multiples of one covariance, which give it heavier
                tails; 1 is the plain mixture, see ``mixtures.fit_mixture``.
            shrinkage: of the components' covariances towards their average, in pseudo-observations per dimension;
                0 is maximum likelihood.
        """
        cls.check(components=components, scales=scales, shrinkage=shrinkage)
        settings: dict[str, Any] = {"scales": scales, "shrinkage": shrinkage, "seed": seed}
        fitted = fit_mixture(scores, components, **settings) if components else choose_mixture(scores, **settings)
        dim = scores.shape[1]
        broad = torch.cov(scores.T).reshape(1, dim, dim) * _SPREAD
        ridge = 1e-6 * broad.diagonal(dim1=1, dim2=2).mean().clamp_min(_LEAST_VARIANCE)
        broad = broad + ridge * torch.eye(dim).to(scores)
        return {
            "weights": torch.cat([fitted.weights * (1 - _BROAD), fitted.weights.new_tensor([_BROAD])]),
            "means": torch.cat([fitted.means, scores.mean(0, keepdim=True)]),
            "covariances": torch.cat([fitted.covariances, broad]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prior: Distribution) -> Self:
        """Rebuild from weights, means and covariances."""
        dim = cls.scores_of(prior)
        weights, means, covariances = parameters(state, dim, weights="K", means="KD", covariances="KDD")
        if weights.min() < 0 or weights.sum() <= 0:
            raise KeyError("weights are no probabilities")
        try:
            return cls(prior, weights, means, covariances)
        except RuntimeError:  # of the Cholesky factors
            raise KeyError("covariances are not positive definite") from None

    def traced(self) -> nn.Module:
        """Return the map as a graph whose size does not depend on the numbers of dimensions and components."""
        return TracedMixture(self._factors, self._offsets, self.weights)

    def describe(self) -> list[dict[str, Any]]:
        """Return the map as one operation, after the prior's normal scores."""
        return [self._operation("knothe_rosenblatt")]

    def describe_inverse(self) -> list[dict[str, Any]]:
        """Return the inverse as one operation."""
        return [self._operation("inverse_knothe_rosenblatt")]

    def _operation(self, name: str) -> dict[str, Any]:
        if type(self.prior) is not Normal:
            raise InputError(
                f"the transport '{self.name}' to {self.prior.title} cannot be described for safetensors, only one "
                "to N(0, I); export --to onnx."
            )
        return {"op": name, "weights": self.weights, "means": self.means, "covariances": self.covariances}

    def transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores, (N, S), to standard normal ones, and return the log determinant, (N,)."""
        rows = max(1, _CELLS // self.means.numel() + 1)
        parts = [self._transform(block) for block in scores.split(rows)]
        return torch.cat([u for u, _ in parts]), torch.cat([log_det for _, log_det in parts])

    def _transform(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.einsum("dkj,nj->dnk", self._factors, scores) - self._offsets[:, None]  # (S, N, K)
        log_slopes = self._factors.diagonal(dim1=0, dim2=2).log().T[:, None]  # (S, 1, K)
        log_density = log_slopes - values.square() / 2 - math.log(2 * math.pi) / 2
        before = torch.cat([torch.zeros_like(log_density[:1]), log_density[:-1].cumsum(0)]) + self.weights.log()
        log_weights = before.log_softmax(2)
        left = (log_weights.exp() * torch.erf(values * math.sqrt(0.5))).sum(2) < 0
        quantile = normal_quantile(_log_tails(values, log_weights, left))
        u = torch.where(left, quantile, -quantile)
        conditional = (log_weights + log_density).logsumexp(2)
        log_det = conditional + u.square() / 2 + math.log(2 * math.pi) / 2
        return u.T, log_det.sum(0)

    def restore(self, scores: Tensor) -> Tensor:
        """Invert ``transform``: (N, S)."""
        rows = max(1, _CELLS // len(self.weights))
        return torch.cat([self._restore(block) for block in scores.split(rows)])

    def _restore(self, u: Tensor) -> Tensor:
        log_weights = self.weights.log().expand(len(u), -1)
        columns: list[Tensor] = []
        known = u[:, :0]
        for d, (factor, offset) in enumerate(zip(self._factors, self._offsets, strict=True)):
            shifts = known @ factor[:, :d].T - offset  # (N, K)
            column = _solve(u[:, d], log_weights.log_softmax(1), shifts, factor[:, d])
            columns.append(column)
            known = torch.stack(columns, 1)
            values = column[:, None] * factor[:, d] + shifts
            log_weights = log_weights + factor[:, d].log() - values.square() / 2
        return known


def _log_tails(values: Tensor, log_weights: Tensor, left: Tensor) -> Tensor:
    """Return the logarithm of sum_k w_k Phi(values_k), or of sum_k w_k Phi(-values_k) where not ``left``."""
    sides = torch.where(left[..., None], values, -values)
    # erfc and log_ndtr, since PyTorch's ndtr has no digits in its tail
    tails = (log_weights.exp() * torch.erfc(sides * -math.sqrt(0.5))).sum(-1) / 2
    deep = tails < math.exp(-0.5 * _DEEP**2)
    if not bool(deep.any()):
        return tails.log()
    logs = (log_weights[deep] + torch.special.log_ndtr(sides[deep])).logsumexp(-1)
    return torch.where(deep, 1.0, tails).log().masked_scatter(deep, logs)


def _solve(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return z with sum_k w_k Phi(slope_k z + shift_k) = Phi(u), (N,), with its gradients as an implicit function.

    Arguments:
        u: (N,).
        log_weights, shifts: (N, K).
        slopes: (K,), positive.
    """
    with torch.no_grad():
        z = _search(u, log_weights, shifts, slopes)
    if not torch.is_grad_enabled():
        return z
    values = z[:, None] * slopes + shifts
    log_tail = _log_tails(values, log_weights, u < 0)
    error = log_tail - torch.special.log_ndtr(-u.abs())
    error = error - error.detach()  # gradients alone: where the density is tiny the step would only add rounding
    with torch.no_grad():
        log_density = (log_weights + slopes.log() - values.square() / 2).logsumexp(1) - math.log(2 * math.pi) / 2
        step = (log_tail - log_density).exp()
    return z - torch.where(u < 0, error, -error) * step


def _search(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return the solution: by a search in float32, then Newton's steps, then bisection where they fail."""
    weights = log_weights.exp()
    rough = _bracketed(u.float(), weights.float(), shifts.float(), slopes.float())
    z = rough.to(u)
    sign = torch.where(u < 0, 1.0, -1.0).to(u)
    log_target = torch.special.log_ndtr(-u.abs())
    scaled = (sign * -math.sqrt(0.5))[:, None]
    for _ in range(2):
        values = z[:, None] * slopes + shifts
        tail = torch.linalg.vecdot(weights, torch.erfc(values * scaled)) / 2
        density = torch.linalg.vecdot(weights, values.square().div_(-2).exp_().mul_(slopes))
        step = sign * (tail.log() - log_target) * tail / density * math.sqrt(2 * math.pi)
        z = z - step
    # the error left is of the order of the last step's square; where the density is tiny it may be anything
    missed = ~((step.abs() < _POLISHED * (1 + z.abs())) & (u.abs() < _SINGLE))
    if bool(missed.any()):
        z[missed] = _careful(u[missed], log_weights[missed], shifts[missed], slopes)
    return z


def _bracketed(u: Tensor, weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return the solution with an error in u of at most 1e-3, by Newton's steps within a bracket."""
    z, low, high = _bracket(u, weights, shifts, slopes)
    found, places = z.clone(), torch.arange(len(u), device=u.device)
    for step in range(_STEPS):
        values = z[:, None] * slopes + shifts
        flip = torch.where(u < 0, -math.sqrt(0.5), math.sqrt(0.5))
        tail = torch.linalg.vecdot(weights, torch.erfc(values * flip[:, None])) / 2
        density = torch.linalg.vecdot(weights, values.square().div_(-2).exp_().mul_(slopes))
        reached = torch.special.ndtri(tail)
        reached = torch.where(u < 0, reached, -reached)
        error = reached - u
        low, high = torch.where(error < 0, z, low), torch.where(error > 0, z, high)
        following = z - error * (reached.square() / -2).exp() / density
        inside = (following > low) & (following < high)
        if step >= 6 and step % 2:  # Newton's steps may creep along one end of the bracket
            inside = torch.zeros_like(inside)
        found[places] = torch.where(inside, following, z)
        more = ~((error.abs() < _COARSE) | (high - low <= 1e-6 * (1 + z.abs())))
        if not bool(more.any()):
            break
        following = torch.where(inside, following, (low + high) / 2)
        places, u, z, low, high = places[more], u[more], following[more], low[more], high[more]
        weights, shifts = weights[more], shifts[more]
    return found


def _careful(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return the solution in float64 by bisection on the logarithm of the tail, which holds everywhere."""
    z, low, high = _bracket(u, log_weights.exp(), shifts, slopes)
    left, target = u < 0, torch.special.log_ndtr(-u.abs())
    for _ in range(_STEPS):
        below = (_log_tails(z[:, None] * slopes + shifts, log_weights, left) < target) == left
        low, high = torch.where(below, z, low), torch.where(below, high, z)
        z = (low + high) / 2
    return z


def _bracket(u: Tensor, weights: Tensor, shifts: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a first guess, and the least and the greatest quantile of a component, which span the solution."""
    quantiles = (u[:, None] - shifts) / slopes
    low = quantiles.masked_fill(weights == 0, math.inf).amin(1)
    high = quantiles.masked_fill(weights == 0, -math.inf).amax(1)
    return (weights * quantiles).sum(1).maximum(low).minimum(high), low, high
