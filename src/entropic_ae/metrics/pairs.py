"""Pairs of rows of two matrices by their Euclidean distance: exact, and in blocks of bounded memory.

A matrix product of centred rows gives an estimate of each squared distance and a bound of its rounding error. Only
where the bound leaves a comparison open, the distance is computed from the differences of the given values, in
float64. So a comparison is that of exact distances, though the product may be of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pairs"]

_CHUNK = 2**21  # pairs in a block
_GATHERED = 2**22  # values gathered at once for exact distances
_DENSE = 16  # float64 for a block of which more than one pair in so many is doubtful
_SIDE = 1024  # rows of a square block of pairs of one set
_SPARE = 3  # pairs of a row kept beyond the k nearest by their bounds, which may be in the wrong order


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
        self._centre = torch.stack([part.sum(0, dtype=torch.float64) for part in self._parts(y)]).sum(0) / len(y)
        largest = max(float((part.double() - self._centre).abs().max()) for z in (x, y) for part in self._parts(z))
        # a power of two, so that scaling is exact: float32 neither overflows nor loses small features
        self._scale = 2.0 ** -(torch.tensor(largest).double().frexp().exponent.item()) if largest else 1.0
        offset = self._scale * float(self._centre.abs().max())
        self._shift = (x.shape[1] ** 0.5 * torch.finfo(torch.float64).eps * (offset + 1)) ** 2  # of centring
        self._prepared: dict[torch.dtype, tuple[Tensor, Tensor, Tensor]] = {}

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the squared distances of chosen pairs, (P,) float64, from the differences of given values."""
        step = max(1, _GATHERED // self.x.shape[1])
        parts = zip(rows.split(step), columns.split(step), strict=True)
        return torch.cat([(self.x[i].double() - self.y[j].double()).square().sum(1) for i, j in parts])

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
        exact = self.exact(rows[row], column)
        order = exact.argsort(stable=True)  # the columns of a row are ascending
        order = order[row[order].argsort(stable=True)]
        starts = torch.searchsorted(row, torch.arange(len(rows), device=row.device))
        chosen = order[starts[:, None] + torch.arange(k, device=row.device)]
        distance = exact[chosen]
        equal = torch.bincount(row[exact <= distance[row, -1]], minlength=len(rows))
        return distance, column[chosen], equal

    def nearest_others(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest other rows of each row, where y is x: squared distances and numbers, (N, k).

        Each pair is looked at once, for both of its rows. A row keeps a few more pairs than k, by their bounds.
        Where these may have left out one of the k nearest, all pairs of the row are searched again.

        Arguments:
            k: below N.
        """
        n, keep = len(self.x), min(k + _SPARE, len(self.x) - 1)
        low = torch.full((n, keep), torch.inf, dtype=self._fast, device=self.x.device)
        numbers = torch.zeros(n, keep, dtype=torch.int64, device=self.x.device)
        parts = torch.arange(n, device=self.x.device).split(_SIDE)
        for first, rows in enumerate(parts):
            for columns in parts[first:]:
                block = self._low(rows, self._fast, columns)[0]
                if columns is rows:
                    block.fill_diagonal_(torch.inf)
                _keep(low, numbers, rows, columns, block, 1)
                if columns is not rows:
                    _keep(low, numbers, columns, rows, block, 0)
        every = torch.arange(n, device=self.x.device)
        exact = self.exact(every.repeat_interleave(k), numbers[:, :k].flatten()).view(n, k)
        farthest = exact.amax(1, keepdim=True)  # the k-th nearest is no farther than the farthest of any k
        limit = self._scaled(farthest, self._fast)
        distances = torch.cat([exact, exact.new_full((n, keep - k), torch.inf)], 1)
        row, column = ((low[:, k:] <= limit) & (farthest > 0)).nonzero(as_tuple=True)
        if len(row):
            distances[row, column + k] = self.exact(row, numbers[row, column + k])
        numbers, order = numbers.sort(1)  # of equal distances the lowest number first
        distances, order = distances.gather(1, order).sort(dim=1, stable=True)
        distances, numbers = distances[:, :k].contiguous(), numbers.gather(1, order)[:, :k].contiguous()
        if keep < n - 1:
            open_rows = ((low[:, -1:] <= limit) & (farthest > 0))[:, 0].nonzero()[:, 0]
            for rows in open_rows.split(max(1, _CHUNK // n)):
                distances[rows], numbers[rows], _ = self.nearest(rows, k, itself=True)
        return distances, numbers

    def _candidates(
        self, rows: Tensor, k: int, dtype: torch.dtype, *, itself: bool, ties: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the pairs, ordered by row and column, among which the k nearest of each row are."""
        low, _ = self._low(rows, dtype)
        if itself:
            low[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        best = low.topk(k, largest=False).indices
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
        if columns is not None:
            y, norm, slack = (values[columns[0] : columns[-1] + 1] for values in (y, norm, slack))
        block = (self.x[rows].double() - self._centre) * self._scale
        square = block.square().sum(1, keepdim=True)
        own = self._slack(square, dtype)
        low = _product(block.to(dtype) * -2, y).add_(norm - slack).add_((square - own).to(dtype))
        return low, (2 * own).to(dtype)

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
        the epsilon, and 2 |x| |y| is at most |x|^2 + |y|^2. The rest is of norms, limits and the centring.
        """
        unit = torch.finfo(dtype).eps / 2
        return (self.x.shape[1] + 16) * unit * square + 16 * self._shift / unit


def _keep(low: Tensor, numbers: Tensor, rows: Tensor, columns: Tensor, block: Tensor, dim: int) -> None:
    """Keep the lowest bounds of some rows, (N, K), and the numbers of their pairs, after a block of more pairs.

    Arguments:
        low, numbers: (N, K), changed in place.
        rows: consecutive numbers of R rows.
        columns: numbers of the M rows that they are paired with.
        block: the bounds, (R, M) with ``dim`` 1, (M, R) with ``dim`` 0.
        dim: of the block that belongs to the columns.
    """
    here = slice(int(rows[0]), int(rows[-1]) + 1)
    best, index = block.topk(min(low.shape[1], len(columns)), dim, largest=False)
    if dim == 0:
        best, index = best.T, index.T
    low[here], order = torch.cat([low[here], best], 1).topk(low.shape[1], 1, largest=False)
    numbers[here] = torch.cat([numbers[here], columns[index]], 1).gather(1, order)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of all rows in the precision of both, whatever PyTorch is told about float32."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.matmul(x.numpy(), y.numpy().T))
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T
