"""The C library's allocator: memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["memory_kept"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
_LARGEST = 32 << 20  # the maximum of the mmap threshold
_KEPT = 1 << 30  # trim threshold while training: free bytes at the heap's end above which memory is given back


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory within the block; change nothing if the C library is not glibc.

    By default glibc gives large blocks back to the kernel and requests them again in each step. Each page of them
    is a page fault, which costs a small network much of its time. Afterwards the memory is given back, and the
    thresholds are those at which glibc's dynamic adjustment ends.

    >>> with memory_kept():
    ...     block = bytearray(1000)
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or no access to it
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        malloc_trim(0)
