"""Square convolutions in float32 by cuDNN: a direct (implicit) product, or Winograd's, fused or in passes.

A 3 × 3 convolution of stride 1 needs 9 multiplications an output value directly, but 4 with Winograd's F(2×2, 3×3) and 2.25
with F(4×4, 3×3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016), plus transforms:
measured rates pass the direct peak by up to 2.2×. The limit therefore counts a quarter of the direct FLOPs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, ceil, floor, minimum, where
from ...hardware.machine import Machine

WINOGRAD = 4.0  # F(4×4, 3×3): 9 · 16 / 36 multiplications saved; cuDNN ships nothing larger for 3 × 3
# (outputs, pixels) of a direct kernel's tile and the share of the peak its inner loop can reach.
DIRECT = ((64.0, 128.0, 0.85), (32.0, 128.0, 0.75), (128.0, 128.0, 0.9))
# Fused F(2×2): a block makes 32 outputs of 32 small tiles, taken from (images, tiles down, tiles across).
FUSED = ((1.0, 4.0, 8.0), (2.0, 4.0, 4.0), (2.0, 2.0, 8.0), (4.0, 2.0, 4.0), (4.0, 1.0, 8.0))
FUSED_SHARE = 0.7  # of the peak: the transforms share the units
PASSES = ((64.0, 64.0, 0.8), (128.0, 32.0, 0.75))  # (outputs, tiles) of the 36 products of F(4×4) in passes
PROLOGUE = 16.0


@dataclass(frozen=True, slots=True)
class Convolution:
    """What a convolution needs and what the usual algorithms make of it.

    Attributes:
        flops, least: direct, and the fewest any algorithm needs.
        padded: FLOPs the fastest algorithm's busiest unit stands for (units times its share).
        bytes: operands once.
        transformed: bytes that F(4×4) in passes writes and reads again (2.25 values for one).
        side: of the output.
        excess: log2 of each algorithm's ``padded`` (direct, fused, passes) over the best.
        waves: log2 of each algorithm's blocks over units.
    """

    flops: Value
    least: Value
    padded: Value
    bytes: Value
    transformed: Value
    side: Value
    excess: tuple[Value, ...]
    waves: tuple[Value, ...]


def convolution(
    batch: Value, inputs: Value, outputs: Value, kernel: Value, size: Value, stride: Value, padding: Value, machine: Machine
) -> Convolution:  # fmt: skip
    """Direct and Winograd algorithms, blocks dealt to units in whole rounds."""
    units = machine.engine.units
    side = floor((size + 2.0 * padding - kernel) / stride) + 1.0
    pixels = side * side
    depth = inputs * kernel * kernel
    flops = 2.0 * batch * pixels * outputs * depth
    fast = (kernel == 3.0) & (stride == 1.0)

    direct: Value = np.inf
    direct_blocks: Value = 1.0
    for wide, tall, share in DIRECT:
        blocks = ceil(outputs / wide) * ceil(batch * pixels / tall)
        own = ceil(blocks / units) * units * wide * tall * 2.0 * (depth + PROLOGUE) / share
        direct_blocks = where(own < direct, blocks, direct_blocks)
        direct = minimum(direct, own)
    fused: Value = np.inf
    fused_blocks: Value = 1.0
    tiles = ceil(side / 2.0)
    for images, down, across in FUSED:
        blocks = ceil(outputs / 32.0) * ceil(batch / images) * ceil(tiles / down) * ceil(tiles / across)
        own = ceil(blocks / units) * units * 32.0 * 32.0 * 16.0 * 2.0 * (inputs + PROLOGUE) / FUSED_SHARE
        fused_blocks = where(own < fused, blocks, fused_blocks)
        fused = minimum(fused, own)
    passes: Value = np.inf
    passes_blocks: Value = 1.0
    quads = batch * ceil(side / 4.0) ** 2
    for wide, tall, share in PASSES:
        blocks = 36.0 * ceil(outputs / wide) * ceil(quads / tall)
        own = ceil(blocks / units) * units * wide * tall * 2.0 * (inputs + PROLOGUE) / share
        passes_blocks = where(own < passes, blocks, passes_blocks)
        passes = minimum(passes, own)

    best = where(fast, minimum(direct, minimum(fused, passes)), direct)
    moved = 4.0 * (batch * inputs * size * size + inputs * outputs * kernel * kernel + batch * outputs * pixels)
    transformed = where(fast, 4.0 * 2.0 * 36.0 * (quads * (inputs + outputs) + inputs * outputs), 0.0)
    excess = tuple(np.log2(own / best) for own in (direct, fused, passes))
    waves = tuple(np.log2(blocks / units) for blocks in (direct_blocks, fused_blocks, passes_blocks))
    return Convolution(flops, where(fast, flops / WINOGRAD, flops), best, moved, transformed, side, excess, waves)
