"""Finding equal points: rows of several arrays that hold the same numbers, told apart once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import map_arrays

# (index of one point of each sort, sort of every point)
Folded = tuple[np.ndarray, np.ndarray]

SPAN = 1 << 18  # whole numbers within this range are told apart by a table; more sorts than this by sorting

PROBE = 4096  # points at which it mostly shows that an array says something new
SURE = 1 << 14  # points from which a few sorts tell how many there are
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd
LIMIT = np.uint64(1 << 59)


def numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Equal values get equal numbers 0 … n − 1; (number of each point, n)."""
    if values.size == 0:
        return np.zeros(0, dtype=np.int64), 0
    low, high = float(values.min()), float(values.max())
    if high - low < SPAN:  # False for NaN too
        shifted = (values - low).astype(np.int64)
        if np.array_equal(shifted + low, values):
            seen = np.zeros(int(high - low) + 1, dtype=bool)
            seen[shifted] = True
            number = np.cumsum(seen) - 1
            return number[shifted], int(number[-1]) + 1
    distinct, code = np.unique(values, return_inverse=True)
    return code, distinct.size


def fold(
    arrays: Sequence[np.ndarray],
    worth: float = 0.5,
    number: Callable[[np.ndarray], tuple[np.ndarray, int]] = numbered,
) -> Folded | None:
    """(index of one point of each sort, sort of every point), or None where folding gains nothing.

    Args:
        arrays: one value a point each, all of one length.
        worth: share of distinct points from which it is not worth it.
        number: numbers one array's values; a caller may remember what it said.
    """
    code, sorts = number(arrays[0])
    for array in arrays[1:]:
        if sorts > worth * code.size:
            return None
        if _follows(array, code, sorts):
            continue
        other, more = number(array)
        if sorts * more > worth * code.size and _mostly_different(arrays, worth):
            return None
        if sorts * more > 64 * SPAN:
            code, sorts = numbered(code)
        code, sorts = numbered(code * more + other)
    if sorts > worth * code.size:
        return None
    first = np.empty(sorts, dtype=np.intp)
    first[code[::-1]] = np.arange(code.size - 1, -1, -1)
    return first, code


def _follows(array: np.ndarray, code: np.ndarray, sorts: int) -> bool:
    """Whether points of one sort hold one number, as a shard's sizes follow from the degree; the first points tell most."""
    for some in (slice(0, PROBE), slice(None)):
        told = np.empty(sorts)
        told[code[some]] = array[some]
        if not np.array_equal(told[code[some]], array[some]):
            return False
    return True


def _mostly_different(arrays: Sequence[np.ndarray], worth: float) -> bool:
    """Whether more points than that are of a sort of their own, by all points of a few sorts: sorting those is cheap.

    The sorts are drawn by the first bits of a product of their numbers' bits (Fibonacci hashing), one in 32.
    """
    if arrays[0].size < SURE:
        return False
    mixed = np.zeros(arrays[0].size, dtype=np.uint64)
    for array in arrays:
        mixed = (mixed ^ np.asarray(array, dtype=float).view(np.uint64)) * GOLDEN
    few = mixed[mixed < LIMIT]
    return np.unique(few).size > worth * few.size


def at_points(record: Any, points: np.ndarray, size: int) -> Any:
    """A record with every array of ``size`` points cut to (or spread over) some of them; other arrays stay."""
    return map_arrays(record, lambda a: a[points] if a.shape == (size,) else a)
