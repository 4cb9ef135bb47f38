"""Diagnostics: how far codes are from their prior, and the causes of the difference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.estimators import knn_entropy
from entropic_ae.metrics.codes import check_finite
from entropic_ae.metrics.usage import compare_usage
from entropic_ae.priors import Alphabet, CodePrior, as_prior, rank_scores
from entropic_ae.randomness import generator, seeded

__all__ = ["LEVEL", "diagnose", "least_codes", "sliced_wasserstein", "sliced_wasserstein_from"]

LEVEL = 0.01  # significance level of each test
_POOL = 100  # samples of the prior for the rank of the codes' distance
_RANKED = 2000  # maximum number of codes for this rank
_PROJECTIONS = 100
_BLOCKS = 20  # number of blocks of codes, or of samples of the prior
_WHOLE = 2000  # maximum number of codes for a comparison with full samples of the prior instead of blocks
_LEAST_EIGENVALUE = 1e-6  # of correlations: a direction below it is a linear combination of others
_DITHER = 1e-3  # noise in standard deviations: the entropy of tied values would be minus infinity
_NOISE = 0.05  # nats below 0 up to which the estimate of joint structure needs no comment
_EXACT = 5000  # minimum number of codes for the marginals' test without simulation


def sliced_wasserstein(x: ArrayLike, y: ArrayLike, *, projections: int = _PROJECTIONS, seed: int = 0) -> float:
    """Sliced Wasserstein distance between two samples of equal size.

    This is the root mean square, over random directions, of the 2-Wasserstein distance between the projections of
    the samples. In one dimension the squared distance is the mean squared difference of the sorted values.

    Arguments:
        x, y: samples of equal shape, (N, D).
        projections: number of directions.
        seed: of the directions.

    Returns: the distance in units of the codes, at least 0; that of two exact samples falls as 1 / sqrt(N).

    Raises: InputError for different shapes.

    Reference: Bonneel et al., "Sliced and Radon Wasserstein barycenters of measures", 2015,
    https://doi.org/10.1007/s10851-014-0506-3.

    >>> x = torch.randn(500, 1)
    >>> round(sliced_wasserstein(x, x + 3), 4)  # in one dimension, a shift is its length
    3.0
    """
    x, y = as_tensor(x, "sliced_wasserstein"), as_tensor(y, "sliced_wasserstein")
    if x.dim() != 2 or x.shape != y.shape:
        raise InputError(
            f"sliced_wasserstein expects samples of one shape (N, D), got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    return sliced_wasserstein_from(y, projections=projections, seed=seed)(x)


def sliced_wasserstein_from(
    y: Tensor, *, projections: int = _PROJECTIONS, seed: int = 0
) -> Callable[[Tensor], float]:
    """Return ``sliced_wasserstein`` from one sample, (N, D), as a function of another of that shape.

    The sample is projected and sorted once, which is half of the work for each of many others.

    >>> sliced_wasserstein_from(torch.zeros(5, 1))(torch.ones(5, 1))
    1.0
    """
    directions = _directions(y.shape[1], projections, seed)
    profile = _profile(y, directions)
    return lambda x: (_profile(x, directions) - profile).square().mean().sqrt().item()


def least_codes(dim: int) -> int:
    """Return the smallest number of D-dimensional codes for which correlations and tests are defined.

    >>> least_codes(16), least_codes(128)
    (50, 130)
    """
    return max(50, dim + 2)


def diagnose(
    codes: ArrayLike,
    prior: Distribution,
    *,
    estimator: Callable[..., Tensor] = knn_entropy,
    lower_bounds: Mapping[str, float] = MappingProxyType({}),
    seed: int = 0,
) -> dict[str, Any]:
    r"""Estimate the divergence of codes from their prior, split it into its causes and test each of them.

    **Divergence.** KL(codes || prior), in nats, is an exact sum of five parts, computed on normal scores (the
    codes themselves, for a normal prior):

    - ``moments``: means and variances of the marginals, $\frac{1}{2} \sum_d (v_d + m_d^2 - 1 - \log v_d)$;
    - ``marginals``: shapes of the marginals, $\sum_d KL(z_d \,\|\, prior_d)$ minus the moments;
    - ``correlation``: $-\frac{1}{2} \log \det R$, with R the correlations of the normal scores of the ranks;
    - ``norms``: the divergence of the squared norms of these scores, after whitening, from chi-squared with D
      degrees of freedom;
    - ``joint structure``: the rest, the divergence of their directions from uniform ones, given the norms.

    Only the joint structure needs a nearest-neighbour estimate. The value for N draws from the prior is subtracted
    from each part. In many dimensions the joint structure, and so the sum, is underestimated, because the bias of
    the estimate shrinks as structure grows. Of strong pairwise dependence it finds all at D = 4, two fifths at
    D = 16 and a tenth at D = 64 (10,000 codes). ``lower_bounds`` can correct this. (``entropy_gap`` estimates the
    sum directly and underestimates it more.) The dimensions of ``UniformSphere`` depend on each other, so its
    divergence is estimated directly, as ``density``.

    Duplicate codes count once. If the correlations of the ranks have no variance in a direction, as for a copied
    dimension, its eigenvalue is set to one millionth.

    **Tests**, each with level 0.01 for draws from the prior:

    - ``moments``: likelihood ratio.
    - ``marginals``: D'Agostino and Pearson's test of skewness and kurtosis for each dimension; the smallest
      p-value times D. Its tail is too heavy below 5,000 codes; there, the p-value is simulated.
    - ``correlation``: Schott's sum of squared correlations, against a gamma distribution with the same moments.
    - ``norms``, ``joint structure`` and ``density``: Student's test of the estimate against 20 samples of N draws.
      Above 2,000 codes, for speed, Welch's test between 20 blocks of codes and of draws, which is less sensitive
      to fine structure.
    - ``distance``: the rank of the codes' sliced Wasserstein distance from 100 samples of the prior among the
      distances of these samples from each other (at most 2,000 codes).

    **Codes of a finite alphabet** have other parts, of tokens and of groups of them: see ``usage.compare_usage``.

    Arguments:
        codes: (N, D), N at least ``least_codes(D)``; for codes with a posterior, samples from it.
        prior: over (D,): independent dimensions, ``UniformSphere`` or a ``priors.Alphabet``.
        estimator: entropy estimator for the space of the codes.
        lower_bounds: lower bounds of the divergence in nats, by the name of their reason. An example is the mean
            log likelihood of these codes under a density fitted to other codes, minus that under the prior.
        seed: of all draws.

    Returns: a dictionary with ``verdict``, a sentence; ``prior``, its name; ``n``; ``distinct``, the number of
        distinct codes; ``dimensions``; ``dead``, the number of dimensions without variance, which are left out of
        the rest, but for an alphabet; and ``lower_bounds``. If all are dead, or too few codes differ, that is all.
        Otherwise also ``dependent``, the number of directions without variance among the others; ``divergence``;
        ``parts``; ``bias``, the value subtracted from the estimate of joint structure; ``p_values``; ``skewness``
        and ``excess_kurtosis`` by dimension; ``correlation`` with ``rms`` and ``largest`` off the diagonal; and
        ``distance`` with ``value`` and ``null``, the 5th, 50th and 95th percentile for samples of the prior.

    Raises: InputError for too few codes, codes that are not finite, or a prior of another width.

    References:
        Ghose, Rashwan and Poupart, 2020, section 3, https://arxiv.org/abs/2002.10631.
        D'Agostino and Pearson, "Tests for departure from normality", Biometrika 60, 1973.
        Schott, "Testing for complete independence in high dimensions", Biometrika 92, 2005.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    >>> diagnose(z, BatchNorm(2).prior())["verdict"].split("; ")[1]
    'prior sampling is off mainly by correlation'
    """
    codes = as_tensor(codes, "diagnose")
    least = least_codes(prior.event_shape[0])
    if codes.dim() != 2 or len(codes) < least or prior.event_shape != codes.shape[1:]:
        raise InputError(
            f"diagnose expects at least {least} codes of the prior's {prior.event_shape[0]} dimensions, got shape "
            f"{tuple(codes.shape)}."
        )
    check_finite(codes)
    prior = as_prior(prior)
    if isinstance(prior, Alphabet):
        prior.check_codes(codes, "diagnose")
    codes, n = codes.detach().cpu(), len(codes)
    deviation = codes.double().std(0)
    alive = deviation > 1e-6 * deviation.max()
    counted, codes = codes, codes.unique(dim=0)
    result = {
        "prior": prior.title,
        "n": n,
        "distinct": len(codes),
        "dimensions": codes.shape[1],
        "dead": int((~alive).sum()),
        "lower_bounds": dict(lower_bounds),
    }
    if alive.any() and isinstance(prior, Alphabet):
        result |= compare_usage(counted, prior, seed)
        result["distance"], result["p_values"]["distance"] = _distance(counted, alive, prior, seed)
    elif alive.any() and len(codes) >= least:
        # in random order, since sorted codes would make the blocks differ
        codes = codes[torch.randperm(len(codes), generator=generator(seed))]
        result |= _compare(codes, prior.normal_scores(codes), alive, prior, estimator, seed)
    return {"verdict": _verdict(result), **result}


def _compare(
    codes: Tensor,
    scores: Tensor,
    alive: Tensor,
    prior: CodePrior,
    estimator: Callable[..., Tensor],
    seed: int,
) -> dict[str, Any]:
    """Compute the divergence, its parts, the tests and the distance on the active dimensions."""
    living = scores[:, alive]
    with seeded(seed):
        drawn = [prior.sample((len(codes),)) for _ in range(_BLOCKS if len(codes) <= _WHOLE else 1)]
    dependent = 0
    if isinstance(prior, Independent):
        moments, moments_p = _moments(living)
        marginals, marginals_p = _marginals(living, seed)
        correlation, correlation_p, dependent = _correlation(living)
        samples = [prior.normal_scores(sample)[:, alive] for sample in drawn]
        (norms, norms_p), (joint, joint_p), bias = _norms_and_joint(living, samples)
        parts = {"moments": moments, "marginals": marginals - moments, "correlation": correlation}
        parts |= {"norms": norms, "joint structure": joint}
        p_values = [moments_p, marginals_p, correlation_p, norms_p, joint_p]
    else:
        density, bias, density_p = _excess(codes, drawn, lambda z: _divergence(z, prior, estimator))
        parts, p_values = {"density": density}, [density_p]
    distance, distance_p = _distance(codes, alive, prior, seed)
    p_values.append(distance_p)
    pearson = torch.corrcoef(living.T).reshape(living.shape[1], -1)
    off = pearson[~torch.eye(len(pearson), dtype=torch.bool)]
    return {
        "dependent": dependent,
        "divergence": sum(parts.values()),
        "parts": parts,
        "bias": bias,
        "p_values": dict(zip((*parts, "distance"), p_values, strict=True)),
        "skewness": scipy.stats.skew(living.numpy()).tolist(),
        "excess_kurtosis": scipy.stats.kurtosis(living.numpy()).tolist(),
        "correlation": {
            "rms": off.square().mean().sqrt().item() if len(off) else 0.0,
            "largest": off.abs().max().item() if len(off) else 0.0,
        },
        "distance": distance,
    }


def _verdict(result: dict[str, Any]) -> str:
    """Return the verdict as one sentence."""
    name, dim, dead = result["prior"], result["dimensions"], result["dead"]
    if dead == dim:
        return f"codes: all {dim} dimensions are dead"
    if "divergence" not in result:
        return f"codes: {result['n']:,} of them have only {result['distinct']:,} values"
    nats = _rounded(result["divergence"])
    counted = "usage" in result  # a dimension without variance is a part of how an alphabet is used
    rest = "all together" if counted else "the others"
    who = f"codes: {dead} of {dim} dimensions are dead, {rest}" if dead else "codes:"
    if min(result["p_values"].values()) > LEVEL:
        return f"{who} not told from {name} by {result['n']:,} of them ({nats} nats)"
    parts = result["parts"]
    each = result["divergence"] / (dim if counted else dim - dead)
    least = "at least " * counted  # what depends on more dimensions than a group is not measured
    text = f"{who} {least}{nats} nats from {name} ({each:.3f} per dimension)"
    if len(parts) > 1:
        text += f": {', '.join(f'{part} {_rounded(value)}' for part, value in parts.items())}"
    for reason, least in result["lower_bounds"].items():
        if least > result["divergence"]:
            text += f" (at least {_rounded(least)} by {reason})"
    joint = parts.get("joint structure", 0.0)
    if joint < -_NOISE:
        text += f" (at least {_rounded(result['divergence'] - joint)}, since joint structure cannot be below 0)"
    if dependent := result["dependent"]:
        text += f"; {'dimensions' if counted else 'directions'} that copy others: {dependent}"
    told = [part for part in parts if result["p_values"][part] <= LEVEL]
    if len(parts) == 1:
        return text
    if not told:
        return f"{text}; told by their distance alone"
    return f"{text}; prior sampling is off mainly by {max(told, key=parts.__getitem__)}"


def _rounded(nats: float) -> str:
    return f"{round(nats, 2) + 0:.2f}"  # + 0 turns -0.00 into 0.00


def _divergence(codes: Tensor, prior: Distribution, estimator: Callable[..., Tensor]) -> float:
    """Return the estimated divergence of codes from the prior, with the estimator's bias."""
    return -prior.log_prob(codes).double().mean().item() - estimator(codes.double()).item()


