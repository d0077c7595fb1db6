"""Matrix products on tiles: what quantisation to tiles and waves costs (analytic), and the peak (limit).

A kernel computes its m × n outputs in tiles; each unit works on one tile at a time, so ceil(tiles / units) *waves* run,
and edge tiles compute padding. When there are fewer tiles than units the k dimension is split among the idle ones
(split-k). Of the engine's tile shapes the fastest is taken, as libraries' heuristics aim to. A product too thin for the
matrix unit runs on the vector unit where that is faster (matrix-vector kernels, depthwise convolutions).

Tile and wave quantisation: NVIDIA, "Matrix Multiplication Background User's Guide", sections 3.1 and 3.2.
"""

from __future__ import annotations

import math

import numpy as np

from .._foundation.arrays import Value, ceil, floor, maximum, minimum, where
from ..hardware.machine import Engine

# Rows a matrix instruction computes at least: m16n8 with operands swapped covers 8; smaller problems pad to it.
LEAST_ROWS = 8.0
SPLIT_K_LEAST = 256.0  # a split shorter than this costs more in the final sum than it brings


def waste(engine: Engine, m: Value, n: Value, k: Value, batch: Value) -> Value:
    """Tile-quantised work over useful work (≥ 1), for the best of the engine's tiles; 1 where it names none."""
    if not engine.tiles:
        return 1.0
    best: Value | None = None
    m = maximum(m, 1e-9)
    n = maximum(n, 1e-9)
    padded_m, padded_n = _pad(m), _pad(n)
    useful = m * n * maximum(batch, 1e-9)
    for rows, columns in engine.tiles:
        tile_m = minimum(float(rows), padded_m)
        tile_n = minimum(float(columns), padded_n)
        tiles = ceil(m / tile_m) * ceil(n / tile_n) * maximum(batch, 1e-9)
        idle = maximum(1.0, floor(engine.units / tiles))
        splits = minimum(idle, maximum(1.0, floor(k / SPLIT_K_LEAST)))
        waves = ceil(tiles * splits / engine.units)
        # seconds × rate of one unit: waves · (tile · k / splits), against useful m·n·k·batch over all units
        ratio = waves * engine.units * tile_m * tile_n / splits / useful
        best = ratio if best is None else minimum(best, ratio)
    assert best is not None
    return maximum(best, 1.0)


def _pad(size: Value) -> Value:
    """A tile's side for a small problem: the next power of two, at least one instruction's rows."""
    if isinstance(size, np.ndarray):
        return np.exp2(np.ceil(np.log2(np.maximum(size, LEAST_ROWS)) - 1e-9))
    return 2.0 ** math.ceil(math.log2(max(size, LEAST_ROWS)) - 1e-9)


def seconds(engine: Engine, flops: Value, peak: Value, vector_peak: Value | None, ratio: Value) -> Value:
    """Busy seconds of a product with this waste; on the vector unit where that is faster."""
    on_matrix = flops * ratio / peak
    if vector_peak is None:
        return on_matrix
    return where(flops > 0, minimum(on_matrix, flops / vector_peak), 0.0)
