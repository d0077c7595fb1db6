"""Garbage collection while graphs are built and lowered.

Graphs, expressions and kernels are trees of frozen records: they hold no cycles, so counting references frees them and
looking for cycles among hundreds of thousands of objects finds nothing, at a quarter of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 200_000  # objects made before the youngest are looked at; Python's own figure is 700


@contextmanager
def seldom() -> Iterator[None]:
    """Collect seldom within; as before after."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


__all__ = ["seldom"]
