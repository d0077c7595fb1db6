"""Intervals of sums of kernels: errors of a family do not average out (DESIGN decision 4).

log(measured / predicted) of a kernel has a part it shares with every kernel of its error key (family, device, how well the
stack is known there) and a part of its own. 32 fixed joint draws carry both to the total: one standard normal a draw for
each key, and one for all own parts, which are independent and so add in squares. Kernels slower than expected first eat
the time the device waits for the host. The draws are quantiles of the normal distribution in fixed shuffled orders, so
that equal questions get equal answers and a sweep equals its points.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum
from ...costs.training import NAME, current
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...stacks.record import Stack
from .phase import Parts, weighted

DRAWS = 32
LEVEL = 0.8
OWN = ("own",)
UNIT = NormalDist().inv_cdf(0.5 + LEVEL / 2)  # a fit's interval ends lie this many standard deviations out


@lru_cache(maxsize=256)
def draws(source: tuple[str, ...]) -> tuple[float, ...]:
    """The draws of one independent source of error: normal quantiles, shuffled by its name, so that the sources beside
    it (which differ between a sweep and its points) do not matter."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / DRAWS) for i in range(DRAWS)]
    seed = zlib.crc32("/".join(source).encode())
    return tuple(float(q) for q in np.random.default_rng(seed).permutation(quantiles))


def interval(parts: Parts, time: Value, limit: Value) -> tuple[Value, Value]:
    """(low, high): the central 80 % of the total over the joint draws; low ≤ time ≤ high, low ≥ limit."""
    # By error key, the seconds its shared part adds at one standard normal's 80 % point: (downwards, upwards).
    keys: dict[tuple[str, ...], list[Value]] = {}
    own_low: Value = 0.0
    own_high: Value = 0.0
    gap: Value = 0.0
    for down, up, shared, key in _kernels(parts):
        entry = keys.setdefault(key, [0.0, 0.0])
        entry[0], entry[1] = entry[0] + down * shared**0.5, entry[1] + up * shared**0.5
        own_low, own_high = own_low + (down * down) * (1.0 - shared), own_high + (up * up) * (1.0 - shared)
    for step, weight, nodes in parts.results:
        for passage in step.timeline.passages:
            gap = gap + weighted(passage.gap, weight, nodes)
    sources = [(draws(key), *entry) for key, entry in sorted(keys.items())]
    sources.append((draws(OWN), own_low**0.5, own_high**0.5))
    down, up = _spread(sources, gap)
    return minimum(time, maximum(time - UNIT * down, limit)), time + UNIT * up


def joint(parts: Parts) -> tuple[np.ndarray, Value]:
    """What the shared errors and the kernels' own do to a call, for who compares two calls.

    Returns:
        (seconds the shared sources add in each draw, over a new leading axis; standard deviation of the own parts together).
        Sources of one name are the same in both calls, so that a ratio of two draws has only what differs; own parts are not.
    """
    shared: dict[tuple[str, ...], list[Value]] = {}
    own: Value = 0.0
    for down, up, share, key in _kernels(parts):
        entry = shared.setdefault(key, [0.0, 0.0])
        entry[0], entry[1] = entry[0] + down * share**0.5, entry[1] + up * share**0.5
        own = own + (0.5 * (down + up)) ** 2 * (1.0 - share)
    changes: list[Value] = []
    for draw in range(DRAWS):
        change: Value = 0.0
        for key, (down, up) in shared.items():
            z = draws(key)[draw] / UNIT
            change = change + z * (up if z > 0 else down)
        changes.append(change)
    return np.stack(np.broadcast_arrays(*changes)), own**0.5 / UNIT


def of_training(
    graph: Graph, stack: Stack, machine: Machine, said: tuple[Value, Value, Value], limit: Value
) -> tuple[Value, Value]:
    """(low, high) of a training step: by the errors of whole steps left out of their fit, where its stack has one.

    Args:
        said: (time, low, high) by the kernels' own errors.
    """
    time, low, high = said
    ends = current().ends(
        stack.library.get(NAME, ""), machine.architecture, any(op.kind == "moe" for _, op in graph.ops())
    )
    if NAME not in stack.library or ends is None:
        return low, high
    return minimum(time, maximum(time * math.exp(ends[0]), limit)), time * math.exp(ends[1])


def _kernels(parts: Parts) -> Iterable[tuple[Value, Value, float, tuple[str, ...]]]:
    """(seconds to the interval's low end, to its high end, shared share, error key) of every cost in the call.

    Kernels of one cost are one source of error: whatever is their own, all of them have it.
    """
    for step, weight, nodes in parts.results:
        for cost, count in step.costs:
            seconds = cost.time * count
            down = weighted(seconds * (1.0 - np.exp(cost.low)), weight, nodes)
            up = weighted(seconds * (np.exp(cost.high) - 1.0), weight, nodes)
            yield down, up, cost.shared, cost.error_key


def _spread(sources: list[tuple[tuple[float, ...], Value, Value]], gap: Value) -> tuple[Value, Value]:
    """Standard deviations of the draws below and above the prediction, in seconds.

    Each side's root mean square, rather than a quantile of 32 numbers: smoother, and a tenth of the time of sorting.
    """
    below: Value = 0.0
    above: Value = 0.0
    for draw in range(DRAWS):
        change: Value = 0.0
        for normal, down, up in sources:
            z = normal[draw] / UNIT
            change = change + z * (up if z > 0 else down)
        below = below + minimum(change, 0.0) ** 2
        above = above + maximum(change - gap, 0.0) ** 2
    return (below * (2.0 / DRAWS)) ** 0.5, (above * (2.0 / DRAWS)) ** 0.5
