"""LLM.int8(): weights in 8 bits, a thousandth of the feature dimensions in 16 bits beside them.

Weight bytes halve but for embeddings; 175 B parameters then fit eight consumer GPUs.
"""

from __future__ import annotations

import math

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


def _weights(bench: Bench, model: str, *techniques: str) -> float:
    answer = bench.ask(model, bench.given("machine", "a100-sxm-80gb", "published", "any: bytes alone count"), techniques,
                       phase="decode", batch=bench.given("batch", 1, "published"), context=bench.given("context", 128, "published"), dtype="fp16")  # fmt: skip
    return bench.memory(answer, "weights").value


@derives("llm-int8#1")
def halved(bench: Bench) -> Finding:
    bench.stated(dtype="fp16", model="opt-175b", outliers=0.001)
    ratio = _weights(bench, "opt-175b") / _weights(bench, "opt-175b", "llm-int8")
    return over([exactly(ratio)], "weights of OPT-175B in 16 bits over those in 8 with outliers; embeddings stay in 16")


@derives("llm-int8#5")
def servers(bench: Bench) -> Finding:
    """Boxes of eight consumer GPUs that hold the weights and a short context."""
    bench.stated(dtype="fp16", model="opt-175b", outliers=0.001)
    found = []
    for machine in bench.unstated("consumer GPU", ("rtx-3090", "rtx-4090"), "24 GB, the most that consumer GPUs had"):
        box = 8 * float(bench.machine(machine).main.capacity_bytes)
        n = math.ceil(_weights(bench, "opt-175b", "llm-int8") / box)
        found.append(Span(n, n, n, n))
    return over(
        found, "weights in 8 bits over the memory of eight 24 GB GPUs; in 16 bits it would be two boxes", more=False
    )
