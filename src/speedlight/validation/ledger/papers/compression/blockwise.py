"""Blockwise quantisation: values of a few bits share a scale in each block, so 32/4 is 8 less what the scales cost.

What falls short of 8 says how large the blocks are: 7.988 leaves 0.006 bits a value, a scale of 16 bits for some 2,700.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

_ID = "blockwise-compression-of-transformer-based-models-without-re"


@derives(f"{_ID}#1")
def ratio(bench: Bench) -> Finding:
    found = []
    for block in bench.unstated("values in a block", (256, 1024, 4096), "blocks within a row of a layer's matrix"):
        for scale in bench.unstated("bits of a scale", (8, 16, 32)):
            bits = bench.bits("int4_values") + scale / block
            found.append(exactly(bench.bits("fp32") / bits))
    return over(found, "4-bit values and a scale for each block against fp32; every tensor alike")


@derives(f"{_ID}#2")
def compute(bench: Bench) -> Finding:
    """6 FLOPs a parameter and token."""
    parameters = bench.facts("gpt3-175b")["params"]
    found = [
        exactly(6 * parameters * n)
        for n in bench.unstated("training tokens", (1.8e11, 3e11), "models of GPT-3's size and time")
    ]
    return over(found, "forward and backward products of the configuration's parameters")
