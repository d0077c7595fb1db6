"""By how much others slow this machine down right now: a small product, run again and again, against the best it ever took.

Other guests of a host, and processes that come and go, lengthen times for seconds on end without being seen: load and stolen time say
nothing of a core's second thread, nor of two threads that share one processor. A product that always does the same tells, and what
was measured while it was slow can be measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from .evidence import Measurement

SIZE = 448  # rows and columns: a millisecond or two on two cores, and operands that fit every core's second cache
RUNS = 3  # in a row, of which the least counts
SLOWNESS = "slowness"  # among what is told of a moment
SLOW = 1.15  # times the best, from which a measurement is called disturbed: twice what clocks do by themselves


class Watch:
    """The product with its operands, and the best it took since it was made."""

    def __init__(self) -> None:
        import torch

        self._run: Any = torch.mm
        self._operands = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
        self._best = float("inf")
        for _ in range(RUNS):
            self.slowness()

    def slowness(self) -> float:
        """Seconds it takes now over the least it ever took: 1 where nobody disturbs."""
        taken = []
        for _ in range(RUNS):
            start = time.perf_counter()
            self._run(*self._operands)
            taken.append(time.perf_counter() - start)
        self._best = min(self._best, *taken)
        return min(taken) / self._best


def watched(take: Callable[[], Measurement], watch: Watch | None) -> Measurement:
    """A measurement with how slow the machine was around it among what is told of its moment."""
    if watch is None:
        return take()
    before, found, after = watch.slowness(), take(), watch.slowness()
    slow = max(before, after)
    said = found.warning or (f"a product took {slow:.2f} times its least" if slow >= SLOW else "")
    return msgspec.structs.replace(found, moment={**found.moment, SLOWNESS: round(slow, 3)}, warning=said)


def slowness_of(found: Measurement) -> float:
    """How slow the machine was around a measurement; 1 where nobody asked."""
    return found.moment.get(SLOWNESS, 1.0)


__all__ = ["SLOW", "Watch", "slowness_of", "watched"]
