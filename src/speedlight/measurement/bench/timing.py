"""Timing one thing until its median is known well enough: warm-up, batches longer than the clock's grain, an interval.

The interval of a median is that of order statistics, which assumes nothing of how times are distributed: of n samples the k-th
and the (n + 1 − k)-th hold the median with probability 1 − 2·P(Binomial(n, ½) < k) (David and Nagaraja, "Order Statistics",
3rd ed., §7.1). Other processes lengthen times and never shorten them, so the median of many short batches is taken, not a mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WARM_S = 0.02  # before anything is timed: caches, clocks, lazy initialisation
BATCH_S = 0.002  # of one sample: thousands of times the clock's grain
LEAST, MOST = 7, 200  # samples
TIGHT = 0.02  # half the interval over the median that ends the measurement


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of one run.

    Attributes:
        median: of all samples; ``low`` and ``high``: its 95 % interval.
        samples: each the mean over ``runs`` runs in a row.
        runs: how many runs a sample holds.
        tight: whether the interval came to within :data:`TIGHT` before the time was up.
    """

    median: float
    low: float
    high: float
    samples: tuple[float, ...]
    runs: int
    tight: bool


def timed(
    run: Callable[[], object], *, seconds: float = 0.3, wait: Callable[[], object] | None = None, once: bool = False
) -> Timed:
    """Time ``run`` for about so many seconds, less where its median is known before.

    Args:
        wait: blocks until what ``run`` started has ended (a device's synchronisation); called once a sample.
        once: a sample is a single run, for runs that change what the next finds (files, caches).
    """
    begun = time.perf_counter()
    each = _first(run, wait)
    while time.perf_counter() - begun < WARM_S:
        each = min(each, _first(run, wait))
    runs = 1 if once else max(1, math.ceil(BATCH_S / max(each, 1e-9)))
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < MOST:
        start = time.perf_counter()
        for _ in range(runs):
            run()
        if wait is not None:
            wait()
        samples.append((time.perf_counter() - start) / runs)
        if len(samples) >= LEAST:
            low, middle, high = median_interval(samples)
            if high - low <= 2 * TIGHT * middle:
                return Timed(middle, low, high, tuple(samples), runs, True)
        if time.perf_counter() - begun > seconds and len(samples) >= 3:
            break
    low, middle, high = median_interval(samples)
    return Timed(middle, low, high, tuple(samples), runs, high - low <= 2 * TIGHT * middle)


def _first(run: Callable[[], object], wait: Callable[[], object] | None) -> float:
    start = time.perf_counter()
    run()
    if wait is not None:
        wait()
    return time.perf_counter() - start


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(low, median, high) by order statistics; the extremes where there are too few samples for the confidence."""
    ordered = sorted(samples)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    outside, rank = 0.0, 0
    for k in range(n // 2 + 1):
        outside += math.comb(n, k) / 2**n
        if 2 * outside > 1 - confidence:
            break
        rank = k + 1
    rank = max(rank, 1)
    return ordered[rank - 1], middle, ordered[n - rank]
