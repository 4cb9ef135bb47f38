"""Whether codes are independent of labels: their mutual information, and its values by chance."""

from __future__ import annotations

from typing import Any

import scipy
import torch
from torch import Tensor

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.metrics.codes import check_finite
from entropic_ae.randomness import generator

__all__ = ["label_information"]

_WIDTH = 10  # nearest codes that are searched first, for each neighbour and label
_MOST = 2000  # codes: their distances from each other are held in memory


def label_information(
    codes: ArrayLike, labels: ArrayLike, *, k: int = 3, permutations: int = 99, seed: int = 0
) -> dict[str, Any]:
    r"""Mutual information of codes and labels in nats, and a permutation test of their independence.

    Let $d_i$ be the distance from code i to its k-th nearest other code of the same label, $m_i$ the number of
    codes of any label nearer than that, itself included, and $N_i$ the number of codes of its label. The estimate
    is $I = \psi(N) - \langle \psi(N_i) \rangle + \psi(k) - \langle \psi(m_i) \rangle$, with the digamma function
    $\psi$. Codes are standardised first. Labels with one code are left out; where a label has no more than k
    codes, its k is one less than these.

    The estimate is biased in many dimensions, alike for permuted labels, with which codes have nothing to do. So
    the p-value is the rank of the estimate among those of permuted labels, which is exact at any sample size.

    Arguments:
        codes: (N, D), finite; of more than 2,000, so many drawn at random.
        labels: whole-numbered labels, (N,), of at least 2 values with 2 codes each.
        k: order of the neighbour, at least 1.
        permutations: number of permutations, at least 1; the least p-value is 1 / (permutations + 1).
        seed: of permutations and of the choice of codes.

    Returns: ``information``, in nats, less its median over permutations, the bias; ``entropy`` of the labels,
        which the true value cannot exceed (the estimate can, by a few hundredths); ``null``, the 5th, 50th and
        95th percentile of permuted labels, less the same; ``p_value``; and ``n``, the number of codes.

    Raises: InputError for codes that are not finite, labels of another length, too few of them, or k or
        permutations below 1.

    References:
        Ross, "Mutual information between discrete and continuous data sets", PLoS ONE 9, 2014,
        https://doi.org/10.1371/journal.pone.0087357.
        Phipson and Smyth, "Permutation p-values should never be zero", 2010, https://doi.org/10.2202/1544-6115.1585.

    >>> z = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> labels = torch.arange(400) % 2
    >>> found = label_information(z + 4 * labels[:, None], labels)
    >>> round(found["entropy"], 2), 0.6 < found["information"] < 0.8, found["p_value"]
    (0.69, True, 0.01)
    """
    z, y = as_tensor(codes, "label_information"), as_tensor(labels, "label_information")
    z, y = z.detach().cpu().double(), y.detach().cpu()
    if z.dim() != 2 or y.shape != (len(z),) or y.is_floating_point():
        raise InputError(
            f"label_information expects codes (N, D) and whole-numbered labels (N,), got {tuple(z.shape)} and "
            f"{y.dtype} of shape {tuple(y.shape)}."
        )
    if k < 1 or permutations < 1:
        raise InputError(f"k and permutations must be at least 1, got {k} and {permutations}.")
    check_finite(z)
    source = generator(seed)
    some = torch.randperm(len(z), generator=source)[:_MOST]
    z, y = z[some], y[some].unique(return_inverse=True)[1]
    often = torch.bincount(y)[y] > 1
    z, y = z[often], y[often].unique(return_inverse=True)[1]
    if len(z) < 4 or len(torch.bincount(y)) < 2:
        raise InputError("label_information needs at least 2 labels with at least 2 codes each; give more codes.")
    deviation = z.std(0)
    z = (z - z.mean(0)) / torch.where(deviation > 0, deviation, 1)
    order = _by_distance(z)
    own = _estimate(order, y, k)
    drawn = (torch.randperm(len(y), generator=source) for _ in range(permutations))
    chance = torch.tensor([_estimate(order, y[one], k) for one in drawn], dtype=torch.float64)
    bias = chance.median().item()
    shares = torch.bincount(y) / len(y)
    return {
        "information": own - bias,
        "entropy": -(shares * shares.log()).sum().item(),
        "null": (chance.quantile(torch.tensor([0.05, 0.5, 0.95]).double()) - bias).tolist(),
        "p_value": (1 + int((chance >= own).sum())) / (1 + permutations),
        "n": len(z),
    }


def _by_distance(codes: Tensor) -> Tensor:
    """Return the numbers of all codes by their distance from each, (N, N), each itself first."""
    distances = torch.cdist(codes, codes, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.fill_diagonal_(-1).argsort(1)


def _estimate(order: Tensor, labels: Tensor, k: int) -> float:
    """Return the estimate of Ross, from the numbers of all codes by their distance from each, (N, N)."""
    n, often = len(labels), torch.bincount(labels)
    own = often[labels]
    kth = (own - 1).clamp_max(k)
    nearer = torch.zeros(n, dtype=torch.long)
    missing, width = torch.arange(n), min(n, _WIDTH * k * len(often))
    while len(missing):
        same = labels[order[missing, :width]] == labels[missing, None]
        # the first of the same label is the code itself: the place of its k-th neighbour counts the nearer codes
        place = (same.cumsum(1, dtype=torch.int32) > kth[missing, None]).int().argmax(1)
        nearer[missing] = place
        missing, width = missing[place == 0], n
    return (
        scipy.special.digamma(n)
        + (torch.digamma(kth.double()) - own.double().digamma() - nearer.double().digamma()).mean()
    ).item()