def _moments(scores: Tensor) -> tuple[float, float]:
    """Return the divergence of N(m, v) from N(0, 1), summed over dimensions, and its p-value."""
    n, dim = scores.shape
    mean, variance = scores.mean(0), scores.var(0, correction=0)
    nats = 0.5 * (variance + mean.square() - 1 - variance.log()).sum().item()
    statistic = 2 * n * nats  # likelihood ratio
    return nats - dim / n, float(scipy.stats.chi2.sf(statistic, 2 * dim))


def _marginals(scores: Tensor, seed: int) -> tuple[float, float]:
    """Return the sum over dimensions of KL(z_d || N(0, 1)), and the p-value of the least normal shape."""
    source = generator(seed + 1)

    def raw(z: Tensor) -> float:
        return _by_dimension(z, torch.randn(z.shape, generator=source, dtype=torch.float64))

    drawn = torch.randn(scores.shape, generator=source, dtype=torch.float64)
    test = scipy.stats.normaltest(scores.numpy())
    return raw(scores) - raw(drawn), _largest_p(float(test.statistic.max()), *scores.shape)


def _largest_p(statistic: float, n: int, dim: int) -> float:
    """Return the p-value of the largest of D statistics of D'Agostino and Pearson, of n normal values each."""
    p_value = min(1.0, dim * float(scipy.stats.chi2.sf(statistic, 2)))
    if n >= _EXACT or not 1e-6 < p_value < 0.2:
        return p_value
    simulated = _normal_statistics(n, 400 * dim)
    beyond = len(simulated) - int(np.searchsorted(simulated, statistic))
    return min(1.0, dim * (1 + beyond) / (1 + len(simulated)))


