"""The Knothe-Rosenblatt map of a mixture of Gaussians, which makes its draws exactly standard normal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from typing_extensions import Self

from entropic_ae.errors import InputError
from entropic_ae.mixtures import GaussianMixture, check_fit, choose_mixture, fit_mixture
from entropic_ae.priors import Normal, normal_quantile
from entropic_ae.storage.tensors import parameters
from entropic_ae.transports.traced import TracedMixture
from entropic_ae.transports.transport import Transport, mean_and_unit

__all__ = ["MixtureTransport"]

_CELLS = 2**16  # values of a block: blocks that fit the cache are faster
_BROAD, _SPREAD = 1e-3, 4.0  # weight of the broad component, and its covariance in units of the scores' own
_RIDGE = 1e-6  # of that covariance, in units of each dimension's variance
_DEEP = 36.0  # deviations at which a tail has no digits in float64
_SINGLE = 5.0  # deviations up to which the search begins in float32
_COARSE = 1e-3  # error in u at which a search ends
_CLOSE, _POLISHED = 1e-7, 1e-6  # relative steps after which no second follows, and of the second; ten times in u
_STEPS = 100  # of a search, which never takes as many


class MixtureTransport(Transport):
    """The Knothe-Rosenblatt map of a mixture of Gaussians.

    A mixture's conditional distributions are one-dimensional mixtures, so u_d = F^-1(G(z_d | z_1 ... z_(d-1))),
    with G the conditional distribution function and F that of N(0, 1), is a closed form. It is deterministic,
    invertible, and needs no training beyond the mixture's. Draws of the mixture become exactly N(0, I); codes
    become N(0, I) as far as the mixture fits them. One broad Gaussian of weight 0.001, with the codes' mean and
    four times their covariance, is added to the fitted mixture: without it the map would be flat, and not
    invertible in float64, between components and some deviations away from them; with it, up to some 40. The
    inverse solves one monotone equation per dimension by Newton's steps, kept in a bracket; its gradient is that
    of the implicit function.

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
        self._prepare()

    def _prepare(self) -> None:
        """Factor the covariances: P_k x - offset_k is standard normal under component k."""
        factors = self.mixture.precision_factors()
        # value d of the product depends on x_1 ... x_d only
        self.register_buffer("_factors", factors.transpose(0, 1).contiguous(), persistent=False)  # (S, K, S)
        offsets = (factors @ self.means[..., None]).squeeze(2).T
        self.register_buffer("_offsets", offsets.contiguous(), persistent=False)  # (S, K)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load the mixture, and factor its covariances."""
        super()._load_from_state_dict(*args, **kwargs)
        self._prepare()

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
        return f"{super().summary}, {self.components} component{'s' * (self.components > 1)}"

    @classmethod
    def check(cls, *, components: int = 0, scales: int = 2, shrinkage: float = 1.0) -> None:
        """Raise InputError for a negative number of components or shrinkage, or less than one scale."""
        if isinstance(components, int) and components < 0:
            raise InputError(f"transport.components must be at least 1, or 0 to choose it, got {components}.")
        check_fit("transport", components or 1, scales, shrinkage)

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
        dim, (mean, unit) = scores.shape[1], mean_and_unit(scores)
        broad = torch.cov(((scores - mean) / unit).T).reshape(dim, dim) + _RIDGE * torch.eye(dim).to(scores)
        broad = _SPREAD * unit[:, None] * broad * unit
        return {
            "weights": torch.cat([fitted.weights * (1 - _BROAD), fitted.weights.new_tensor([_BROAD])]),
            "means": torch.cat([fitted.means, mean[None]]),
            "covariances": torch.cat([fitted.covariances, broad[None]]),
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
            slopes = factor[:, d]
            shifts = known @ factor[:, :d].T - offset  # (N, K)
            column = _Root.apply(u[:, d], log_weights, shifts, slopes)
            columns.append(column)
            known = torch.stack(columns, 1)
            values = torch.addcmul(shifts, column[:, None], slopes)
            log_weights = torch.addcmul(log_weights + slopes.log(), values, values, value=-0.5)
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


class _Root(torch.autograd.Function):
    """z with sum_k w_k Phi(slope_k z + shift_k) = Phi(u), (N,), with derivatives of every order.

    Arguments of ``apply``:
        u: (N,).
        log_weights: (N, K), of any sum of weights.
        shifts: (N, K).
        slopes: (K,), positive.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
        """Search for the root."""
        return _search(u, log_weights, shifts, slopes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        """Keep everything, from which the derivatives of the implicit function follow."""
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Divide the derivatives of both sides by the density, as logarithms: all may be tiny."""
        u, log_weights, shifts, slopes, z = ctx.saved_tensors
        log_weights = log_weights.log_softmax(1)
        values = z[:, None] * slopes + shifts
        log_heights = log_weights - values.square() / 2  # but for a factor sqrt(2 pi), as all densities here
        log_density = (log_heights + slopes.log()).logsumexp(1)
        of_u = gradient * (-u.square() / 2 - log_density).exp()
        if not any(ctx.needs_input_grad[1:]):
            return of_u, None, None, None
        of_shifts = -gradient[:, None] * (log_heights - log_density[:, None]).exp()
        # w_k (Phi(value_k) - Phi(u)), by the smaller tails
        sign = torch.where(u < 0, 1.0, -1.0).to(u)
        tails, tail = torch.special.log_ndtr(sign[:, None] * values), torch.special.log_ndtr(sign * u)
        scale = log_weights + math.log(2 * math.pi) / 2 - log_density[:, None]
        excess = (scale + tails).exp() - (scale + tail[:, None]).exp()
        of_weights = -gradient[:, None] * sign[:, None] * excess
        return of_u, of_weights, of_shifts, (of_shifts * z[:, None]).sum(0)


class _Conditional(NamedTuple):
    """Equations sum_k w_k Phi(-(slope_k y + shift_k)) = Phi(-u) for y, (N,).

    Attributes:
        u: (N,), at least 0.
        weights, heights: (N, K), w_k and w_k slope_k.
        shifts, slopes: (N, K) and (K,), in units of sqrt(2).
    """

    u: Tensor
    weights: Tensor
    heights: Tensor
    shifts: Tensor
    slopes: Tensor

    def of(self, rows: Tensor) -> _Conditional:
        """Return the equations of some rows."""
        return self._replace(
            u=self.u[rows], weights=self.weights[rows], heights=self.heights[rows], shifts=self.shifts[rows]
        )

    def single(self) -> _Conditional:
        """Return the equations in float32."""
        return _Conditional(*(part.float() for part in self))

    def tail_and_density(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the left side and, but for its sign and a factor sqrt(2 pi), its derivative: (N,) each."""
        values = torch.addcmul(self.shifts, y[:, None], self.slopes)
        tail = torch.linalg.vecdot(self.weights, torch.erfc(values)) / 2
        return tail, torch.linalg.vecdot(self.heights, values.square_().neg_().exp_())

    def newton(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return Newton's step on the logarithm of both sides, and the error in u before it: (N,) each."""
        tail, density = self.tail_and_density(y)
        missing = (tail.log() - torch.special.log_ndtr(-self.u)) * tail * math.sqrt(2 * math.pi)
        return missing / density, (missing * (self.u.square() / 2).exp()).abs()


def _search(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return the solution: by a search in float32, then Newton's steps, then bisection where they fail."""
    sign = torch.where(u < 0, -1.0, 1.0).to(u)  # equations of negative u are mirrored
    weights = log_weights.softmax(1)
    halved = math.sqrt(0.5)
    equations = _Conditional(
        u.abs(), weights, weights * slopes, shifts * (sign * halved)[:, None], slopes * halved
    )
    y = _bracketed(equations.single()).to(u)
    step, off = equations.newton(y)
    y = y + step
    # the error left is of the order of the square of the one before; where the density is tiny it may be anything
    more = ~((step.abs() < _CLOSE * (1 + y.abs())) & (off < 10 * _CLOSE))
    if bool(more.any()):
        step[more], off[more] = equations.of(more).newton(y[more])
        y[more] += step[more]
    z = y * sign
    missed = ~((step.abs() < _POLISHED * (1 + y.abs())) & (off < 10 * _POLISHED) & (u.abs() < _SINGLE))
    if bool(missed.any()):
        z[missed] = _careful(u[missed], log_weights[missed].log_softmax(1), shifts[missed], slopes)
    return z


def _bracketed(equations: _Conditional) -> Tensor:
    """Return the solution with an error in u of at most 1e-3, or in y of float32's order, by Newton's steps."""
    quantiles = (equations.u[:, None] * math.sqrt(0.5) - equations.shifts) / equations.slopes
    y = torch.linalg.vecdot(equations.weights, quantiles)
    low, high = quantiles.aminmax(dim=1)  # the components' span the mixture's
    found, places = y.clone(), torch.arange(len(y), device=y.device)
    for step in range(_STEPS):
        tail, density = equations.tail_and_density(y)
        reached = -torch.special.ndtri(tail)
        error = reached - equations.u
        low, high = torch.where(error < 0, y, low), torch.where(error > 0, y, high)
        following = y - error * (reached.square() / -2).exp() / density
        inside = (following > low) & (following < high)
        if step >= 6 and step % 2:  # Newton's steps may creep along one end of the bracket
            inside = torch.zeros_like(inside)
        found[places] = torch.where(inside, following, y)
        more = ~((error.abs() < _COARSE) | (high - low <= 1e-6 * y.abs()))
        if not bool(more.any()):
            break
        following = torch.where(inside, following, (low + high) / 2)
        places, y, low, high = places[more], following[more], low[more], high[more]
        equations = equations.of(more)
    return found


def _careful(u: Tensor, log_weights: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """Return the solution in float64 by bisection on the logarithm of the tail, which holds everywhere."""
    low, high = ((u[:, None] - shifts) / slopes).aminmax(dim=1)
    left, target = u < 0, torch.special.log_ndtr(-u.abs())
    for _ in range(_STEPS):
        z = (low + high) / 2
        below = (_log_tails(z[:, None] * slopes + shifts, log_weights, left) < target) == left
        low, high = torch.where(below, z, low), torch.where(below, high, z)
    return (low + high) / 2
