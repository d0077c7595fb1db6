"""PIPO: transfers from disk or host memory beside the computing, in a pipeline of fine pieces.

The gain is what a baseline that waits, stages and copies in turn adds up, over the largest of the same parts.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("pipo#2")
def throughput(bench: Bench) -> Finding:
    """Against Accelerate's hooks, as a thin stack of ours: one host thread fills a pinned buffer, the device waits."""
    bench.stated(machine="rtx-3060-laptop-6gb")
    bench.given("stack", "accelerate", "assumed", "the baseline is not named in the abstract")
    spans = []
    for model in bench.unstated("model", ("opt-6.7b", "llama-2-7b", "opt-13b")):
        for tier in bench.unstated("offload", ("host", "disk")):
            common: dict[str, Any] = {
                "phase": "decode",
                "batch": 1,
                "context": 512,
                "dtype": "fp16",
                "stack": "accelerate",
                "offload": (f"weights:{tier}",),
            }
            before = bench.ask(model, "rtx-3060-laptop-6gb", **common)
            spans.append(
                bench.speedup(before, bench.ask(model, "rtx-3060-laptop-6gb", ["pipelined-offload"], **common))
            )
    return over(spans, "the sum of disk, copies, link and computing against the largest of them")
