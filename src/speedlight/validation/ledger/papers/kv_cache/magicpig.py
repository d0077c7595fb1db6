"""MagicPIG: hash tables and cache in host memory, attention over sampled keys by the host's processor.

The device reads its weights once a step; the host reads a few percent of the keys and values, and its tables, from DDR. A card of 24 GB
that cannot hold 8B weights and 96 K tokens need not.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

DDR = (100e9, 200e9, 400e9)  # one socket of four DDR4 channels to two of eight


@derives("magicpig#2")
def latency(bench: Bench) -> Finding:
    """Milliseconds a token."""
    bench.stated(model="llama-3.1-8b", machine="rtx-4090", context=98304, batch=1)
    spans = []
    for rate in bench.unstated("host memory bandwidth", DDR):
        for share in bench.unstated("share of the keys read, tables included", (0.02, 0.05)):
            answer = bench.ask(
                "llama-3.1-8b", "rtx-4090", [f"kv-retrieval-offload:tokens=0,share={share},summary=0,way=computed"],
                phase="decode", batch=1, context=98304, overrides={"tiers.host.bandwidth": rate},
            )  # fmt: skip
            spans.append(bench.time(answer).mapped(lambda x: x * 1e3))
    return over(
        spans,
        "weights from the card's memory, then attention where the keys lie; hashing, thread start and gathers of single rows on the "
        "host are left out",
        more=False,
    )


@derives("magicpig#1")
def throughput(bench: Bench) -> Finding:
    """Batches that fit: the card's with all keys on it, the host's with the card holding weights."""
    spans: list[Span] = []
    for machine in bench.unstated("machine", ("a100-pcie-80gb", "l40s"), "cards that hold a sequence to compare with"):
        for context in bench.unstated("context", (65536, 98304)):
            question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": context}
            whole = bench.ask("llama-3.1-8b", machine, ["fill-memory"], **question)
            for rate in bench.unstated("host memory bandwidth", DDR):
                picked = bench.ask(
                    "llama-3.1-8b", machine,
                    ["kv-retrieval-offload:tokens=0,share=0.02,summary=0,way=computed", "fill-memory:most=16"],
                    **question, overrides={"tiers.host.bandwidth": rate},
                )  # fmt: skip
                spans.append(bench.speedup(whole, picked, of="throughput"))
    return over(
        spans, "the largest batch of either side: what the card holds against what host memory holds (16 at most)"
    )
