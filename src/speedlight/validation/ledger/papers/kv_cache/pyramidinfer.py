"""PyramidInfer: the deeper a layer, the fewer keys and values are computed and kept.

54 % less cache is 1/(1 − 0.54) = 2.2 times the batch: where a card is full of sequences and weights are read once for all of them,
that is the throughput. Fewer bytes read count the same way.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("pyramidinfer#1")
def throughput(bench: Bench) -> Finding:
    """Tokens a second of a card full of sequences."""
    share = 1 - bench.given("KV memory reduction", 0.54)
    bench.given("baseline", "accelerate")
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "a100-pcie-80gb")):
        for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b")):
            for context in bench.unstated("context", (512, 1024, 2048)):
                question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": context}
                before = bench.ask(model, machine, ["fill-memory"], **question)
                after = bench.ask(model, machine, [f"kv-pyramid:share={share}", "fill-memory"], **question)
                spans.append(bench.speedup(before, after, of="throughput"))
    return over(spans, "batches of either side as large as the card holds; a step reads weights once and keys for all")
