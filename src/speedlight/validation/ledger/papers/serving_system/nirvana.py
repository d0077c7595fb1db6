"""Approximate caching: denoising starts from a similar earlier picture's noise.

Expected steps are N (1 − hits · K/N); text encoder and decoder stay, so that the pipeline gains a little less than its steps.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _saved(bench: Bench) -> list[Span]:
    spans = []
    for hits in bench.unstated("share of requests that find a similar one", (0.6, 0.9)):
        for skipped in bench.unstated("share of steps a hit skips", (0.2, 0.4), "from 5 to 25 of 50 steps by likeness"):
            asked: dict[str, Any] = {"phase": "generate", "batch": 1, "steps": 50}
            before = bench.ask("sd-2.1", "a100-sxm-40gb", **asked)
            after = bench.ask(
                "sd-2.1", "a100-sxm-40gb", [f"approximate-caching:hits={hits},skipped={skipped}"], **asked
            )
            made = bench.speedup(before, after, of="latency").mapped(lambda x: (1 - 1 / x) * 100)
            spans.append(Span(made.low, made.value, made.high, hits * skipped * 100))  # all time in the steps
    return spans


WHY = "a pipeline of 50 steps with the expected steps of its hits; look-ups and the cache's reads are left out"


@derives(
    "approximate-caching-for-efficiently-serving-diffusion-models#1", "approximate-caching-for-efficiently-serving-diffusion-models#2",
    "approximate-caching-for-efficiently-serving-diffusion-models#3",
)  # fmt: skip
def saved(bench: Bench) -> Finding:
    """Compute, latency and dollars fall together, in %."""
    return over(_saved(bench), WHY)
