"""Equal points of a sweep are priced once.

A kernel's numbers depend on a few of the step's arrays: a linear layer's on the tokens, an attention's on the contexts
too. Where those arrays repeat (a million points have a few hundred batch sizes), the kernel is priced at the distinct
points and the cost spread back over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._foundation.arrays import Value

LEAST = 4096  # points below which pricing is cheaper than sorting out which are equal
WORTH = 0.5  # share of distinct points from which folding gains nothing
SPAN = 1 << 22  # whole numbers below this are told apart by a table instead of a sort


class Folding:
    """The arrays of one step, and which of their points are equal.

    Args:
        arrays: name → array, all of one shape; anything smaller is left alone.
    """

    def __init__(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]) -> None:
        found: dict[str, list[np.ndarray]] = {}
        for source in (env, *groups):
            for name, value in source.items():
                if isinstance(value, np.ndarray) and value.size >= LEAST:
                    found.setdefault(name, []).append(value)
        self._arrays = found
        self._codes: dict[frozenset[str], tuple[np.ndarray, np.ndarray] | None] = {}

    def of(self, names: frozenset[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """(index of one point of each sort, sort of every point) for what depends on ``names``; None to price all."""
        used = frozenset(names & self._arrays.keys())
        if not used:
            return None
        if used not in self._codes:
            self._codes[used] = self._fold([a for name in sorted(used) for a in self._arrays[name]])
        return self._codes[used]

    def _fold(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
        shape = arrays[0].shape
        if len(shape) != 1 or any(a.shape != shape for a in arrays):
            return None
        code, sorts = _codes(arrays[0])
        for array in arrays[1:]:
            other, more = _codes(array)
            if sorts * more >= SPAN:
                return None
            code, sorts = _codes(code * more + other)
        if sorts > WORTH * code.size:
            return None
        first = np.empty(sorts, dtype=np.intp)
        first[code[::-1]] = np.arange(code.size - 1, -1, -1)
        return first, code


def _codes(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Equal values get equal numbers 0 … n − 1."""
    whole = values.astype(np.int64)
    low = int(whole.min())
    if np.array_equal(whole, values) and int(whole.max()) - low < SPAN:
        shifted = whole - low
        seen = np.zeros(int(shifted.max()) + 1, dtype=bool)
        seen[shifted] = True
        number = np.cumsum(seen) - 1
        return number[shifted], int(number[-1]) + 1
    distinct, code = np.unique(values, return_inverse=True)
    return code, distinct.size
