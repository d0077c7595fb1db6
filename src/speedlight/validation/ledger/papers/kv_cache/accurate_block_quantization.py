"""Channels reordered offline so that outliers share blocks: a block format of half the bits does for the cache.

Bits of a value are its mantissa's and sign's plus a shared exponent over the block; the order of channels is folded into weights.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("accurate-block-quantization-in-llms-with-outliers#1")
def footprint(bench: Bench) -> Finding:
    """Bytes of the cache before over after."""
    spans = []
    for before, after in bench.unstated("bits of a value before and after", ((16, 8), (8, 4))):
        for block in bench.unstated("values that share an 8-bit exponent", (32, 64, 128)):
            shared = bench.bits("int8") / block
            wide = before if before == 16 else before + shared
            spans.append(exactly(bench.size(wide) / (after + shared)))
    return over(spans, "mantissas in half the bits, a shared exponent of 8 bits for each block on top")
