"""A spatial machine's timeline: ops of a region share the chip, and regions follow one another (DESIGN decision 6).

A compiler lays a block of ops out side by side: each gets area, memory ports and links in proportion to its work, and data streams
through all of them at once. The region then takes as long as its slowest resource, plus the time until the first data has gone all
the way through:

    time = start / instances + max over resources r of Σ over ops of busy_r + Σ over ops of fill

- busy_r: an op's seconds on resource r if it had it alone. Work is what counts, not who does it: area divided in proportion to work
  keeps every unit busy until the end, so that the sums add where a temporal machine adds maxima.
- fill: an op's serial seconds (its pipeline, its way across a mesh, dependent steps inside it, latency of its messages). Ops of one
  token depend on one another, so that fills add.
- start: loading the region's configuration, once for all equal instances of a block, which run as one loop.

An op's row is its own fill and, of the region's work, a part like its busiest resource's of all such; rows sum to the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._foundation.arrays import Value, maximum, where


def region(ops: Sequence[tuple[Mapping[str, Value], Value, Value]], start: Value, instances: Value) -> list[Value]:
    """Seconds of one instance of each op of a region.

    Args:
        ops: per op its busy seconds by resource, its fill, and how often it stands in the region (0: not at all).
        start: seconds to load the region.
        instances: of the region, one after another.
    """
    total: dict[str, Value] = {}
    own: list[Value] = []
    summed: Value = 0.0
    for busy, _, count in ops:
        longest: Value = 0.0
        for resource, seconds in busy.items():
            total[resource] = total.get(resource, 0.0) + seconds * count
            longest = maximum(longest, seconds)
        own.append(longest)
        summed = summed + longest * count
    slowest: Value = 0.0
    for seconds in total.values():
        slowest = maximum(slowest, seconds)
    share = where(summed > 0.0, slowest / maximum(summed, 1e-300), 0.0)
    rows = [fill + longest * share for (_, fill, _), longest in zip(ops, own, strict=True)]
    return _with_start(rows, [count for _, _, count in ops], start, instances)


def _with_start(rows: list[Value], counts: Sequence[Value], start: Value, instances: Value) -> list[Value]:
    """The start belongs to the first op that stands there."""
    left: Value = start / maximum(instances, 1.0)
    found = []
    for seconds, count in zip(rows, counts, strict=True):
        found.append(seconds + where(count > 0.0, left / maximum(count, 1e-300), 0.0))
        left = where(count > 0.0, 0.0, left)
    return found