@lru_cache(maxsize=4)
def _normal_statistics(n: int, count: int) -> np.ndarray:
    """Return D'Agostino and Pearson's statistics of ``count`` samples of n normal values, sorted."""
    source = np.random.default_rng(0)
    rows = max(1, 2**22 // n)
    samples = (source.standard_normal((n, min(rows, count - start))) for start in range(0, count, rows))
    return np.sort(np.concatenate([scipy.stats.normaltest(sample).statistic for sample in samples]))


def _correlation(scores: Tensor) -> tuple[float, float, int]:
    """Return -log det(R) / 2 for the correlations of the ranks' normal scores, its p-value, and R's null space."""
    n, dim = scores.shape
    if dim < 2:
        return 0.0, 1.0, 0
    r = torch.corrcoef(rank_scores(scores).T)
    nu, pairs = n - 1, dim * (dim - 1) / 2
    total = (r.square().sum().item() - dim) / 2
    mean, variance = pairs / nu, 2 * pairs * (nu - 1) / (nu**2 * (nu + 2))
    p_value = float(scipy.stats.gamma.sf(total, mean**2 / variance, scale=variance / mean))
    # R of independent normal variables has the determinant of a product of Beta((nu - i) / 2, i / 2) variables
    expected = sum(scipy.special.digamma((nu - i) / 2) - scipy.special.digamma(nu / 2) for i in range(1, dim))
    eigenvalues = torch.linalg.eigvalsh(r)
    lost = int((eigenvalues < _LEAST_EIGENVALUE).sum())
    return 0.5 * (float(expected) - eigenvalues.clamp_min(_LEAST_EIGENVALUE).log().sum().item()), p_value, lost


def _by_dimension(z: Tensor, noise: Tensor) -> float:
    """Return the sum over dimensions of KL(z_d || N(0, 1)), estimated with a little noise added."""
    entropy = torch.as_tensor(scipy.stats.differential_entropy((z + _DITHER * z.std(0) * noise).numpy()))
    return (0.5 * (math.log(2 * math.pi) + z.square().mean(0)) - entropy).sum().item()


def _norms_and_joint(
    scores: Tensor, drawn: Sequence[Tensor]
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return what norms and directions add to marginals and correlations, with p-values; the directions' bias."""
    if scores.shape[1] < 2:
        return (0.0, 1.0), (0.0, 1.0), 0.0
    normal = Normal(torch.zeros((), dtype=torch.float64), 1.0)

    def norms(z: Tensor) -> float:
        noise = torch.randn(len(z), 1, generator=generator(0), dtype=torch.float64)
        return _by_dimension(_norm_scores(z), noise)

    def joint(z: Tensor) -> float:
        return -normal.log_prob(z).sum(1).mean().item() - knn_entropy(z).item() - norms(z)

    codes, draws = _whitened(rank_scores(scores)), [_whitened(rank_scores(z)) for z in drawn]
    explained, _, norms_p = _excess(codes, draws, norms)
    rest, bias, joint_p = _excess(codes, draws, joint)
    return (explained, norms_p), (rest, joint_p), bias


def _norm_scores(z: Tensor) -> Tensor:
    """Return the normal quantiles of the distribution of |z|^2 for z ~ N(0, I), (N, 1)."""
    half, square = z.shape[1] / 2, z.square().sum(1, keepdim=True).numpy() / 2
    lower, upper = scipy.special.gammainc(half, square), scipy.special.gammaincc(half, square)
    scores = scipy.special.ndtri(np.maximum(np.minimum(lower, upper), np.finfo(float).tiny))
    return torch.from_numpy(np.where(lower < upper, scores, -scores))


def _excess(codes: Tensor, drawn: Sequence[Tensor], raw: Callable[[Tensor], float]) -> tuple[float, float, float]:
    """Return a statistic of codes minus its mean over samples of draws, that mean, and the p-value.

    The test is Student's for one further sample among several; for a single sample, Welch's on blocks.
    """
    null = [raw(sample) for sample in drawn]
    bias = statistics.mean(null)
    excess = raw(codes) - bias
    if len(null) == 1:
        return excess, bias, _blocks_p(codes, drawn[0], raw)
    error = statistics.stdev(null) * math.sqrt(1 + 1 / len(null))
    return excess, bias, float(scipy.stats.t.sf(excess / error, len(null) - 1))


def _blocks_p(codes: Tensor, drawn: Tensor, raw: Callable[[Tensor], float]) -> float:
    """Return the one-sided p-value of a statistic being higher in blocks of codes than in blocks of draws."""
    source = generator(0)
    order = torch.randperm(len(codes), generator=source)  # codes may be sorted by class
    ours = [raw(block) for block in codes[order].tensor_split(_BLOCKS)]
    theirs = [raw(block) for block in drawn.tensor_split(_BLOCKS)]
    return float(scipy.stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue)


def _whitened(z: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.cov(z.T).reshape(z.shape[1], -1))
    return (z - z.mean(0)) @ (vectors / values.clamp_min(1e-12).sqrt())


def _distance(codes: Tensor, alive: Tensor, prior: Distribution, seed: int) -> tuple[dict[str, Any], float]:
    """Return the sliced Wasserstein distance of codes from samples of the prior, its null band and its p-value.

    Under the null hypothesis the codes are one further sample, so the rank of their mean distance from the others
    is uniform.
    """
    source = generator(seed)
    chosen = codes[torch.randperm(len(codes), generator=source)[:_RANKED]][:, alive]
    directions = _directions(chosen.shape[1], _PROJECTIONS, seed)
    with seeded(seed + 2):
        drawn = (prior.sample((len(chosen),))[:, alive] for _ in range(_POOL))
        profiles = torch.stack([_profile(sample, directions) for sample in drawn])
    profiles = torch.cat([_profile(chosen, directions)[None], profiles]).flatten(1)
    square = torch.cdist(profiles, profiles).square() / profiles.shape[1]
    mean = square.sum(1) / _POOL  # over the other samples: the distance from itself is 0
    band = mean[1:].sqrt().quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    rank = (1 + int((mean[1:] >= mean[0]).sum())) / (1 + _POOL)
    return {"value": mean[0].sqrt().item(), "null": band, "n": len(chosen)}, rank


def _directions(dim: int, count: int, seed: int) -> Tensor:
    directions = torch.randn(dim, count, generator=generator(seed))
    return directions / directions.norm(dim=0)


def _profile(x: Tensor, directions: Tensor) -> Tensor:
    """Return the sorted projections of points on each direction, (directions, N)."""
    return (x.float() @ directions).T.sort(1).values
