"""Half of Llama-2-70B's attention layers left out: a ninth of its weights, but half of its caches, messages and attention's launches.

Weights alone cannot explain the gain; long contexts at many sequences (caches) or many devices (messages) can.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("what-matters-in-transformers-not-all-attention-is-needed#1")
def speed(bench: Bench) -> Finding:
    bench.stated(model="llama-2-70b", share=0.5)
    spans = []
    layouts = (("dgx-a100-80gb", 4), ("dgx-h100", 8))
    for machine, tp in bench.unstated("machine and tensor parallelism", layouts, "boxes that hold the model"):
        for batch, context in bench.unstated("batch and context", ((16, 2048), (64, 4096))):
            common: dict[str, Any] = {
                "phase": "decode",
                "batch": batch,
                "context": context,
                "tp": tp,
                "stack": bench.given("stack", "vllm", "assumed"),
            }
            before, after = (
                bench.ask("llama-2-70b", machine, t, **common) for t in ((), ("attention-dropping:share=0.5",))
            )
            spans.append(bench.speedup(before, after).mapped(lambda x: (x - 1) * 100))
    return over(spans, "decode steps with 40 of the 80 attention halves, their caches and their all-reduces gone")
