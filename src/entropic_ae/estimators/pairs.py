"""Pairs of rows of two matrices by their Euclidean distance: exact, and in blocks of bounded memory.

A matrix product of centred rows gives an estimate of each squared distance and a bound of its rounding error. Only
where the bound leaves a comparison open, the distance is computed from the differences of the given values, in
float64. So a comparison is that of exact distances, though the product may be of float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pairs"]

_CHUNK = 2**21  # pairs in a block
_GATHERED = 2**20  # values gathered at once for exact distances
_DENSE = 16  # float64 for a block of which more than one pair in so many is doubtful
_GROUP = 128  # rows of y of whose bounds only the lowest is kept
_SIDE = 8  # groups along a side of a square block of pairs of one set
_EXPONENT = 500  # of the unit of bounds, at most
_SOME = 1000  # rows whose median is the centre; exactness does not depend on it
_SPARE = 3  # groups kept beyond k: by the bounds, the k nearest may seem to be in others


class Block(NamedTuple):
    """Bounds of the squared distances of some rows of x to all rows of y, in a unit of their own."""

    rows: Tensor  # numbers of the rows of x, (R,)
    low: Tensor  # (R, M)
    high: Tensor


class Pairs:
    """Squared distances between the rows of x and those of y: bounds for a block, exact ones for chosen pairs.

    Arguments:
        x: (N, F), finite, on the CPU or a GPU.
        y: (M, F), on the same device.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        # one far row would move the mean, and with it the resolution of all others
        self._centre = y[:: math.ceil(len(y) / _SOME)].double().median(0).values
        largest = max(float((part.double() - self._centre).abs().max()) for z in (x, y) for part in self._parts(z))
        # a power of two, so that scaling is exact: float32 neither overflows nor loses small features
        # and within bounds, so that its square is finite too
        self._scale = 2.0 ** -max(-_EXPONENT, min(_EXPONENT, math.frexp(largest)[1])) if largest else 1.0
        self._prepared: dict[torch.dtype, tuple[Tensor, Tensor, Tensor]] = {}

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the squared distances of chosen pairs, (P,) float64, from the differences of given values."""
        step = max(1, _GATHERED // self.x.shape[1])
        # made first: small results between large buffers would keep the allocator from using these again
        exact = torch.empty(len(rows), dtype=torch.float64, device=self.x.device)
        for i, j, part in zip(rows.split(step), columns.split(step), exact.split(step), strict=True):
            torch.sum(self.x[i].double().sub_(self.y[j]).square_(), 1, out=part)
        return exact

    def blocks(self) -> Iterator[Tensor]:
        """Yield the numbers of consecutive rows of x, for ``bounds``."""
        yield from torch.arange(len(self.x), device=self.x.device).split(max(1, _CHUNK // len(self.y)))

    def bounds(self, rows: Tensor) -> Block:
        """Return the bounds of a block."""
        low, gap = self._low(rows, self._fast)
        return Block(rows, low, (low + 2 * self._of_y(self._fast)[2]).add_(gap))

    def inside(self, block: Block, square: Tensor, *, closed: bool = False) -> Tensor:
        """Return which pairs of a block are nearer than the root of ``square``, (R, M); or as near, if closed.

        Arguments:
            block: of ``bounds``.
            square: exact squared distances, (R, 1) or (1, M).
            closed: whether pairs at the distance itself count.
        """
        limit = self._scaled(square, self._fast)
        found = block.high < limit
        row, column = ((block.low <= limit) & ~found).nonzero(as_tuple=True)
        if len(row):
            exact = self.exact(block.rows[row], column)
            limits = square.expand_as(found)[row, column]
            found[row, column] = exact <= limits if closed else exact < limits
        return found

    def nearest(
        self, rows: Tensor, k: int, *, itself: bool = False, ties: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the k nearest rows of y to some rows of x: squared distances, (R, k), numbers, (R, k), and ties.

        Arguments:
            rows: of ``blocks``.
            k: at most M, and with ``itself`` below it.
            itself: whether y is x, and a row is no neighbour of itself.
            ties: whether to count how many are as near as the k-th or nearer, (R,), and to return the lowest
                numbers among equals. Otherwise the count is not meaningful.
        """
        row, column = self._candidates(rows, k, self._fast, itself=itself, ties=ties)
        return _nearest(row, column, self.exact(rows[row], column), len(rows), k)

    def all_nearest(self, k: int, *, itself: bool = False) -> tuple[Tensor, Tensor]:
        """Return the k nearest rows of y of each row of x: squared distances and numbers, (N, k).

        A row keeps the groups of rows of y with the lowest bounds. The nearest are in these, unless the bounds of
        all that are kept are too low. Then the row is compared with all others again. If y is x, each pair is
        looked at once, for both of its rows.

        Arguments:
            k: at most M, and with ``itself`` below it.
            itself: whether y starts with the rows of x, and a row is no neighbour of itself.
        """
        n, m, keep = len(self.x), len(self.y), k + _SPARE
        if math.ceil(m / _GROUP) <= keep:
            found = [self.nearest(rows, k, itself=itself)[:2] for rows in self.blocks()]
            return torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])
        low = torch.full((n, keep), torch.inf, dtype=self._fast, device=self.x.device)
        groups = torch.zeros(n, keep, dtype=torch.int64, device=self.x.device)
        once = itself and self.x is self.y
        parts = torch.arange(m, device=self.x.device).split(_SIDE * _GROUP)
        for first, rows in enumerate(torch.arange(n, device=self.x.device).split(_SIDE * _GROUP)):
            for number, columns in enumerate(parts[first * once :], first * once):
                block = self._low(rows, self._fast, columns)[0]
                if number == first and itself:
                    block.fill_diagonal_(torch.inf)
                if number > first and once:
                    _keep(low, groups, columns, _minima(block, 0), int(rows[0]) // _GROUP)
                _keep(low, groups, rows, _minima(block, 1), int(columns[0]) // _GROUP)
        # the k-th nearest is no farther than the farthest of any k
        pairs = [(rows, columns[near.argmin(1)]) for rows, columns, near in self._within(groups[:, :k], itself)]
        row, column = (torch.cat(part) for part in zip(*pairs, strict=True))
        farthest = torch.zeros(n, dtype=torch.float64, device=self.x.device)
        farthest.scatter_reduce_(0, row, self.exact(row, column), "amax")
        limit = self._scaled(farthest, self._fast)
        again = (low[:, -1] <= limit) & (farthest > 0)  # nothing is nearer than equal rows, however many they are
        possible = (low <= limit[:, None]) & ((farthest > 0) & ~again)[:, None]
        for rows, columns, near in self._within(groups, itself, possible):
            nearer = near <= limit[rows, None]
            many = nearer.sum(1) > k + _GROUP // _DENSE  # to be compared in float64
            again[rows[many]] = True
            i, j = nearer[~many].nonzero(as_tuple=True)
            pairs.append((rows[~many][i], columns[j]))
        row, column = (torch.cat(part) for part in zip(*pairs, strict=True))
        pair = (row * m + column).unique()  # in order
        row, column = pair // m, pair % m
        distances, numbers, _ = _nearest(row, column, self.exact(row, column), n, k)
        for rows in again.nonzero()[:, 0].split(max(1, _CHUNK // m)):
            distances[rows], numbers[rows], _ = self.nearest(rows, k, itself=itself)
        return distances, numbers

    def _within(
        self, groups: Tensor, itself: bool, chosen: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield, by group, the rows that look into it, its own numbers and the bounds below of both, (R, G).

        Arguments:
            groups: of rows of y, for each row of x, (N, K).
            itself: of ``all_nearest``.
            chosen: which of them, (N, K); default: all.
        """
        row, place = (torch.ones_like(groups, dtype=torch.bool) if chosen is None else chosen).nonzero(
            as_tuple=True
        )
        of_row = groups[row, place]
        order = of_row.argsort(stable=True)
        counts = torch.bincount(of_row, minlength=math.ceil(len(self.y) / _GROUP))
        every = torch.arange(len(self.y), device=self.x.device)
        for columns, rows in zip(every.split(_GROUP), row[order].split(counts.tolist()), strict=True):
            for part in rows.split(max(1, _CHUNK // _GROUP)):
                if len(part):
                    low = self._low(part, self._fast, columns)[0]
                    if itself:
                        low.masked_fill_(part[:, None] == columns, torch.inf)
                    yield part, columns, low

    def _candidates(
        self, rows: Tensor, k: int, dtype: torch.dtype, *, itself: bool, ties: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the pairs, ordered by row and column, among which the k nearest of each row are."""
        low, _ = self._low(rows, dtype)
        if itself:
            low[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        best = _lowest(low, k)
        # the k-th nearest is no farther than the farthest of any k
        farthest = self.exact(rows.repeat_interleave(k), best.flatten()).view(-1, k).amax(1, keepdim=True)
        possible = low <= self._scaled(farthest, dtype)
        if not ties:
            possible &= farthest > 0  # nothing is nearer than equal rows, however many they are
        possible.scatter_(1, best, True)
        dense = int(possible.count_nonzero()) > k * len(rows) + possible.numel() // _DENSE
        if dense and dtype != torch.float64:
            return self._candidates(rows, k, torch.float64, itself=itself, ties=ties)
        row, column = possible.nonzero(as_tuple=True)
        return row, column

    def _low(self, rows: Tensor, dtype: torch.dtype, columns: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the bounds below, (R, M), and by what those above exceed them for each row of x, (R, 1).

        With the numbers of consecutive rows of y, those of these alone.
        """
        y, norm, slack = self._of_y(dtype)
        if self.x is self.y:
            block, square, own = (values[rows] for values in self._of_y(dtype))
        else:
            exact = (self.x[rows].double() - self._centre) * self._scale
            block, square = exact.to(dtype), exact.square().sum(1)
            own = self._slack(square, dtype)
        if columns is not None:
            y, norm, slack = (values[columns[0] : columns[-1] + 1] for values in (y, norm, slack))
        low = _product(block * -2, y).add_(norm - slack).add_((square - own).to(dtype)[:, None])
        return low, (2 * own).to(dtype)[:, None]

    def _scaled(self, square: Tensor, dtype: torch.dtype) -> Tensor:
        """Return squared distances in the unit of the bounds."""
        return (square * self._scale**2).to(dtype)

    @property
    def _fast(self) -> torch.dtype:
        """The precision of products: a GPU may round those of float32 to fewer digits."""
        return torch.float32 if self.x.device.type == "cpu" else torch.float64

    def _parts(self, z: Tensor) -> tuple[Tensor, ...]:
        return z.split(max(1, _GATHERED // z.shape[1]))

    def _of_y(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return the centred and scaled rows of y, their squared norms and the bounds of rounding."""
        if dtype not in self._prepared:
            centred = torch.empty(self.y.shape, dtype=dtype, device=self.y.device)
            square = torch.empty(len(self.y), dtype=torch.float64, device=self.y.device)
            for part, into, norm in zip(
                self._parts(self.y),
                self._parts(centred),
                self._parts(square[:, None].expand_as(centred)),
                strict=True,
            ):
                exact = (part.double() - self._centre) * self._scale
                into.copy_(exact)
                norm[:, 0].copy_(exact.square().sum(1))
            self._prepared[dtype] = centred, square.to(dtype), self._slack(square, dtype).to(dtype)
        return self._prepared[dtype]

    def _slack(self, square: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the part of a row in the bound of rounding, which for a pair is the sum of both.

        The product of two rows of F values is off by at most F u |x| |y| in any order of its sums, u being half
        the epsilon, and 2 |x| |y| is at most |x|^2 + |y|^2. An exact distance is off by F + 2 of float64's u, and
        at most twice that sum. The rest is of centring, conversions, norms and limits, and of what underflows.
        """
        unit, exact = (torch.finfo(kind).eps / 2 for kind in (dtype, torch.float64))
        width = self.x.shape[1]
        relative = (width + 16) * unit + 2 * (width + 2) * exact
        return relative * square + (width + 16) * torch.finfo(dtype).tiny


def _nearest(row: Tensor, column: Tensor, exact: Tensor, n: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the k nearest of each of n rows, as ``Pairs.nearest``.

    Arguments:
        row, column: of the pairs, (P,), ordered by row and column, at least k of each row.
        exact: their squared distances, (P,).
        n, k: of rows, and of neighbours.
    """
    order = exact.argsort(stable=True)  # the columns of a row are ascending
    order = order[row[order].argsort(stable=True)]
    starts = torch.searchsorted(row, torch.arange(n, device=row.device))
    chosen = order[starts[:, None] + torch.arange(k, device=row.device)]
    distance = exact[chosen]
    equal = torch.bincount(row[exact <= distance[row, -1]], minlength=n)
    return distance, column[chosen], equal


def _lowest(low: Tensor, k: int) -> Tensor:
    """Return the numbers of k columns with low values of each row, (R, k).

    They are the lowest of k groups, which is faster to find than the k lowest; these may be of one group.
    """
    if low.shape[1] < _GROUP * 2 * k:
        return low.topk(k, largest=False).indices
    whole = low.shape[1] // _GROUP * _GROUP  # what is left of the columns belongs to no group
    group = _minima(low[:, :whole], 1).topk(k, largest=False).indices
    inside = low[:, :whole].unflatten(1, (-1, _GROUP)).gather(1, group[:, :, None].expand(-1, -1, _GROUP))
    return group * _GROUP + inside.argmin(2)


def _minima(block: Tensor, dim: int) -> Tensor:
    """Return the lowest value of each group of columns, (R, M) to (R, groups); of rows with ``dim`` 0."""
    size = block.shape[dim]
    whole = size // _GROUP * _GROUP
    minima = block.narrow(dim, 0, whole).unflatten(dim, (-1, _GROUP)).amin(dim + 1)
    if whole < size:
        minima = torch.cat([minima, block.narrow(dim, whole, size - whole).amin(dim, True)], dim)
    return minima if dim == 1 else minima.T  # of the transposed block it would take many times as long


def _keep(low: Tensor, groups: Tensor, rows: Tensor, minima: Tensor, first: int) -> None:
    """Keep the groups with the lowest bounds of each row, after some more groups.

    Arguments:
        low, groups: the bounds and the numbers of the groups kept, (N, K), changed in place.
        rows: consecutive numbers of R rows.
        minima: the lowest bound in each of G more groups, (R, G).
        first: the number of the first of these.
    """
    here = slice(int(rows[0]), int(rows[-1]) + 1)
    more = torch.arange(first, first + minima.shape[1], device=minima.device).expand_as(minima)
    low[here], order = torch.cat([low[here], minima], 1).topk(low.shape[1], 1, largest=False)
    groups[here] = torch.cat([groups[here], more], 1).gather(1, order)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of all rows in the precision of both, whatever PyTorch is told about float32."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.matmul(x.numpy(), y.numpy().T))
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T
