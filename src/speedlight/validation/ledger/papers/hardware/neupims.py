"""NeuPIMs: attention in the banks, products on the device.

At a large batch and a long context a decode step is mostly keys and values; read at the banks' rate they take a fraction of that.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("neupims#1", "neupims#2")
def batched(bench: Bench) -> Finding:
    """GPT-3-like models of one key and value a head, where in-bank units have one operation a byte to do."""
    spans = []
    for model in bench.unstated("model", ("opt-13b", "opt-30b")):
        for context in bench.unstated("context", (512, 2048)):
            common: dict[str, Any] = {
                "phase": "decode",
                "batch": 128,
                "context": context,
                "dtype": "fp16",
                "stack": "vllm",
            }
            before = bench.ask(model, "a100-sxm-80gb", **common)
            for ratio in bench.unstated("ratio", (4, 8), "banks' rate over the bus's: HBM-PIM's and GDDR6-AiM's"):
                after = bench.ask(model, "a100-sxm-80gb", [f"in-memory-attention:ratio={ratio}"], **common)
                spans.append(bench.speedup(before, after, "throughput"))
    return over(
        spans,
        "a step whose attention reads at the banks' rate; two half batches that take turns would hide it as well",
    )
