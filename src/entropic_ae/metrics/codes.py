"""Metrics of codes: their entropy and the number of active dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import DivergenceError, InputError
from entropic_ae.estimators import discrete_entropy, distinct_codes, knn_entropy
from entropic_ae.priors import Alphabet
from entropic_ae.randomness import seeded

if TYPE_CHECKING:
    from torch.distributions import Distribution

__all__ = ["active_codes", "check_finite", "entropy_gap"]

_ACTIVE = 0.01  # the share of variance below which a dimension of the code counts as dead: Burda et al.'s


def entropy_gap(
    codes: ArrayLike,
    prior: Distribution | None,
    k: int = 1,
    *,
    estimator: Callable[..., Tensor] | None = None,
    seed: int = 0,
) -> dict[str, float | int | None]:
    """Return the gap between the entropy of the codes and the maximum under their constraints.

    For codes of mean 0 and variance 1 in each direction, the maximum is the entropy of N(0, I), and the gap is the
    Kullback-Leibler divergence of the codes from N(0, I). The nearest-neighbour estimate is biased, by several
    nats in many dimensions: about 7 for 10,000 codes of 64, so the plain gap can be negative. ``corrected_gap``
    replaces the maximum by the same estimate for as many samples of the prior, which has a similar bias.

    Equal codes count once; ``distinct`` is the number of the others. If no more than k values differ, all codes
    count, and the entropy is far too low. Under a ``priors.Alphabet`` all codes count: how often each is used is
    what their entropy is of.

    Arguments:
        codes: (N, D), N > k.
        prior: the maximum-entropy distribution under the bottleneck's constraints, over (D,); None if the
            bottleneck does not bound the entropy.
        k: order of the nearest neighbour in the estimate.
        estimator: entropy estimator of the bottleneck, for the space of the codes; by default ``knn_entropy``, and
            ``discrete_entropy`` under a ``priors.Alphabet``.
        seed: of the samples of the prior.

    Returns:
        ``n``, ``distinct``, ``entropy``, ``maximum``, ``gap`` = maximum - entropy, ``prior_estimate`` and
        ``corrected_gap`` = prior_estimate - entropy; in nats, all but the first three None without a prior. Under
        a ``priors.Alphabet`` also ``states``, the number of states of a token.

    Raises:
        InputError: codes that are not a finite matrix, N <= k, or a prior of another width.

    Reference: Kozachenko and Leonenko, "Sample estimate of the entropy of a random vector", 1987.

    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> codes = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    >>> prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    >>> abs(entropy_gap(codes, prior)["gap"]) < 0.1
    True
    >>> entropy_gap(codes, None)["gap"] is None
    True
    """
    codes = as_tensor(codes, "entropy_gap")
    if codes.ndim != 2 or codes.shape[1] == 0 or len(codes) <= k:
        raise InputError(
            f"entropy_gap needs codes (N, D) with N > k={k}, got shape {tuple(codes.shape)}; give more codes."
        )
    check_finite(codes)
    n, dim = codes.shape
    distinct, alphabet = len(codes.unique(dim=0)), isinstance(prior, Alphabet)
    codes = codes.detach() if alphabet else distinct_codes(codes.detach(), k)
    estimator = estimator or (discrete_entropy if alphabet else knn_entropy)
    entropy = estimator(codes.double(), k).item()
    result: dict[str, float | int | None] = {"n": n, "distinct": distinct, "entropy": entropy}
    if prior is None:
        return result | dict.fromkeys(("maximum", "gap", "prior_estimate", "corrected_gap"))
    if prior.event_shape != (dim,) or prior.batch_shape:
        raise InputError(
            f"the prior must be over the {dim} values of a code, got event {tuple(prior.event_shape)} and "
            f"batch {tuple(prior.batch_shape)}; wrap it in torch.distributions.Independent."
        )
    maximum = prior.entropy().item()
    with seeded(seed):
        prior_estimate = estimator(prior.sample((len(codes),)).double(), k).item()
    if isinstance(prior, Alphabet):
        result["states"] = prior.states
    return result | {
        "maximum": maximum,
        "gap": maximum - entropy,
        "prior_estimate": prior_estimate,
        "corrected_gap": prior_estimate - entropy,
    }


def check_finite(codes: Tensor) -> None:
    """Raise InputError if a code is not finite."""
    if not bool(torch.isfinite(codes).all()):
        raise DivergenceError(
            "codes must be finite, got NaN or infinite values; the model has diverged: lower its learning rate."
        )


def active_codes(codes: ArrayLike, posterior_std: ArrayLike | None = None) -> int:
    """Return the number of dimensions of the code that carry information; the others are dead.

    With a posterior, whose mean is the code, dimension d is active if the variance of its mean over the data is
    more than 0.01 of its total variance, ``Var[mean_d] + E[std_d ** 2]``. If that total is 1, as for codes that
    match N(0, I), this is the rule of Burda et al., a variance above 0.01. Unlike theirs, it does not depend on
    the scale of the codes.

    Without a posterior, scale and axes are arbitrary: any linear layer can change both, and batch normalisation
    gives variance 1 even to copies of one dimension. Then the number of principal directions is returned whose
    variance is more than 0.01 of the largest. A narrow direction may still matter to the decoder; codes on a
    curved sheet have more directions than degrees of freedom.

    Arguments:
        codes: (N, D), N >= 2; with a posterior, its means.
        posterior_std: standard deviations of the posterior, (N, D), or (D,) if all codes share them.

    Returns: a number from 0 to D.

    Raises: InputError: codes that are not a finite matrix of 2 rows at least, or deviations of another shape,
        negative or not finite.

    References:
        Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016, section 5.2, for the rule and
        0.01, https://arxiv.org/abs/1509.00519.
        Jing et al., "Understanding dimensional collapse in contrastive self-supervised learning", 2022, for the
        spectrum, https://arxiv.org/abs/2110.09348.

    >>> import torch
    >>> codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> active_codes(torch.cat([codes, codes[:, :1], torch.ones(500, 1)], 1))  # one copy, one constant
    3
    >>> active_codes(codes * torch.tensor([1, 0.01, 0.01]), torch.tensor([0.1, 1, 0.001]))
    2
    """
    codes = as_tensor(codes, "active_codes")
    if codes.ndim != 2 or codes.shape[1] == 0 or len(codes) < 2:
        raise InputError(
            f"active_codes needs codes (N, D) with N >= 2, got shape {tuple(codes.shape)}; give more codes."
        )
    check_finite(codes)
    resolution = torch.finfo(codes.dtype if codes.is_floating_point() else torch.float32).eps
    codes = codes.detach().double()
    rounding = (resolution**2 * codes.square().sum(1).mean()).item()  # what equal codes may differ by
    codes = codes - codes[0]  # equal codes become zeros, which their mean leaves as they are
    if posterior_std is None:
        variance = torch.linalg.eigvalsh(torch.cov(codes.T).reshape(codes.shape[1], -1))
        reference = variance.max()
    else:
        std = as_tensor(posterior_std, "posterior_std").detach().to(codes)
        if std.shape not in (codes.shape, codes.shape[1:]) or not bool((std.isfinite() & (std >= 0)).all()):
            raise InputError(
                f"posterior_std must be at least 0, finite and shaped {tuple(codes.shape)} or "
                f"{tuple(codes.shape[1:])}, got {tuple(std.shape)}; give the deviations of these codes."
            )
        variance = codes.var(0)
        reference = variance + std.square().expand_as(codes).mean(0)
    return int(((variance > _ACTIVE * reference) & (variance > rounding)).sum())
