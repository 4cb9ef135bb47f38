"""Distributed training that is equivalent to training on the global batch in a single process.

A minibatch is split evenly over the processes. The functions here map the part of one process to the result for
the global batch. Their gradients are scaled so that the average over processes, which distributed training takes,
equals the gradient of a single process. Without a process group, and inside ``alone``, they are the identity.

Work without gradients (encoding, decoding, features) is split only inside ``together``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from entropic_ae.errors import InputError

__all__ = [
    "GlobalBatchNorm1d",
    "GlobalBatchNorm2d",
    "alone",
    "average",
    "gather",
    "global_mean",
    "in_turn",
    "is_first",
    "local_rank",
    "processes",
    "rows_of",
    "share",
    "share_out",
    "sharers",
    "synchronise",
    "together",
    "total",
]

_alone: ContextVar[bool] = ContextVar("alone", default=False)
_together: ContextVar[bool] = ContextVar("together", default=False)


def processes() -> int:
    """Return the number of processes that train together.

    >>> processes()
    1
    """
    together = dist.is_available() and dist.is_initialized() and not _alone.get()
    return dist.get_world_size() if together else 1


def is_first(count: int) -> bool:
    """Return whether this is process 0 of ``count``, the one that writes and prints.

    The rank is read from the environment variables of torchrun, SLURM and Lightning, so this works before the
    process group is initialised. With a count of 1 they are ignored and the result is True.

    >>> is_first(1)
    True
    """
    if count == 1:
        return True
    names = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return not any(int(os.environ.get(name, "0")) for name in names)


def local_rank() -> int:
    """Return the rank of this process on its machine, which is also the index of its GPU.

    >>> local_rank()
    0
    """
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


@contextmanager
def alone() -> Iterator[None]:
    """Compute without the other processes inside the block; they need not enter it.

    >>> with alone():
    ...     processes()
    1
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


@contextmanager
def together(device: torch.device, devices: int = 1, nodes: int = 1) -> Iterator[None]:
    """Split encoding, decoding and features over processes inside the block; each process gets all results.

    Each process must enter the block and run the same code in it. The processes are started by torchrun, by SLURM
    or by Lightning, which runs the same command again for each of them.

    Arguments:
        device: a device of the type that each process uses one of.
        devices: processes on each machine; with 1 on a single machine the block has no effect.
        nodes: number of machines.

    Raises: InputError if the process group already has a different size.

    >>> with together(torch.device("cpu")):
    ...     sharers()
    1
    """
    count = devices * nodes
    if count == 1:
        yield
        return
    if not dist.is_initialized():
        from lightning_fabric import Fabric

        kind = "gpu" if device.type == "cuda" else "cpu"
        Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp").launch()
    if dist.get_world_size() != count:
        raise InputError(
            f"expected devices * nodes = {dist.get_world_size()}, the size of the process group, got {count}."
        )
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


def sharers() -> int:
    """Return the number of processes that split work without gradients.

    >>> sharers()
    1
    """
    return dist.get_world_size() if _together.get() else 1


