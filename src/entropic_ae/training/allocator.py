"""The C library's allocator: it keeps what a training step frees, for the next step."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["memory_kept"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
_LARGEST = 32 << 20  # that a threshold of mmap may be
_KEPT = 1 << 30  # free bytes at the heap's end above which they are given back, while training


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory for the time of the block; where the C library is not glibc, change nothing.

    By default glibc gives large blocks back to the kernel and asks for them again in each step, and each page of
    them is a fault, which costs a small network much of its time. Afterwards the thresholds are what glibc's own
    adjustment ends at, and the memory is given back.

    >>> with memory_kept():
    ...     block = bytearray(1000)
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or none that can be asked
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        malloc_trim(0)
