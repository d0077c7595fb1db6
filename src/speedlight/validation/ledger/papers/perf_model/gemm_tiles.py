"""Tiles of a naive kernel on Ada: threads of a block share a tile, so that larger tiles reload less and occupy worse.

A block of 32 × 32 threads takes 1024 of an SM's 1536 places and leaves a third empty; 16 × 16 fills them with six blocks.
"""

from __future__ import annotations

import math

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

ID = "understanding-gemm-performance-and-energy-on-nvidia-ada-love"
TILES = (4, 8, 16, 32)
PLACES, BLOCKS, WARP = 1536, 24, 32  # threads and blocks of an SM of compute capability 8.9: CUDA programming guide


def _seconds(bench: Bench, tile: int, cached: float) -> float:
    """Relative seconds of a multiply-add: loads from shared memory by the warps at hand, and reloads of tiles through the caches."""
    threads = tile * tile
    blocks = min(BLOCKS, PLACES // max(threads, 1))
    occupancy = blocks * threads / PLACES
    filled = threads / (WARP * math.ceil(threads / WARP))  # places of a warp that do anything
    on_chip = 1.0 / (occupancy * filled)
    reloads = bench.size(1.0) * cached * 16.0 / tile
    return on_chip + reloads


def _times(bench: Bench) -> list[dict[int, float]]:
    bench.stated(machine="rtx-4070")
    return [
        {t: _seconds(bench, t, share) for t in TILES}
        for share in bench.unstated(
            "reloads over loads from shared memory, at tiles of 16", (0.1, 0.5), "how much the caches catch"
        )
    ]


@derives(f"{ID}#9")
def best(bench: Bench) -> Finding:
    """The side of the fastest tile."""
    found = [float(min(times, key=lambda t: times[t])) for times in _times(bench)]
    return over(
        [Span(v, v, v) for v in found],
        "occupancy of an SM by threads of a block, and reloads that fall with the tile's side",
    )


@derives(f"{ID}#7")
def gained(bench: Bench) -> Finding:
    """The fastest tile over the slowest of the studied ones."""
    spans = []
    for times in _times(bench):
        for worst in bench.unstated("baseline tile", (4, 8), "configurations beside the best are not named"):
            value = times[worst] / min(times.values())
            spans.append(Span(value, value, value))
    return over(spans, "relative seconds of a multiply-add by tile")
