"""Which operators contain which, and which of them compute: on one thread, calls nest, so one sweep over starts tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .sorts import has_kernel, op_sort
from .trace import Floats

# PyTorch's own operators may run a kernel; autograd's frames and annotations do not.
NAMESPACES = ("aten::", "mkldnn::", "quantized::", "onednn::", "torchvision::", "prims::", "torchao::")

ITSELF = 30e-6  # seconds: several times what it takes, under the profiler, to call another operator


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
    names: Sequence[str], name: npt.NDArray[np.int32], parent: npt.NDArray[np.int64], duration: Floats
) -> Floats:
    """Seconds that each operator computes by itself; zero for those that only call others.

    Operators that hold none that computes, and those with a kernel of their own (whose inner operators are parts of it), count in
    full. One that calls others and yet takes :data:`ITSELF` beside them runs a kernel between its calls (a gradient that clears its
    result first, a convolution that lays its picture out): its own part counts.

    Args:
        names: of operators; ``name`` says which of them each event has.
        parent: of :func:`parents`.
        duration: seconds of each.
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
    held = np.bincount(parent[parent >= 0], weights=duration[parent >= 0], minlength=name.size)
    itself = np.where(duration - held >= ITSELF, duration - held, 0.0)
    found: Floats = np.where(works, np.where(holds & ~own, itself, duration), 0.0)
    return found
