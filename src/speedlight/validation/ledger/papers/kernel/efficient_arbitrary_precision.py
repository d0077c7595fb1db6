"""Arbitrary precision: p · q binary products instead of one of 4 or 8 bits.

Binary matrix instructions are four times as fast as those of 4 bits and eight times as those of 8: with few bits the sum of binary
products is the faster, with many not.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import faster, kernel, ops
from ...registry import derives


@derives("efficient-arbitrary-precision-acceleration-for-large-languag#1")
def product(bench: Bench) -> Finding:
    """A product of few bits against CUTLASS in the next width it has."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb",), "binary matrix units are Ampere's"):
        for weights, activations, dtype in bench.unstated(
            "bits and CUTLASS's format", ((1, 2, "int4"), (1, 2, "int8"), (2, 2, "int8"), (3, 4, "int8"))
        ):
            shape = {"m": 4096, "n": 4096, "k": int(bench.size(4096))}
            before = kernel(bench, "one product", ops(("gemm", shape), dtype=dtype), machine, stack="ideal")
            label = f"bit-serial-products:weights={weights},activations={activations}"
            after = kernel(bench, "one product", ops(("gemm", shape), dtype="fp16"), machine, [label], stack="ideal")
            spans.append(faster(before, after))
    return over(spans, "operations over rates: p · q binary products at four times the rate of 4 bits")
