"""Duplex: layers whose operations per byte are few go to a processor under the memory.

Attention over grouped queries reads a key and a value once for all query heads of its group: in 16 bits as many operations a byte as a
group has heads. An expert that is read has at least one token, so at least one operation for each of its bytes.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("duplex#1")
def experts(bench: Bench) -> Finding:
    """Tokens of an expert that is touched, two operations for two bytes each: least where every pick is another expert's."""
    items, picks = (
        bench.given("experts", 8.0, "published", "Mixtral-8x7B"),
        bench.given("picks", 2.0, "published", "Mixtral-8x7B"),
    )
    least = min(tokens * picks / (items * (1 - (1 - picks / items) ** tokens)) for tokens in (1.0, 4.0, 16.0, 64.0))
    return over(
        [exactly(bench.size(least))],
        "the least over batches of 1 to 64 of operations a byte of the experts that a batch touches",
    )


@derives("duplex#2")
def attention(bench: Bench) -> Finding:
    """FLOPs over bytes of a decode step's attention, by the engine."""
    spans = []
    for model in bench.unstated(
        "model", ("mixtral-8x7b", "llama-3.1-70b"), "models with grouped queries of 4 and 8 heads"
    ):
        near, far = (
            bench.ask(model, "dgx-h100", phase="decode", batch=1, context=c, tp=1, stack="ideal") for c in (4096, 8192)
        )  # fmt: skip
        flops, moved = float(far.flops - near.flops), float(far.bytes - near.bytes)
        spans.append(exactly(bench.size(flops / moved)))
    return over(spans, "what 4,096 more cached tokens add to a step: operations over bytes")
