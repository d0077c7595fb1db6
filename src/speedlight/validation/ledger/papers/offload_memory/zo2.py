"""ZO2: zeroth-order fine-tuning in two forward passes, whose blocks go round between host and device.

OPT-175B's blocks take 3.6 GB each in 16 bits: one computes, the next one comes, the one before goes back with its new weights.
Embedding and head stay, and the logits of one sequence.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("zo2#2")
def memory(bench: Bench) -> Finding:
    """Blocks on the device, embedding, logits."""
    bench.stated(model="opt-175b")
    hidden, vocabulary, layers = 12288.0, 50272.0, 96.0
    params = float(bench.facts("opt-175b")["params"])
    block = (params - 2 * vocabulary * hidden / 2) / layers * 2.0
    ends = bench.size(vocabulary * hidden * 2.0)
    spans = []
    for blocks in bench.unstated(
        "blocks on the device", (3, 4), "in use, coming, going, and one more where its buffer is apart"
    ):
        for width in bench.unstated("bytes of a logit", (2.0, 4.0)):
            logits = 2 * 2048 * vocabulary * width
            for runtime in bench.unstated(
                "bytes of the runtime", (0.5e9, 1.5e9), "context, libraries and what the allocator rounds up"
            ):
                spans.append(exactly((blocks * block + ends + logits + runtime) / 1e9))
    return over(
        spans, "blocks under way, the tied embedding, logits of one sequence of 2,048 tokens and their loss", more=False
    )
