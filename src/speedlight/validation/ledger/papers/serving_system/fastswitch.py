"""FastSwitch: a preempted request's blocks cross the link in few large copies.

Blocks of one layer each are small: every copy waits for the link's latency once, and a switch of context stalls the whole batch.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("fastswitch#1")
def tails(bench: Bench) -> Finding:
    """99th percentiles of the time to first token and of the gap between tokens."""
    spans = []
    model, machine, copies = "llama-3.1-8b", "a10", 64
    for rate in bench.unstated("rate", (4.0, 8.0), "beyond what the device sustains, so that requests are preempted"):
        load: dict[str, Any] = {"rate": rate, "isl": 500, "osl": 300, "spread": 0.8, "requests": 100, "policy": "vllm@0", "kv_blocks": 600}
        small = bench.serve(model, machine, [f"swap-preemption:copies={copies}"], **load)
        large = bench.serve(model, machine, ["swap-preemption:copies=1"], **load)
        for name in bench.unstated("metric", ("ttft", "itl"), "tails of both are quoted"):
            spans.append(loads.ratio(small, large, loads.metric(name, "p99"), falls=True))
    return over(spans, "a queue that swaps, blocks moved layer by layer (two copies a layer) against one copy a block")
