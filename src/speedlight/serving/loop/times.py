"""Seconds of a step from its pool's tables, and the histogram of gaps between tokens."""

from __future__ import annotations

import numpy as np

from ..compiled import compiled
from . import columns as c
from .columns import World


@compiled
def cell(points: np.ndarray, at: int, count: int, scale: float, value: float) -> int:
    """The cell of an axis (times ``scale``) that holds a value, or the outermost one beyond its ends."""
    low, high = 0, count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if points[at + middle] * scale <= value:
            low = middle
        else:
            high = middle
    return low


@compiled
def look_up(w: World, p: int, table: int, a: float, b: float) -> float:
    """A pool's table at a point: bilinear, linear on beyond the ends, never below zero."""
    x, across, down = w.n[p, table], w.n[p, table + 1], w.n[p, table + 2]
    y = x + across
    i, j = cell(w.real, x, across, 1.0, a), cell(w.real, y, down, 1.0, b)
    u = (a - w.real[x + i]) / (w.real[x + i + 1] - w.real[x + i])
    v = (b - w.real[y + j]) / (w.real[y + j + 1] - w.real[y + j])
    here = y + down + i * down + j
    low = w.real[here] + u * (w.real[here + down] - w.real[here])
    high = w.real[here + 1] + u * (w.real[here + down + 1] - w.real[here + 1])
    return max(low + v * (high - low), 0.0)


@compiled
def decode_line(w: World, p: int, n: int, context: int) -> tuple[float, float, float]:
    """Decode attention of n sequences as start + slope · Σ context, and the Σ context up to which that line holds."""
    x, across, down = w.n[p, c.DECODE_TABLE], w.n[p, c.DECODE_TABLE + 1], w.n[p, c.DECODE_TABLE + 2]
    y = x + across
    i = cell(w.real, x, across, 1.0, float(n))
    j = cell(w.real, y, down, float(n), float(context))
    u = (n - w.real[x + i]) / (w.real[x + i + 1] - w.real[x + i])
    here = y + down + i * down + j
    low = w.real[here] + u * (w.real[here + down] - w.real[here])
    high = w.real[here + 1] + u * (w.real[here + down + 1] - w.real[here + 1])
    slope = (high - low) / (w.real[y + j + 1] - w.real[y + j])
    end = np.inf if j + 2 == down else w.real[y + j + 1] * n
    return low - slope * w.real[y + j], slope / n, end


@compiled
def count_gap(w: World, e: int, gap: float, weight: int) -> None:
    """Add gaps between tokens to the histogram; the last bin of each rank is remembered, since steps resemble each other."""
    if not w.x[e, c.BIN_LOW] <= gap < w.x[e, c.BIN_HIGH]:
        edges = w.n[c.RUN, c.EDGES]
        i = cell(w.real, edges, w.n[c.RUN, c.BINS] + 1, 1.0, gap)
        w.x[e, c.BIN_LOW], w.x[e, c.BIN_HIGH] = w.real[edges + i], w.real[edges + i + 1]
        w.n[e, c.BIN] = i
    w.list[w.n[c.RUN, c.GAPS] + w.n[e, c.BIN]] += weight
