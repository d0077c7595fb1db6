"""Which operators contain which, and which of them compute: on one thread, calls nest, so one sweep over starts tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .sorts import has_kernel, op_sort
from .trace import Floats

# PyTorch's own operators may run a kernel; autograd's frames and annotations do not.
NAMESPACES = ("aten::", "mkldnn::", "quantized::", "onednn::", "torchvision::", "prims::", "torchao::")


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


def computing(
    names: Sequence[str], name: npt.NDArray[np.int32], parent: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Mask of the operators that compute by themselves: those that hold none that does, and those with a kernel of their own,
    whose inner operators are parts of it.

    Args:
        names: of operators; ``name`` says which of them each event has.
        parent: of :func:`parents`.
    """
    working = [n.startswith(NAMESPACES) and op_sort(n) not in ("view", "collective") for n in names]
    works = np.array(working, dtype=bool)[name]
    own = np.array([has_kernel(n) for n in names], dtype=bool)[name]
    holds = np.zeros(name.size, dtype=bool)
    for row in np.flatnonzero(works & (parent >= 0)):
        above = parent[row]
        while above >= 0:
            if own[above]:
                works[row] = False
            holds[above] = True
            above = parent[above]
    found: npt.NDArray[np.bool_] = works & (~holds | own)
    return found
