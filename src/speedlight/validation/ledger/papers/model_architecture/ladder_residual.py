"""Ladder-residual: a half layer starts from the input of the one before, so all-reduces travel while it computes."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from .images import gain


@derives("ladder-residual#1")
def end_to_end(bench: Bench) -> Finding:
    """A 70B model over eight devices, from the prompt to the last token."""
    bench.stated(tp=8)
    bench.given("model", "70B parameters, Llama's shape")
    spans = []
    for machine in bench.unstated("machine", ("dgx-h100", "dgx-a100-80gb"), "eight devices of a box"):
        for batch in bench.unstated("batch", (1, 4, 16, 64)):
            common: dict[str, Any] = {
                "phase": "generate",
                "batch": batch,
                "isl": 1024,
                "osl": 512,
                "tp": 8,
                "stack": "transformers-graphs",
            }
            before, after = (bench.ask("llama-3.1-70b", machine, t, **common) for t in ([], ["ladder-residual"]))
            spans.append(gain(bench.speedup(before, after)))
    return over(
        spans,
        "a request with all-reduces beside the next half layer; exposed time at small batches is their latency, at large ones their bytes",
    )
