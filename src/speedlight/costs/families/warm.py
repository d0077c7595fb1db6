"""What the loop of a benchmark finds in the last cache.

Tables time a kernel again and again, on the same operands or on a few in turn; models come back to their weights and states after all
others, and find none of them.
"""

from __future__ import annotations

from ..._foundation.arrays import Value, maximum
from ...hardware.machine import Machine

# Of a last cache's rate in the catalogue, which is a ceiling (all slices at once); *assumed*: errors on groups and devices left out
# are within 0.4 points of one another from 0.3 to 1.
SUSTAINED = 0.5
COLD = 8.0  # times the last cache from which every byte comes from main memory


def cold_share(footprint: Value, capacity: float) -> Value:
    """Share of a loop's bytes that main memory serves.

    A loop over more than a cache holds evicts every line before its reuse, so the share rises from 0 to 1 within a
    factor of two of the capacity, not as 1 − capacity / footprint.
    """
    return 1.0 / (1.0 + (0.8 * capacity / footprint) ** 6.0)


def fetched(
    size: Value, machine: Machine, footprint: Value | None = None, least: Value = 0.0, memory_clock: Value = 1.0
) -> Value:
    """Seconds of passing ``size`` bytes once.

    Graphics memory is seven to ten times slower than the cache before it, HBM two to four.

    Args:
        footprint: bytes the loop goes through before it comes back to the same ones; ``size`` where left out.
        least: the footprint counts as at least this many times the last cache: 0 as it is, :data:`COLD` for what no cache kept.
        memory_clock: of the operating point, over the nominal one.
    """
    far = machine.main.bandwidth * memory_clock
    cache = machine.last_cache
    if cache is None:
        return size / far
    around = maximum(maximum(size if footprint is None else footprint, 1.0), least * cache.capacity_bytes)
    missed = cold_share(around, cache.capacity_bytes)
    return size * ((1.0 - missed) / maximum(SUSTAINED * cache.bandwidth, far) + missed / far)
