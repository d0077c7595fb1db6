"""Matrix products in float32 by eager PyTorch: ``linear`` and ``bmm``.

The table writes an operand M × N and a weight N × K: rows × depth and depth × columns (the launched grids cover M by K,
e.g. M = 121, N = 1775, K = 14126 runs 111 · 128 columns by 2 · 64 rows), so **N is summed over** and K is what comes out.

PyTorch multiplies float32 on the ordinary units (``allow_tf32`` is off for products since 1.12): no row of an A100 passes
19.5 TFLOP/s. AMD's matrix cores have a float32 rate of their own and are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, ceil, minimum, where
from ...hardware.machine import Machine

# Output tiles (rows, columns) of the single-precision kernels in cuBLAS and rocBLAS, with the share of the peak their
# inner loop can reach: a tile of r × c reads r + c values from shared memory for r · c multiply-adds.
TILES = (
    (128.0, 128.0, 0.95), (64.0, 128.0, 0.92), (128.0, 64.0, 0.92), (64.0, 64.0, 0.85), (128.0, 32.0, 0.75),
    (32.0, 128.0, 0.75), (32.0, 32.0, 0.55),
)  # fmt: skip
SPLITS = (1.0, 2.0, 4.0, 8.0, 16.0)
LEAST_DEPTH = 256.0  # of one split: shallower ones do not pay for the reduction
PROLOGUE = 16.0  # steps of depth that filling and draining a tile take


@dataclass(frozen=True, slots=True)
class Product:
    """A batched product on a machine.

    Attributes:
        flops: required.
        padded: FLOPs the fastest tiling's busiest unit stands for (units times its share), over the tile's own share of
            the peak.
        bytes: operands once.
        waves: tiles (times splits) over units.
        excess: log2 of each tile's ``padded`` over the best: which tile a library takes is a fact of its version, so the
            fit learns what its devices pay for it.
    """

    flops: Value
    padded: Value
    bytes: Value
    waves: Value
    excess: tuple[Value, ...]


def product(batch: Value, rows: Value, columns: Value, depth: Value, machine: Machine) -> Product:
    """The fastest of the usual tilings, tiles dealt to units in whole rounds.

    A tiling of T tiles over U units takes ⌈T·s/U⌉ rounds of r · c · (depth/s + prologue) multiply-adds; s splits of the
    depth fill the units where tiles are few.
    """
    units = machine.engine.units
    best: Value = np.inf
    waves: Value = 0.0
    alone = []
    for tall, wide, share in TILES:
        tiles = batch * ceil(rows / tall) * ceil(columns / wide)
        mine: Value = np.inf
        for split in SPLITS:
            rounds = ceil(tiles * split / units)
            padded = rounds * units * tall * wide * 2.0 * (depth / split + PROLOGUE) / share
            allowed = (split == 1.0) | (depth >= split * LEAST_DEPTH)
            padded = where(allowed, padded, np.inf)
            waves = where(padded < best, tiles * split / units, waves)
            best = minimum(best, padded)
            mine = minimum(mine, padded)
        alone.append(mine)
    flops = 2.0 * batch * rows * columns * depth
    moved = 4.0 * batch * (rows * depth + depth * columns + rows * columns)
    return Product(flops, best, moved, waves, tuple(np.log2(own / best) for own in alone))


def alignment(size: Value) -> Value:
    """log2 of the largest power of two, at most 32 (a 128-byte line of float32), that divides a size."""
    result: Value = 0.0
    for power in (2.0, 4.0, 8.0, 16.0, 32.0):
        result = result + 1.0 * (np.mod(size, power) == 0)
    return result
