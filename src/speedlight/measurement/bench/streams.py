"""Bandwidth by working set: read, write, copy and triad loops over arrays from the first cache to main memory.

As McCalpin's STREAM (1995) counts: bytes of every array read or written once, nothing for lines that a write reads first. Loops are
compiled by numba and run on all threads, each over its own part, so that small sets stay in each core's own caches; a set is
what *one* thread walks over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

# Arrays a loop walks over, and how many of them move.
ARRAYS = {"read": 1, "write": 1, "copy": 2, "triad": 3}


@lru_cache(maxsize=1)
def _loops() -> Any:
    """Compiled loops: (name, arrays, repeats) → nothing; numba is the extra ``fast``."""
    from numba import get_num_threads, njit, prange

    @njit(parallel=True, fastmath=True, cache=True)
    def read(a, b, c, repeats, found):  # type: ignore[no-untyped-def]
        threads, length = a.shape
        for t in prange(threads):
            total = 0.0
            for _ in range(repeats):
                part = 0.0
                for i in range(length):
                    part += a[t, i]
                total += part
            found[t, 0] = total

    @njit(parallel=True, cache=True)
    def write(a, b, c, repeats, found):  # type: ignore[no-untyped-def]
        threads, length = a.shape
        for t in prange(threads):
            for r in range(repeats):
                for i in range(length):
                    a[t, i] = r

    @njit(parallel=True, cache=True)
    def copy(a, b, c, repeats, found):  # type: ignore[no-untyped-def]
        threads, length = a.shape
        for t in prange(threads):
            for r in range(repeats):
                for i in range(length):
                    b[t, i] = a[t, i]
                a[t, r % length] += 1.0

    @njit(parallel=True, cache=True)
    def triad(a, b, c, repeats, found):  # type: ignore[no-untyped-def]
        threads, length = a.shape
        for t in prange(threads):
            for r in range(repeats):
                for i in range(length):
                    a[t, i] = b[t, i] + 3.0 * c[t, i]
                b[t, r % length] += 1.0

    return {"read": read, "write": write, "copy": copy, "triad": triad}, get_num_threads


def stream(loop: str, working_set: int) -> tuple[Callable[[], None], int]:
    """A loop over ``working_set`` bytes a thread, in all its arrays, and the bytes one call moves.

    Raises:
        ImportError: without numba.
    """
    loops, threads_of = _loops()
    threads = int(threads_of())
    arrays = ARRAYS[loop]
    length = max(working_set // (8 * arrays), 64)
    held = [np.ones((threads, length)) for _ in range(arrays)]
    a, b, c = (held[min(i, arrays - 1)] for i in range(3))
    moved = 8 * arrays * length * threads
    repeats = max(1, int(4e6) // (8 * arrays * length))
    found = np.zeros((threads, 8))
    compiled = loops[loop]

    def run() -> None:
        compiled(a, b, c, repeats, found)

    return run, moved * repeats
