"""Serving without tokens: a server that gathers requests for a while and runs them as one batch.

For image classifiers, embedding and diffusion models: what Triton calls dynamic batching, with TorchServe's two figures (a
largest batch and a longest delay). A worker that is free takes what waits as soon as a full batch is there, or when the oldest
request has waited for the delay; requests come and go whole, so a batch's time depends on its size alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .compiled import compiled

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class BatchServer:
    """How batches form.

    Attributes:
        seconds: of a batch of 1, 2, … ``len(seconds)`` requests; the last one is the largest batch.
        delay: seconds the oldest request waits for others at most, while a worker is free.
        workers: batches that run at once.
        preferred: sizes that a batch is cut down to where more wait (a multiple of what the kernels like); empty for any.
    """

    seconds: np.ndarray
    delay: float = 0.0
    workers: int = 1
    preferred: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        seconds = np.array(self.seconds, float)  # one of its own: compiled code takes no read-only array
        if seconds.ndim != 1 or not len(seconds) or not np.all(np.isfinite(seconds)) or np.any(seconds <= 0):
            raise BadInput("seconds of batches", expected="finite times above 0, one a size from 1 on")
        if not self.delay >= 0 or self.workers < 1:
            raise BadInput(f"a delay of {self.delay} s and {self.workers} workers", expected="0 or more, 1 or more")
        if any(not 1 <= size <= len(seconds) for size in self.preferred):
            raise BadInput(f"preferred sizes {self.preferred}", expected=f"sizes from 1 to {len(seconds)}")
        object.__setattr__(self, "seconds", seconds)


@dataclass(frozen=True)
class Batched:
    """What came of it: start and end of each request in order of arrival, and the size of its batch."""

    arrival: np.ndarray
    started: np.ndarray
    finished: np.ndarray
    size: np.ndarray
    busy: float

    def summary(self) -> dict[str, Any]:
        """Mean and percentiles of the latency, of the wait in it; throughput; mean batch."""
        latency, wait = self.finished - self.arrival, self.started - self.arrival
        duration = max(float(self.finished.max() - self.arrival[0]), 1e-12)
        result: dict[str, Any] = {
            name: {"mean": float(v.mean()), **{f"p{p}": float(np.percentile(v, p)) for p in PERCENTILES}}
            for name, v in (("latency", latency), ("wait", wait))
        }
        batches = float((1.0 / self.size).sum())
        return result | {
            "requests": len(latency), "throughput": len(latency) / duration, "mean_batch": len(latency) / batches,
            "utilisation": self.busy / duration,
        }  # fmt: skip


def tabulated(seconds: Callable[[np.ndarray], Any], largest: int) -> np.ndarray:
    """Seconds of batches of 1 … ``largest``, asked for in one call."""
    if largest < 1:
        raise BadInput(f"a largest batch of {largest}", expected="at least 1")
    return np.asarray(seconds(np.arange(1.0, largest + 1)), float)


def serve_batches(arrival: np.ndarray, server: BatchServer) -> Batched:
    """Serve requests that arrive at rising times."""
    times = np.array(arrival, float)
    if not len(times) or not np.all(np.isfinite(times)) or np.any(np.diff(times) < 0):
        raise BadInput("arrival times", expected="at least one, rising and finite")
    cut = np.zeros(len(server.seconds) + 1, float)  # what a batch becomes of so many waiting
    for waiting in range(1, len(cut)):
        fitting = [size for size in server.preferred if size <= waiting]
        cut[waiting] = max(fitting, default=waiting)
    out = np.zeros(3 * len(times))
    busy = _serve(times, server.seconds, cut, np.zeros(server.workers), server.delay, out)
    started, finished, size = out.reshape(3, -1)
    return Batched(times, started, finished, size.astype(np.int64), float(busy))


@compiled
def _serve(
    times: np.ndarray, seconds: np.ndarray, cut: np.ndarray, free: np.ndarray, delay: float, out: np.ndarray
) -> float:
    """Batches in order: started, finished and size of request i at out[i], out[n + i], out[2 n + i]; returns busy seconds."""
    n, most = len(times), len(seconds)
    busy = 0.0
    head = 0
    while head < n:
        worker = 0
        for k in range(1, len(free)):
            if free[k] < free[worker]:
                worker = k
        start = max(free[worker], times[head])
        if head + most <= n:
            start = max(start, min(times[head] + delay, times[head + most - 1]))
        else:
            start = max(start, min(times[head] + delay, times[n - 1]))
        waiting = 0
        while waiting < most and head + waiting < n and times[head + waiting] <= start:
            waiting += 1
        size = int(cut[waiting])
        end = start + seconds[size - 1]
        busy += seconds[size - 1]
        free[worker] = end
        for i in range(head, head + size):
            out[i], out[n + i], out[2 * n + i] = start, end, float(size)
        head += size
    return busy


def best_delay(
    arrival: np.ndarray, server: BatchServer, percentile: float = 95.0, points: int = 25
) -> tuple[float, float]:
    """The delay with the least latency percentile, and that latency: from none to ten batches' time."""
    longest = float(server.seconds[-1])
    found = []
    for delay in np.concatenate([[0.0], np.geomspace(longest / 100, 10 * longest, points)]):
        run = serve_batches(arrival, BatchServer(server.seconds, float(delay), server.workers, server.preferred))
        found.append((float(np.percentile(run.finished - run.arrival, percentile)), float(delay)))
    latency, delay = min(found)
    return delay, latency if math.isfinite(latency) else math.inf
