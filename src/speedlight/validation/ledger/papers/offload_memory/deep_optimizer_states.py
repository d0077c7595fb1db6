"""Deep Optimizer States: the host and the device update states side by side.

With the states on the host a short step is the host's update: its arithmetic goes through 28 bytes a parameter slower than its memory
brings them. A share of the states over the link, updated on the device, takes that off it; the host's memory is what remains.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("deep-optimizer-states#1")
def iteration(bench: Bench) -> Finding:
    """Four devices of one box, short and longer steps, a slow and a quick update on the host."""
    bench.stated(stack="deepspeed")
    spans = []
    for pace in bench.unstated("pace", (0.25, 0.5), "share of its memory's bandwidth that the host's update reaches"):
        for batch in bench.unstated("batch", (4, 16)):
            common: dict[str, Any] = {
                "phase": "train", "batch": batch, "isl": 2048, "dp": 4, "zero": 3, "micro_batch": 1, "recompute": "full",
                "stack": "deepspeed",
            }  # fmt: skip
            before = bench.ask("llama-2-13b", "dgx-h100", [f"optimizer-offload:pace={pace}"], **common)
            after = bench.ask("llama-2-13b", "dgx-h100", [f"interleaved-update:share=0.67,pace={pace}"], **common)
            spans.append(bench.speedup(before, after))
    return over(spans, "the same step with all states updated by the host, and with two thirds of them on the device")
