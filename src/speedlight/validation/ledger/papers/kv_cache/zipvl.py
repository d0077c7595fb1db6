"""ZipVL: attention of a prompt over the tokens that matter, the rest of the cache in few bits.

LongVA reads videos of 10⁵ tokens with a Qwen2-7B: attention over all of them is most of a prompt's FLOPs.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

MODEL, MACHINE = "qwen2.5-7b", "a100-sxm-80gb"


@derives("zipvl#1")
def prefill(bench: Bench) -> Finding:
    """Time of a prompt with sparse attention."""
    bench.given("model", MODEL, "assumed", "LongVA-7B reads with a Qwen2-7B, of the same sizes")
    spans: list[Span] = []
    for isl in bench.unstated("visual tokens", (65536, 131072, 196608)):
        question: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": isl}
        before = bench.ask(MODEL, MACHINE, **question)
        for kept in bench.unstated("share of attention computed", (0.1, 0.3)):
            spans.append(bench.speedup(before, bench.ask(MODEL, MACHINE, [f"sparse-prefill:keep={kept}"], **question)))
    return over(spans, "attention over a share of the pairs, linear layers as before")


@derives("zipvl#2")
def memory(bench: Bench) -> Finding:
    """Memory of a card saved by a cache of mixed bits."""
    bench.given("model", MODEL, "assumed", "LongVA-7B reads with a Qwen2-7B, of the same sizes")
    spans = []
    for tokens in bench.unstated("visual tokens", (65536, 131072, 196608)):
        for batch in bench.unstated("batch", (1, 4)):
            question: dict[str, Any] = {"phase": "decode", "batch": batch, "context": round(bench.size(tokens))}
            whole = bench.memory(bench.ask(MODEL, MACHINE, **question), "weights", "kv", "activations").value
            for salient in bench.unstated("share of salient tokens", (0.2, 0.6)):
                mixed = bench.ask(MODEL, MACHINE, [f"kv-mixed-precision:salient={salient}"], **question)
                spans.append(exactly((1 - bench.memory(mixed, "weights", "kv", "activations").value / whole) * 100))
    return over(spans, "weights as they are, the cache in 2 to 4 bits")
