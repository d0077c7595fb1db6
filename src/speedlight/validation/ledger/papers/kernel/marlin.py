"""MARLIN: 4-bit weights widened in the shadow of their own reads.

At few tokens a linear layer reads its weights once, in 4.125 bits instead of 16: 3.88× at most. With the batch the reads of
activations and, past the ridge point, the products themselves take over, which no weight format shortens.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _speedup(bench: Bench, machine: str, model: str, batch: int, stack: str) -> Span:
    common: dict[str, Any] = {"phase": "decode", "batch": batch, "context": 1024, "stack": stack}
    return bench.speedup(bench.ask(model, machine, **common), bench.ask(model, machine, ["weight-only-int"], **common))


@derives("marlin#4")
def served(bench: Bench) -> Finding:
    """Decode steps of whole models in vLLM, at the batches where the kernel is near its best."""
    bench.given("stack", "vllm")
    spans = [
        _speedup(bench, machine, "llama-2-7b", batch, "vllm")
        for machine in bench.unstated("machine", ("a10", "rtx-3090", "a100-sxm-80gb"))
        for batch in bench.unstated("batch", (1, 8, 16))
    ]
    return over(spans, "a decode step with weights in 4.125 bits against 16, everything else as it was")
