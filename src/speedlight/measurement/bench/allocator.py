"""The C library's allocator, told what to keep: blocks below 32 MiB, as a model's steady state has it, or all of them.

glibc returns the top of its heap to the system when enough of it is free, and hands out blocks above a threshold as mappings of
their own; the threshold grows with what is freed, to 32 MiB at most ("The GNU C Library", §3.2.3.6, Malloc Tunable Parameters;
malloc(3), mallopt(3)). In a loop over one operator all that it allocated lies at the top and is returned after every run, so that
each run pays for new pages; in a model others' tensors lie above it.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

TRIM, MAPPED, MAPPINGS = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX of malloc.h
LARGEST = 32 * 2**20  # what the second grows to on 64-bit systems
NEVER = 2**31 - 1


@lru_cache(maxsize=1)
def _library() -> Any:
    """The C library where it is glibc, else None."""
    try:
        found = ctypes.CDLL(None)
        return found if hasattr(found, "gnu_get_libc_version") and hasattr(found, "mallopt") else None
    except (OSError, TypeError):
        return None


def steady() -> bool:
    """Blocks below 32 MiB are kept, larger ones are mappings of their own; whether the allocator could be told."""
    library = _library()
    return library is not None and bool(library.mallopt(MAPPED, LARGEST)) and bool(library.mallopt(TRIM, NEVER))


def kept() -> bool:
    """Nothing goes back to the system, whatever its size, as with allocators made for long-running processes; whether it could be
    told.

    How much of a model's memory glibc maps anew in each step depends on what ran in the process before, and may double the step's
    time; two sides that are compared are run without it.
    """
    library = _library()
    return library is not None and bool(library.mallopt(MAPPINGS, 0)) and bool(library.mallopt(TRIM, NEVER))


__all__ = ["kept", "steady"]
