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
        self._centre = y.mean(0, dtype=torch.float64)
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

    def _candidates(
        self, rows: Tensor, k: int, dtype: torch.dtype, *, itself: bool, ties: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the pairs, ordered by row and column, among which the k nearest of each row are."""
        low, _ = self._low(rows, dtype)
        if itself:
            low.diagonal(int(rows[0])).fill_(torch.inf)
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

    def _low(self, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the bounds below, (R, M), and by what those above exceed them for each row of x, (R, 1)."""
        y, norm, slack = self._of_y(dtype)
        block = (self.x[rows[0] : rows[-1] + 1].double() - self._centre) * self._scale
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


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of all rows in the precision of both, whatever PyTorch is told about float32."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.matmul(x.numpy(), y.numpy().T))
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T
