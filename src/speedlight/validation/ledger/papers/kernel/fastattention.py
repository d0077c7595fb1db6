"""FastAttention: fused attention on NPUs and older GPUs.

Against attention written out the gain is the scores' way through memory; for a whole model it is what attention was of its prompt.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import attention, faster, kernel
from ...registry import derives


@derives("fastattention#1")
def npu(bench: Bench) -> Finding:
    """Attention alone on an Ascend NPU."""
    stated = bench.stated(machine="ascend-910b")
    spans = []
    for isl in bench.unstated("isl", (4096, 16384)):
        for causal in bench.unstated("causal", (False, True)):
            source = attention(1, int(bench.size(isl)), 32, 128, causal=causal)
            before = kernel(
                bench, "one attention", source, stated["machine"], ["written-out-attention"], stack="torch-eager"
            )
            spans.append(faster(before, kernel(bench, "one attention", source, stated["machine"], stack="ideal")))
    return over(spans, "products, scale, softmax and copies through memory against one kernel")


@derives("fastattention#2")
def model(bench: Bench) -> Finding:
    """A prompt of Llama-7B."""
    stated = bench.stated(machine="ascend-910b", model="llama-7b")
    spans = []
    for isl in bench.unstated("isl", (4096, 16384, 32768)):
        common: dict[str, Any] = {
            "phase": "prefill",
            "batch": 1,
            "isl": isl,
            "dtype": "fp16",
            "stack": "torch-eager",
            **stated,
        }
        before, after = bench.ask(techniques=["written-out-attention"], **common), bench.ask(**common)
        spans.append(bench.speedup(before, after))
    return over(spans, "prompts with attention written out against fused, linear layers as before")
