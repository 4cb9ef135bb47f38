"""Randomness as an argument: seeds, generators, and regions that leave the global generators as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch

from entropic_ae.errors import InputError

__all__ = ["check_seed", "generator", "seeded"]


def check_seed(seed: int) -> int:
    """Return the seed, or raise InputError if it is not one that every library takes.

    >>> check_seed(7)
    7
    """
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise InputError(f"seed must be a whole number from 0 to 4294967295, got {seed!r}.")
    return seed


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU that starts from the seed.

    >>> torch.equal(torch.rand(2, generator=generator(1)), torch.rand(2, generator=generator(1)))
    True
    """
    return torch.Generator().manual_seed(check_seed(seed))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's generators inside the block and restore their state after it.

    For code that takes no ``generator`` of its own: weight initialisation, ``torch.distributions``,
    torchmetrics' random subsets.

    >>> with seeded(0):
    ...     a = torch.rand(1)
    >>> with seeded(0):
    ...     b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(check_seed(seed))
        yield
