"""Pathways: one controller for all hosts, whose dispatch runs ahead of the accelerators.

Accelerators wait for a controller only where a step takes less time than its dispatch; as long as it does not, one controller
and many do the same.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("pathways#1")
def parity(bench: Bench) -> Finding:
    """Share of the step that dispatch ahead leaves to the accelerators."""
    bench.given("devices", 2048)
    spans = []
    for batch in bench.unstated("batch", (1024, 4096)):
        step = bench.ask(
            "gpt3-xl", "tpu-v3-pod", phase="train", batch=batch, isl=1024, dp=1024, zero=3, micro_batch=1, dtype="bf16"
        )
        for dispatch in bench.unstated("dispatch of a step", (0.001, 0.02), "a message to every host, seconds"):
            low, middle, high = (
                100 * t / max(t, dispatch) for t in (float(step.low), float(step.time), float(step.high))
            )
            spans.append(Span(low, middle, high, 100.0))
    return over(spans, "the step's time over the longer of itself and its dispatch: 1,024 TPU v3 of two cores each")
