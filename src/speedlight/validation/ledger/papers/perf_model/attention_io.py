"""I/O of exact attention: with M elements on chip a block of M/4d queries sees all keys and values once, so that N²d²/M elements move;
nothing moves less than the operands themselves, N·d.
"""

from __future__ import annotations

import math

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

ID = "the-i-o-complexity-of-attention-or-how-optimal-is-flash-atte"
LENGTHS = (65536, 131072, 262144, 524288)


def _moved(tokens: float, width: float, chip: float) -> float:
    """Elements that blocked attention moves: queries and results once, keys and values once a block of queries."""
    rows = max(math.floor(chip / (4 * width)), 1)
    return 2 * tokens * width + 2 * tokens * width * math.ceil(tokens / rows)


@derives(f"{ID}#1")
def blocked(bench: Bench) -> Finding:
    """The exponent of N where the chip holds one block at a time."""
    bits = bench.bits("fp16")
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
        chip = {"a100-sxm-80gb": 164e3, "h100-sxm-80gb": 228e3}[machine]
        bench.given(f"bytes of shared memory of an SM, {machine}", chip, "assumed", "vendor's tuning guides")
        for width in bench.unstated("head dimension", (64, 128)):
            spans.append(bench.slope(LENGTHS, [_moved(n, width, chip * 8 / bits) for n in LENGTHS]))
    return over(spans, "elements that blocks of queries move against the length, log over log")


@derives(f"{ID}#2")
def least(bench: Bench) -> Finding:
    """The exponent of N where all of it is on chip: the engine's least bytes of attention."""
    spans = []
    for width in bench.unstated("head dimension", (64, 128)):
        spans.append(bench.slope(LENGTHS, [_moved(n, width, 4 * width * n) for n in LENGTHS]))
    return over(spans, "elements that move where queries fit on the chip: operands once")
