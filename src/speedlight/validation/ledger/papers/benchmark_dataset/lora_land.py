"""LoRA Land: many fine-tunes on one base model; what one card could hold is its free memory over an adapter's bytes."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("lora-land#4")
def adapters(bench: Bench) -> Finding:
    """Adapters that fit beside Mistral-7B in 16 bits and a cache for each of their requests."""
    bench.stated(model="mistral-7b")
    facts = bench.facts("mistral-7b")
    card = bench.machine("a100-sxm-80gb").main.capacity_bytes
    layers, hidden, keys = 32, 4096, 1024
    spans = []
    for rank, linear in bench.unstated("rank, layers", ((8, "q, v"), (64, "all")), "common choices"):
        per_layer = (
            rank * (2 * hidden + hidden + keys)
            if linear == "q, v"
            else rank * (2 * hidden * 2 + 2 * (hidden + keys) + 3 * (hidden + 14336))
        )
        for context in bench.unstated("context", (2048, 8192), "tokens of a request in flight for each adapter"):
            each = 2 * layers * per_layer + context * facts["kv_bytes_per_token"]
            free = card * 0.9 - facts["weight_bytes"]
            spans.append(exactly(bench.size(free / each)))
    return over(
        spans, "90 % of the card's memory less the base model, over an adapter and the cache of a request of its own"
    )
