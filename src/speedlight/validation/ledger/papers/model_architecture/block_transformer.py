"""Block Transformer: the lower layers run once a block of tokens, the upper ones attend inside their block.

Keys and values kept and read fall by about the block's length, so far more sequences fit and each step reads less. Which sizes
are of equal perplexity the abstract does not say; a larger model than the baseline's is needed, which takes some of it back.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

FULL = "fill-memory:most=65536"


@derives("block-transformer#1")
def throughput(bench: Bench) -> Finding:
    """Tokens a second with memory full of sequences, the block model of the same size and of one size up."""
    spans = []
    for context in bench.unstated("context", (1024, 2048), "lengths such models are trained for"):
        for before, after in bench.unstated(
            "models",
            (("pythia-410m", "pythia-410m"), ("pythia-1.4b", "pythia-1.4b"), ("pythia-1.4b", "pythia-2.8b")),
            "equal perplexity: as many parameters, or about twice",
        ):
            common: dict[str, Any] = {"phase": "decode", "batch": 8, "context": context}
            vanilla = bench.ask(before, "h100-sxm-80gb", [FULL], **common)
            block = bench.ask(after, "h100-sxm-80gb", ["block-transformer", FULL], **common)
            spans.append(bench.speedup(vanilla, block, "throughput"))
    return over(
        spans,
        "tokens a second at the batch that fills the card: steps of both models and of the block decoder once in four tokens",
    )
