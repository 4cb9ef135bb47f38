"""The mutual information of two samples, from nearest neighbours."""

from __future__ import annotations

import numpy as np
import torch

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError, warn

__all__ = ["mutual_information"]

_NOISE = 1e-10  # of a column's spread: breaks ties, as Kraskov et al. advise and scikit-learn does
_SEED = 66138  # no seed that samples are drawn with: noise equal to them would tell what rounding took away
_WITHIN = (0.1586552539314571, 0.8413447460685429)  # quantiles of N(0, 1) at -1 and 1


def mutual_information(x: ArrayLike, y: ArrayLike, k: int = 3) -> float:
    r"""Mutual information of two samples in nats, by the first estimator of Kraskov, Stoegbauer and Grassberger.

    Let $e_i$ be the distance from pair i to its k-th nearest other pair, in the maximum norm of the joint
    space, and $n_x(i)$ and $n_y(i)$ the number of other points closer than
    $e_i$ in x alone and in y alone. With $\psi$ the digamma function, the estimate is

    $I = \psi(k) + \psi(N) - \frac{1}{N} \sum_i (\psi(n_x(i) + 1) + \psi(n_y(i) + 1))$.

    One distance serves all three entropies, so most of their bias cancels, which it does not in a difference of
    estimates of ``knn_entropy``. In many dimensions the estimate is still far too low: about 0.7 nats for 2.30 of
    16 + 16 dimensions and 5,000 pairs. It may be slightly negative.

    The mutual information does not depend on units. So each column is divided by half the distance between its
    quantiles at 16 and 84 per cent (its standard deviation if that is 0), which a few far points do not change.
    Fixed noise of 1e-10 breaks the ties of rounded values and of classes. Copies of pairs count once if no other
    values are equal; otherwise equal pairs are told in a warning.

    Arguments:
        x: (N, D), N > k, or (N,) for one dimension.
        y: (N, E), or (N,); row i belongs to row i of x.
        k: order of the neighbour, at least 1. A larger k lowers the variance and raises the bias.

    Returns: nats. Not differentiable; computed in float64 on the CPU.

    Raises: InputError for samples of different lengths, of other shapes, with values that are not finite, or of no
        more than k different rows.

    Reference: Kraskov, Stoegbauer and Grassberger, "Estimating mutual information", Physical Review E 69, 2004,
    equation 8, https://doi.org/10.1103/PhysRevE.69.066138.

    >>> import math
    >>> x, noise = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    >>> y = 0.8 * x + 0.6 * noise
    >>> abs(mutual_information(x, y) + math.log(0.6)) < 0.1  # the truth is -log(1 - 0.8**2) / 2
    True
    """
    from scipy.special import digamma
    from sklearn.neighbors import KDTree, NearestNeighbors

    both = [as_tensor(sample, "mutual_information").detach().cpu().double() for sample in (x, y)]
    both = [sample[:, None] if sample.dim() == 1 else sample for sample in both]
    if any(sample.dim() != 2 or sample.shape[1] == 0 for sample in both) or len(both[0]) != len(both[1]):
        shapes = " and ".join(str(tuple(sample.shape)) for sample in both)
        raise InputError(f"mutual_information expects samples (N, D) and (N, E) of equal N, got shapes {shapes}.")
    if not all(bool(torch.isfinite(sample).all()) for sample in both):
        raise InputError("mutual_information expects finite samples, got NaN or infinity.")
    samples = _without_copies(*(sample.numpy() for sample in both))
    n = len(samples[0])
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < n:
        raise InputError(f"mutual_information expects k from 1 to N - 1, got k={k!r} and N={n} different pairs.")
    generator = np.random.default_rng(_SEED)
    samples = [_scaled(sample, generator) for sample in samples]
    joint = np.concatenate(samples, axis=1)
    reach = NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(joint).kneighbors()[0][:, -1]
    reach = np.nextafter(reach, 0)  # strictly closer points only
    total = digamma(k) + digamma(n)
    for sample in samples:
        closer = KDTree(sample, metric="chebyshev").query_radius(sample, reach, count_only=True)  # and itself
        total -= digamma(closer).mean()
    return float(total)


def _without_copies(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return both samples with each pair once if equal values are those of equal pairs; else warn of equal pairs.

    Of continuous values a pair that stands twice is a copy, and its distance of 0 raises the estimate by far.
    Rounded values and classes are equal in different pairs too.
    """
    first = np.unique(np.concatenate([x, y], axis=1), axis=0, return_index=True)[1]
    if len(first) == len(x):
        return [x, y]
    if len(first) == len(np.unique(x, axis=0)) == len(np.unique(y, axis=0)):
        first.sort()
        return [x[first], y[first]]
    warn(
        f"{len(x) - len(first):,} of {len(x):,} pairs equal another. If they are copies, the estimate of "
        "mutual_information is far too high: leave them out. If values are rounded or classes, it holds."
    )
    return [x, y]


def _scaled(sample: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return columns around 0, of one spread, without ties."""
    low, high = np.quantile(sample, _WITHIN, axis=0)
    sample = sample - np.median(sample, axis=0)
    spread = (high - low) / 2
    spread = np.where(spread > 0, spread, sample.std(axis=0))
    return sample / np.where(spread > 0, spread, 1) + _NOISE * generator.standard_normal(sample.shape)