def share_out(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Apply a function of rows, (N, ...), to N rows split over the processes; return the results for all rows.

    >>> share_out(lambda rows: rows + 1, torch.zeros(3))
    tensor([1., 1., 1.])
    """
    count = sharers()
    if count == 1 or len(rows) == 0:
        return function(rows)
    even = rows[torch.arange(-(-len(rows) // count) * count) % len(rows)]  # padded with the first rows
    own = function(even.chunk(count)[dist.get_rank()]).contiguous()
    parts = [torch.empty_like(own) for _ in range(count)]
    dist.all_gather(parts, own)
    return torch.cat(parts)[: len(rows)]


@contextmanager
def in_turn() -> Iterator[None]:
    """Run the block in process 0 first, then in the others, which can read the files that it wrote.

    >>> with in_turn():
    ...     sharers()
    1
    """
    if sharers() == 1:
        yield
        return
    first = dist.get_rank() == 0
    token = _together.set(False)
    try:
        if not first:
            dist.barrier()
        yield
    finally:
        if first:
            dist.barrier()
        _together.reset(token)


class _Total(Function):
    """Sum over processes. The backward pass is the same sum, so second derivatives work."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        summed: Tensor = _Total.apply(gradients[0])
        return summed


def total(x: Tensor) -> Tensor:
    """Return the sum over processes of a tensor of the same shape in each.

    >>> total(torch.ones(2))
    tensor([1., 1.])
    """
    if processes() == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


def average(x: Tensor) -> Tensor:
    """Return the mean over processes of a tensor of the same shape in each.

    >>> average(torch.ones(2))
    tensor([1., 1.])
    """
    return total(x) / processes()


def global_mean(x: Tensor) -> Tensor:
    """Return the mean over the rows, (N, ...), of all processes.

    >>> global_mean(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([2., 3.])
    """
    return average(x.mean(0))


def gather(z: Tensor) -> Tensor:
    """Return the rows, (N, D), of all processes, in the order of their ranks.

    >>> gather(torch.ones(2, 1)).shape
    torch.Size([2, 1])
    """
    if processes() == 1:
        return z
    before, after = len(z) * dist.get_rank(), len(z) * (processes() - dist.get_rank() - 1)
    return total(torch.cat([z.new_zeros(before, *z.shape[1:]), z, z.new_zeros(after, *z.shape[1:])]))


def share(like: Tensor, fill: Callable[[Tensor], Tensor]) -> Tensor:
    """Draw random numbers for the rows of all processes and return those of this process.

    The generators of all processes must be in the same state.

    Arguments:
        like: rows of this process; the draws have their shape, type and device.
        fill: fills a tensor with draws in place.

    >>> share(torch.zeros(3, 2), lambda draws: draws.bernoulli_()).shape
    torch.Size([3, 2])
    """
    return rows_of(fill(like.new_empty(len(like) * processes(), *like.shape[1:])))


def rows_of(whole: Tensor) -> Tensor:
    """Return the rows of this process, of rows for all processes, (N, ...), which each of them has.

    >>> rows_of(torch.zeros(4, 2)).shape
    torch.Size([4, 2])
    """
    return whole if processes() == 1 else whole.chunk(processes())[dist.get_rank()]


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the global minibatch.

    PyTorch's ``SyncBatchNorm`` does not run on CPUs and has no second derivative, which a gradient penalty needs.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or processes() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        values = x if x.dtype == torch.float64 else x.float()
        mean = average(values.mean(axes, keepdim=True))
        variance = average((values - mean).square().mean(axes, keepdim=True))
        if self.running_mean is not None and self.running_var is not None:
            count = processes() * x.numel() // x.shape[1]
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                # without a momentum, the plain average of all minibatches, as in PyTorch
                weight = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.flatten().to(self.running_mean), weight)
                unbiased = variance.flatten() * (count / max(count - 1, 1))
                self.running_var.lerp_(unbiased.to(self.running_var), weight)
        normal = (values - mean) * (variance + self.eps).rsqrt()
        if self.affine:
            shape = mean.shape
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)


class GlobalBatchNorm1d(_GlobalBatchNorm, nn.BatchNorm1d):
    """Batch norm of (N, C) over the global minibatch.

    >>> GlobalBatchNorm1d(3)(torch.randn(10, 3)).shape
    torch.Size([10, 3])
    """


class GlobalBatchNorm2d(_GlobalBatchNorm, nn.BatchNorm2d):
    """Batch norm of (N, C, H, W) over the global minibatch.

    >>> GlobalBatchNorm2d(3)(torch.randn(10, 3, 2, 2)).shape
    torch.Size([10, 3, 2, 2])
    """


def synchronise(model: nn.Module) -> None:
    """Convert every batch norm inside a model to one over the global minibatch, in place; its state is kept.

    Raises: InputError for a batch norm other than ``nn.BatchNorm1d`` and ``nn.BatchNorm2d``: each process would
        normalise its part of the minibatch separately.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> synchronise(model)
    >>> type(model[1]).__name__
    'GlobalBatchNorm1d'
    """
    kinds: dict[type[nn.Module], type[_GlobalBatchNorm]] = {
        nn.BatchNorm1d: GlobalBatchNorm1d,
        nn.BatchNorm2d: GlobalBatchNorm2d,
    }
    ready = (*kinds.values(), nn.SyncBatchNorm)
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, ready):
            if type(module) not in kinds:
                raise InputError(
                    "several processes need batch norms over the global minibatch, expected BatchNorm1d or "
                    f"BatchNorm2d, got {type(module).__name__} at {name}; use one of these or train on one device."
                )
            module.__class__ = kinds[type(module)]
