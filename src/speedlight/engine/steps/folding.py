"""Equal points of a sweep are priced once.

A kernel's numbers depend on a few of the step's arrays: a linear layer's on the tokens, an attention's on the contexts
too. Where those arrays repeat (a million points have a few hundred batch sizes), the kernel is priced at the distinct
points and the cost spread back over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.folding import fold, numbered

LEAST = 4096  # points below which pricing is cheaper than sorting out which are equal


class Folding:
    """The arrays of one step, and which of their points are equal.

    Args:
        env, groups: the step's symbols; arrays of fewer than :data:`LEAST` points are left alone.
    """

    def __init__(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]) -> None:
        found: dict[str, list[np.ndarray]] = {}
        for source in (env, *groups):
            for name, value in source.items():
                if isinstance(value, np.ndarray) and value.size >= LEAST:
                    found.setdefault(name, []).append(value)
        self._arrays = found
        self._folded: dict[frozenset[str], tuple[np.ndarray, np.ndarray] | None] = {}
        self._numbers: dict[int, tuple[np.ndarray, int]] = {}

    @property
    def possible(self) -> bool:
        """Whether there are arrays worth looking at."""
        return bool(self._arrays)

    def of(self, names: frozenset[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """(index of one point of each sort, sort of every point) for what depends on ``names``; None to price all."""
        used = frozenset(names & self._arrays.keys())
        if not used:
            return None
        if used not in self._folded:
            arrays = [a for name in sorted(used) for a in self._arrays[name]]
            flat = arrays[0].ndim == 1 and all(a.shape == arrays[0].shape for a in arrays)
            self._folded[used] = fold(arrays, number=self._number) if flat else None
        return self._folded[used]

    def _number(self, array: np.ndarray) -> tuple[np.ndarray, int]:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = numbered(array)
        return self._numbers[id(array)]
