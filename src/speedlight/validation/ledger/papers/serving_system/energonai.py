"""EnergonAI: no computing on padding, tensor parallel.

A batch of unequal sequences is packed end to end, so that products see real tokens only.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("energonai#2")
def latency(bench: Bench) -> Finding:
    """In % less."""
    spans = []
    for filled in bench.unstated(
        "mean length over the padded one", (0.5, 0.7), "lengths spread evenly up to the longest, or less so"
    ):
        for batch in bench.unstated("batch", (16, 32)):
            asked: dict[str, Any] = {
                "phase": "prefill",
                "batch": batch,
                "isl": 64,
                "dtype": "fp16",
                "tp": 4,
                "stack": "fastertransformer",
            }
            before = bench.ask("opt-30b", "dgx-a100-80gb", **asked)
            after = bench.ask("opt-30b", "dgx-a100-80gb", [f"padding-removal:filled={filled}"], **asked)
            spans.append(bench.speedup(before, after, of="latency").mapped(lambda x: (1 - 1 / x) * 100))
    return over(
        spans,
        "a tensor-parallel prompt step with and without its padding; FasterTransformer's own packing counts as absent",
    )
