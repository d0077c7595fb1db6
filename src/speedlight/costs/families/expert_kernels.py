"""What the code behind a kernel's name decides of the experts' products: the height of its tiles, the rate it can reach.

Most are known by their times alone. Marlin's rule is its source's: the block of rows is the smallest of 8, 16, 32, 48 and 64 that
the mean rows of an expert fill by less than 0.9 (vLLM, ``fused_marlin_moe.py``), with the experts of the rank as the number of
experts but all tokens' picks as the rows, so that blocks are higher than needed when experts are split. It multiplies with
``mma.sync``, an Ampere SM's 2,048 16-bit FLOP a clock at most: measured it holds 950 to 1,140 on A100, H100 and B200, half of them
on a desktop's SM (int4 rows of the moe table), wherever wider instructions exist that it does not use.
"""

from __future__ import annotations

import numpy as np

from ..._foundation.arrays import Value, log2, minimum, where
from ...hardware.machine import Engine, Machine
from ..calibration.naming import INSTRUCTIONS
from ..calibration.samples import architecture_of

MARLIN = "marlin"
STEPS = 10.0  # log2 of the mean rows from which on nothing changes
LEAST, LARGEST = 8.0, 128.0  # rows of a tile
FULL = 0.9  # share of a block that Marlin fills at most before it takes the next
SYNC_FLOPS = 2048.0  # 16-bit FLOP of mma.sync a clock and SM, the most any generation does


def tile(mean: Value, ep: Value, code: str) -> tuple[Value, Value]:
    """(step, rows of a tile) where experts of all ranks have ``mean`` rows on average."""
    if code == MARLIN:
        height: Value = 64.0 + 0.0 * mean
        for block in (48.0, 32.0, 16.0, 8.0):
            height = where(mean * ep < FULL * block, block, height)
        return np.ceil(log2(height)), height
    step = np.clip(np.ceil(log2(mean) - 1e-6), 0.0, STEPS)
    return step, np.clip(np.exp2(step), LEAST, LARGEST)


def reachable(peak: Value, engine: Engine, code: str) -> Value:
    """The matrix units' rate that the code's instructions can reach."""
    return minimum(peak, engine.units * engine.clock_hz * SYNC_FLOPS) if code == MARLIN else peak


def usual_code(framework: str, number_format: str, machine: Machine) -> str:
    """The code a framework runs 4-bit weights with 16-bit activations with where no kernel is named (blank: as any other)."""
    kind = architecture_of(machine)
    if framework not in ("sglang", "vllm") or machine.vendor != "nvidia":
        return ""
    if number_format == "int4_wo":
        return "" if framework == "sglang" and kind == "Blackwell-hbm" else MARLIN
    return MARLIN if number_format == "w4a16_mxfp4" and kind not in INSTRUCTIONS else ""
