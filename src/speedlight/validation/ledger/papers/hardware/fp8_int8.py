"""FP8 against INT8: what a multiply-accumulate takes in full adders.

An integer product is 8 × 8 partial products into a 32-bit sum. A float's is smaller, but its result must be shifted to the sum's place: a
shifter of the sum's width and its number of stages, besides adders of exponents. Counts of adders, no layout: the range and no more.
"""

from __future__ import annotations

from math import ceil, log2

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

MUX = 0.4  # of a full adder's gates in one bit of a shifter's stage


@derives("fp8-versus-int8-for-efficient-deep-learning-inference#1")
def gates(bench: Bench) -> Finding:
    whole = 8.0 * 8.0 + 32.0
    spans = []
    for exponent in bench.unstated("exponent bits", (4, 5), "E4M3 and E5M2, the two that hardware has"):
        mantissa = 7 - exponent
        for total in bench.unstated("bits of the sum", (2**exponent + 2 * mantissa + 8, 32)):
            shifts = 2 if total == 32 else 1  # a floating sum is aligned before and normalised after
            steps = ceil(log2(total))
            adders = (mantissa + 1) ** 2 + exponent + total + shifts * MUX * total * steps
            spans.append(exactly(100 * (bench.size(adders) / whole - 1)))
    return over(spans, "adders and shifters of a float's multiply-accumulate over an integer's")
