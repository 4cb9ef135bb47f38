"""Batches: data indexed one batch at a time, in an order drawn from the seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["EqualBatches", "ShuffledBatches", "length", "loader", "mix", "place", "to_unit"]


def to_unit(images: Tensor) -> Tensor:
    """Map uint8 images to float32 in [0, 1], of the same shape."""
    return images.float() / 255


class _Rows(Dataset[Tensor]):
    """A tensor indexed one batch at a time: uint8 images become floats in [0, 1], floats stay as they are."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __getitem__(self, indices: Tensor) -> Tensor:
        batch = self.rows[indices.to(self.rows.device, non_blocking=True)]
        return to_unit(batch) if batch.dtype == torch.uint8 else batch.float()


class _Indexed(Dataset[tuple[Tensor, ...]]):
    """Batches of another data set with their indices, and with their labels if there are any."""

    def __init__(self, data: Dataset[Tensor], labels: Tensor | None) -> None:
        self.data, self.labels = data, labels

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, ...]:
        batch = self.data[indices], indices
        return batch if self.labels is None else (*batch, self.labels[indices])


def place(
    train: Tensor | Dataset[Tensor], validation: Tensor | Dataset[Tensor], device: torch.device, number: int
) -> tuple[Dataset[Tensor], Dataset[Tensor]]:
    """Return both as data sets; tensors are moved to the GPU of that number if they fit there."""
    if device.type == "cuda":
        device = torch.device("cuda", number)
    tensors = sum(one.nbytes for one in (train, validation) if isinstance(one, Tensor))
    moved = device.type == "cuda" and tensors < torch.cuda.mem_get_info(device)[0] // 2

    def placed(data: Tensor | Dataset[Tensor]) -> Dataset[Tensor]:
        if not isinstance(data, Tensor):
            return data
        return _Rows(data.to(device) if moved else data)

    return placed(train), placed(validation)


def length(data: Tensor | Dataset[Tensor]) -> int:
    """Return the number of rows."""
    return len(data)  # type: ignore[arg-type]  # a Dataset may lack a length; fit requires one


class ShuffledBatches(Sampler):
    """Batches of indices in an order drawn from the seed and the epoch; a smaller last batch is left out.

    An item may hold several batches. Each of several processes gets its part of every batch, ``own_size`` indices.
    """

    def __init__(self, n: int, batch_size: int, seed: int, count: int = 1, steps: int = 1) -> None:
        self.n, self.batch_size, self.seed, self.epoch = n, min(batch_size, n - n % count), seed, 0
        self.count, self.steps, self.own_size = count, steps, self.batch_size // count

    @property
    def per_epoch(self) -> int:
        """The number of batches."""
        return self.n // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.per_epoch / self.steps)

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        order = torch.randperm(self.n, generator=generator)
        for batches in order[: self.n - self.n % self.batch_size].split(self.steps * self.batch_size):
            yield _part(batches, self.count)


class EqualBatches(Sampler):
    """Batches of indices in order, with sizes that differ by at most one; each process gets its part of them."""

    def __init__(self, n: int, batch_size: int, count: int = 1) -> None:
        each = n // count
        batches = torch.arange(each * count).view(each, count).tensor_split(min(each, math.ceil(n / batch_size)))
        self.batches, self.count = [batch.flatten() for batch in batches], count

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return (_part(batch, self.count) for batch in self.batches)


def _part(batch: Tensor, count: int) -> Tensor:
    """Return this process's part of a batch, whose size is a multiple of the number of processes."""
    return batch if count == 1 else batch.chunk(count)[dist.get_rank()]


def loader(data: Dataset[Tensor], batches: Sampler, labels: Tensor | None = None) -> DataLoader:
    """Return a loader that indexes the data one batch at a time; indices are beside it, and labels, if given."""
    # a separate generator: a resumed run makes its first pass over a loader before the epoch is seeded, which must
    # not change its later draws from the global generator
    return DataLoader(_Indexed(data, labels), batch_size=None, sampler=batches, generator=torch.Generator())


def mix(seed: int, epoch: int) -> int:
    """Return the seed of an epoch."""
    return (seed * 1_000_003 + epoch) % 2**63
