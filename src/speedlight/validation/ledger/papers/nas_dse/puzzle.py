"""Puzzle: per-block choices of attention and feed-forward parts, found under a machine's limits.

Nemotron-51B's own list of layers is not carried; its successor from the same search and the same parent, of 49 B, stands in.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

SEARCHED, PARENT = "nemotron-super-49b-v1", "llama-3.1-70b"


@derives("puzzle#1")
def throughput(bench: Bench) -> Finding:
    """Tokens a second and card with memory full: the child on one card, the parent on as many as it needs."""
    bench.given("model", "Nemotron-51B on one H100, Llama-3.1-70B", "published")
    bench.given("stand-in", SEARCHED, "assumed", "the same search and parent, 49 B parameters")
    spans = []
    for isl, osl in bench.unstated("isl, osl", ((128, 128), (512, 512), (2048, 128)), "lengths of chats"):
        for tp in bench.unstated("cards of the parent", (2, 4)):
            common: dict[str, Any] = {
                "phase": "generate",
                "batch": 8,
                "isl": isl,
                "osl": osl,
                "dtype": "fp8",
                "stack": "tensorrt-llm",
            }
            parent = bench.ask(PARENT, "dgx-h100", ["fill-memory:most=512"], tp=tp, **common)
            child = bench.ask(SEARCHED, "dgx-h100", ["fill-memory:most=512"], tp=1, **common)
            spans.append(bench.speedup(parent, child, "throughput"))
    return over(spans, "output tokens a second and card in FP8, batches as large as fit up to 512")


@derives("puzzle#5")
def cards(bench: Bench) -> Finding:
    """Cards that hold 51 B parameters in 8 bits with a cache for a batch."""
    size = bench.given("parameters", 51e9)
    memory = bench.machine("h100-sxm-80gb").main.capacity_bytes
    bench.inputs[:] = [g for g in bench.inputs if g.what != "machine"]
    bench.given("machine", "h100")
    spans = []
    for bits in bench.unstated("bits of a weight", (8.0,), "FP8, as it was served"):
        need = bench.size(size * bits / 8) * 1.15  # a cache and the runtime's memory
        spans.append(exactly(float(-(-need // memory))))
    return over(
        spans,
        "weights in 8 bits and 15 % for cache and runtime, in whole cards; in 16 bits it would be two",
        more=False,
    )
