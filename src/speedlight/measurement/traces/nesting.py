"""Which operators contain which: on one thread, calls nest, so one sweep over starts tells them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .trace import Floats


def parents(start: Floats, end: Floats, track: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Index of the innermost event of the same track that contains each; −1 for none.

    Args:
        start, end: seconds, shape (events,), in order of ``start``.
        track: the thread of each.
    """
    found = np.full(start.size, -1, dtype=np.int64)
    for number in np.unique(track):
        rows = np.flatnonzero(track == number)
        rows = rows[np.lexsort((-end[rows], start[rows]))]
        stack: list[int] = []
        ends = end.tolist()
        starts = start.tolist()
        for row in rows.tolist():
            while stack and ends[stack[-1]] <= starts[row]:
                stack.pop()
            if stack:
                found[row] = stack[-1]
            stack.append(row)
    return found
