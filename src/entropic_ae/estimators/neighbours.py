"""Exact search of the k-th nearest neighbour of codes, in memory linear in their number."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from entropic_ae.estimators.pairs import Pairs

__all__ = ["kth_in_largest_norm", "kth_neighbour"]

_CHUNK = 2**23  # distances held at once: 64 MiB in float64
_FEW = 2**21  # differences of coordinates, up to which the distances themselves take less time
_SPARE = 3  # candidates beyond the k-th, re-ranked by their exact distances
_LONG = 2048  # points from which products in float32, with bounds of their rounding, are faster on a CPU


def kth_neighbour(points: Tensor, n: int, k: int, *, certain: bool) -> Tensor:
    """Return the index of the k-th nearest other point of each of the first n, (n,), in memory linear in N.

    Of few points all distances are computed. Of more, a matrix product in float64 finds candidates, which are
    re-ranked by their exact differences. Rounding could choose wrong candidates for tight clusters far apart; with
    ``certain`` such rows are searched again by exact differences. Of many on a CPU, ``Pairs`` bounds the rounding.

    Arguments:
        points: (N, D) float64.
        n: number of points whose neighbour is returned.
        k: order of the neighbour.
        certain: whether to search doubtful rows again; finding them waits for the device.
    """
    total, dim = points.shape
    if n * total * dim <= _FEW:
        distance = torch.cdist(points[:n], points, compute_mode="donot_use_mm_for_euclid_dist")
        distance.fill_diagonal_(torch.inf)
        return distance.argmin(1) if k == 1 else distance.topk(k, largest=False).indices[:, -1]
    # pairs have no bounds with points that are not finite
    if total >= _LONG and points.device.type == "cpu" and bool(points.isfinite().all()):
        return Pairs(points if n == total else points[:n], points).all_nearest(k, itself=True)[1][:, -1]
    # one far point moves the mean, and with it the resolution of all others
    points = points - (points.median(0).values if certain else points.mean(0))
    norm = points.square().sum(1)
    rounding = 4 * (dim + 4) * torch.finfo(torch.float64).eps
    found = []
    for start, candidates, bound in _by_rows(points, norm, n, min(k + _SPARE, total - 1)):
        block = points[start : start + len(candidates)]
        exact = (block[:, None] - points[candidates]).square().sum(2)
        exact, order = exact.topk(k, largest=False)
        chosen = candidates.gather(1, order[:, -1:]).squeeze(1)
        if certain and bound is not None:
            # a nearer point that was missed is no longer than the code and the distance together
            longest = norm[start : start + len(block)].sqrt() + exact[:, -1].sqrt()
            doubtful = (bound - rounding * longest.square() <= exact[:, -1]).nonzero().squeeze(1)
            for part in doubtful.split(max(1, _CHUNK // total)):
                distance = torch.cdist(block[part], points, compute_mode="donot_use_mm_for_euclid_dist")
                distance.scatter_(1, start + part[:, None], torch.inf)  # the point itself
                chosen[part] = distance.topk(k, largest=False).indices[:, -1]
        found.append(chosen)
    return torch.cat(found)


def _by_rows(points: Tensor, norm: Tensor, n: int, count: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Yield the nearest candidates of blocks of the first n points.

    Yields: the first row of a block; its candidates, (R, C); a lower bound of the squared distances of all others,
        (R,), or None where there are none.
    """
    total, dim = points.shape
    rows = max(1, _CHUNK // max(total, count * dim))
    buffer = points.new_empty(min(rows, n), total)
    for start in range(0, n, rows):
        block = points[start : min(start + rows, n)]
        # without the row's own norm, which does not change the ranking
        square = torch.addmm(norm, block, points.T, alpha=-2, out=buffer[: len(block)])
        square.diagonal(start).fill_(torch.inf)
        values, candidates = square.topk(count, largest=False)
        own = norm[start : start + len(block)]
        yield start, candidates, values[:, -1] + own if count < total - 1 else None


def kth_in_largest_norm(points: Tensor, n: int, k: int) -> Tensor:
    """Return the index of the k-th nearest other point of each of the first n, in the maximum norm, (n,)."""
    rows = max(1, _CHUNK // len(points))
    found = []
    for start in range(0, n, rows):
        distance = torch.cdist(points[start : min(start + rows, n)], points, p=math.inf)
        distance.diagonal(start).fill_(torch.inf)
        found.append(distance.topk(k, largest=False).indices[:, -1])
    return torch.cat(found)
