"""MatMul-free language models: ternary weights, element-wise recurrences in the place of attention, fused kernels.

Weights fall from 16 bits to what ternary digits are packed in, there is no cache, and what is between kernels is not kept.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

NAME = "scalable-matmul-free-language-modeling"


@derives(f"{NAME}#2")
def inference(bench: Bench) -> Finding:
    """A transformer in 16 bits with its cache over ternary layers and 16-bit tables."""
    spans = []
    for model in bench.unstated("model", ("llama-7b", "llama-13b"), "the sizes at which memory is compared"):
        facts = bench.facts(model)
        for context in bench.unstated("context", (2048, 8192)):
            for bits in bench.unstated("bits of a ternary weight", (1.6, 2.0), "five in a byte, or two bits each"):
                table = 2 * 32000 * {"llama-7b": 4096, "llama-13b": 5120}[model]  # input table and head
                before = 2 * facts["params"] + context * facts["kv_bytes_per_token"]
                after = (facts["params"] - table) * bits / 8 + 2 * table
                spans.append(exactly(bench.size(before / after)))
    return over(
        spans,
        "weights and one sequence's cache in 16 bits over packed ternary weights and 16-bit tables; runtimes' own memory left out",
    )


@derives(f"{NAME}#1")
def training(bench: Bench) -> Finding:
    """Numbers kept a token and linear layer: unfused quantisation keeps norms' results, scales and rounded copies too."""
    spans = []
    for kept in bench.unstated(
        "maps kept a layer, unfused",
        (4.0, 6.0),
        "input, norm's result, rounded copy, straight-through copy and what the product returns",
    ):
        for fused in bench.unstated("maps kept a layer, fused", (2.0, 2.5), "input and result; statistics aside"):
            spans.append(exactly(bench.size((1 - fused / kept) * 100)))
    return over(
        spans,
        "activations of one quantised linear layer with and without a kernel that does norm, rounding and product at once; weights and optimizer, which dilute it, left out",
    )
