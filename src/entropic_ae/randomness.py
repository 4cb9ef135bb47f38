"""Explicit randomness: seeds, generators, and blocks that restore the state of the global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch

from entropic_ae.errors import InputError

__all__ = ["check_seed", "generator", "seeded"]


def check_seed(seed: int) -> int:
    """Return the seed, or raise InputError if it is outside the range that every library accepts.

    >>> check_seed(7)
    7
    """
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise InputError(f"seed must be a whole number from 0 to 4294967295, got {seed!r}.")
    return seed


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator initialised with the seed.

    >>> torch.equal(torch.rand(2, generator=generator(1)), torch.rand(2, generator=generator(1)))
    True
    """
    return torch.Generator().manual_seed(check_seed(seed))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generators inside the block and restore their state after it.

    Meant for code without a ``generator`` argument: weight initialisation, ``torch.distributions``, the random
    subsets of torchmetrics.

    >>> with seeded(0):
    ...     a = torch.rand(1)
    >>> with seeded(0):
    ...     b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    started = torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if started else ()
    apple = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(check_seed(seed))
            yield
    finally:
        if apple is not None:
            torch.mps.set_rng_state(apple)
        if not started:  # a seed that waits for CUDA to start is not restored by fork_rng
            torch.cuda.manual_seed_all(torch.initial_seed())
