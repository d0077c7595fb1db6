"""Two predictions of the same work set beside each other: how much more of it gets done in a second, and in what memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value, maximum
from ..engine.answers.prediction import Prediction
from ..engine.steps.intervals import DRAWS, UNIT

WIDEST = 20.0  # e-folds of a gain's interval


@dataclass(frozen=True, slots=True)
class Gain:
    """Before over after, each broadcast; above 1 is better.

    Attributes:
        speedup: work per second after over before: of a decode step tokens, of a training step samples, of a module calls. A
            technique that changes how much a call does (a larger batch) is seen by what it does in a second.
        low, high: central 80 % of it. Errors that both predictions share cancel; the kernels' own do not.
        latency: seconds of a call before over after.
        memory: bytes of a device before over after.
    """

    speedup: Value
    low: Value
    high: Value
    latency: Value
    memory: Value


def gain(before: Prediction, after: Prediction) -> Gain:
    """How much the second answer improves on the first; both asked with ``joint``.

    Per device: techniques that take more devices are seen by what each of them does.
    """
    latency = before.time / after.time
    speedup = _done(after) / _done(before)
    work = speedup / latency  # what a call does, after over before
    low, high = _ends(before, after)
    return Gain(speedup, work * low, work * high, latency, before.memory.total / after.memory.total)


def _done(answer: Prediction) -> Value:
    """What a device does in a second. Prompts count as prompts, however few of their tokens a technique leaves."""
    w = answer.scenario.program.workload
    rate = answer.throughput["per_device"]
    by_token = w.phase == "prefill" and not w.groups and answer.throughput.get("unit") == "tokens/s"
    return rate / w.isl if by_token else rate


def _ends(before: Prediction, after: Prediction) -> tuple[Value, Value]:
    """The central 80 % of before.time / after.time, each held within what its limit allows."""
    if before.joint is None or after.joint is None:
        return before.low / after.high, before.high / after.low
    ratio = before.time / after.time
    up: Value = 0.0
    down: Value = 0.0
    shared_before, shared_after = before.joint[0], after.joint[0]
    for draw in range(DRAWS):
        slow = maximum(before.time + shared_before[draw], before.limit)
        fast = maximum(after.time + shared_after[draw], after.limit)
        change = np.log(slow / fast) - np.log(ratio)
        up, down = up + np.maximum(change, 0.0) ** 2, down + np.minimum(change, 0.0) ** 2
    own = (before.joint[1] / before.time) ** 2 + (after.joint[1] / after.time) ** 2
    # A change this wide says nothing any more; beyond it, its exponential is no number.
    above, below = (np.minimum(UNIT * (x * (2.0 / DRAWS) + own) ** 0.5, WIDEST) for x in (up, down))
    return ratio * np.exp(-below), ratio * np.exp(above)


@dataclass(frozen=True, slots=True)
class Turn:
    """A size at which a technique starts or stops to pay.

    Attributes:
        along: ``batch`` or ``context``.
        at: the size; between two asked ones by interpolation of the logarithms.
        pays: whether it pays beyond.
    """

    along: str
    at: float
    pays: bool

    @property
    def words(self) -> str:
        size = f"{self.at:,.0f}" if self.at < 10_000 else f"{self.at / 1000:,.0f} k"
        return f"{'pays from' if self.pays else 'slower from'} {self.along} {size}"


def turns(along: str, sizes: np.ndarray, speedup: np.ndarray, least: float = 0.005) -> tuple[Turn, ...]:
    """Where log(speedup) changes its sign along a size; changes under ``least`` count as none."""
    signal = np.log(np.asarray(speedup, dtype=float))
    clear = np.flatnonzero(np.isfinite(signal) & (np.abs(signal) > least))
    found = []
    for a, b in itertools.pairwise(clear):
        if (signal[a] > 0) == (signal[b] > 0):
            continue
        share = signal[a] / (signal[a] - signal[b])
        at = float(np.exp(np.log(sizes[a]) + share * (np.log(sizes[b]) - np.log(sizes[a]))))
        found.append(Turn(along, at, bool(signal[b] > 0)))
    return tuple(found)
