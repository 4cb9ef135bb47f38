"""The mutual information of two samples, from nearest neighbours."""

from __future__ import annotations

import numpy as np
import torch

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError

__all__ = ["mutual_information"]


def mutual_information(x: ArrayLike, y: ArrayLike, k: int = 3) -> float:
    r"""Mutual information of two samples in nats, by the first estimator of Kraskov, Stoegbauer and Grassberger.

    Let $e_i$ be the distance from pair i to its k-th nearest other pair, in the maximum norm of the joint
    space, and $n_x(i)$ and $n_y(i)$ the number of other points closer than
    $e_i$ in x alone and in y alone. With $\psi$ the digamma function, the estimate is

    $I = \psi(k) + \psi(N) - \frac{1}{N} \sum_i (\psi(n_x(i) + 1) + \psi(n_y(i) + 1))$.

    One distance serves all three entropies, so most of their bias cancels, which it does not in a difference of
    estimates of ``knn_entropy``. In many dimensions the estimate is still far too low: 0.74 nats for 2.30 of
    16 + 16 dimensions and 5,000 pairs. It may be slightly negative. Scale x and y to one variance first.

    Arguments:
        x: (N, D), N > k, or (N,) for one dimension.
        y: (N, E), or (N,); row i belongs to row i of x.
        k: order of the neighbour, at least 1. A larger k lowers the variance and raises the bias.

    Returns: nats. Not differentiable; computed in float64 on the CPU.

    Raises: InputError for samples of different lengths, of other shapes, with values that are not finite, or of no
        more than k rows.

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
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < len(both[0]):
        raise InputError(f"mutual_information expects k from 1 to N - 1, got k={k!r} and N={len(both[0])}.")
    if not all(bool(torch.isfinite(sample).all()) for sample in both):
        raise InputError("mutual_information expects finite samples, got NaN or infinity.")
    joint = torch.cat(both, 1).numpy()
    reach = NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(joint).kneighbors()[0][:, -1]
    reach = np.nextafter(reach, 0)  # strictly closer points only
    total = digamma(k) + digamma(len(joint))
    for sample in both:
        values = sample.numpy()
        closer = KDTree(values, metric="chebyshev").query_radius(values, reach, count_only=True)  # and itself
        total -= digamma(closer).mean()
    return float(total)
