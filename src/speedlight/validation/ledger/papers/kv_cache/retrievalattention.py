"""RetrievalAttention: keys and values in host memory under an index built for attention's queries.

A step reads 1–3 % of the keys from DDR; the card holds weights. 16 GB of 8B weights and 17 GB of keys for 128 K tokens are more than 24 GB.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

CONTEXT = 131072


@derives("retrievalattention#3")
def memory(bench: Bench) -> Finding:
    """GB of the card's memory: weights, and what a step works with."""
    bench.stated(context=CONTEXT, batch=1, machine="rtx-4090")
    bench.given("share of keys read", "1 to 3 %")
    spans = []
    for model in bench.unstated("model", ("llama-3.1-8b",), "the source says an 8B model"):
        answer = bench.ask(
            model, "rtx-4090", ["kv-retrieval-offload:tokens=0,share=0.02,summary=0,way=computed"], phase="decode", batch=1,
            context=CONTEXT,
        )  # fmt: skip
        spans.append(
            bench.memory(answer, "weights", "kv", "activations", "cache").mapped(lambda x: bench.size(x) / 1e9)
        )
    return over(spans, "8B weights in 16 bits; the cache lies in host memory", more=False)


@derives("retrievalattention#4")
def latency(bench: Bench) -> Finding:
    """Seconds a token."""
    bench.stated(context=CONTEXT, batch=1, machine="rtx-4090")
    spans = []
    for share in bench.given("share of keys read", (0.01, 0.03)):
        for rate in bench.unstated("host memory bandwidth", (80e9, 200e9)):
            answer = bench.ask(
                "llama-3.1-8b", "rtx-4090", [f"kv-retrieval-offload:tokens=0,share={share},summary=0,way=computed"],
                phase="decode", batch=1, context=CONTEXT, overrides={"tiers.host.bandwidth": rate},
            )  # fmt: skip
            spans.append(bench.time(answer))
    return over(
        spans,
        "weights from the card's memory, a few percent of the keys from the host's; the rest of what was measured is the search itself: "
        "a graph walked key by key, hop after hop, which bytes do not explain",
        more=False,
    )
