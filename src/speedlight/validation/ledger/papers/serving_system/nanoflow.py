"""NanoFlow: a batch in nano-batches whose products, attention and messages run beside each other.

A decode step of a large model on eight devices takes matrix units, memory and links in turn; side by side a block takes as long as
its busiest resource. Small batches lose: every nano-batch reads the weights anew.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

TECHNIQUE = "nano-batch-overlap"


def _pairs(bench: Bench) -> list[tuple[Any, Any]]:
    found = []
    bench.stated(model="llama-2-70b")
    for batch in bench.unstated("batch", (256, 512, 1024), "what fits beside the weights on eight devices of 80 GB"):
        for context in bench.unstated("context", (512, 1024), "half-way through requests of 0.5 to 1.5 k tokens"):
            asked: dict[str, Any] = {"phase": "decode", "batch": batch, "context": context, "tp": 8}
            pair = [bench.ask("llama-2-70b", "dgx-a100-80gb", names, **asked) for names in ([], [TECHNIQUE])]
            if bool(pair[1].fits):
                found.append((pair[0], pair[1]))
    return found


@derives("nanoflow#2")
def against_engines_in_turn(bench: Bench) -> Finding:
    """The same step with its kernels in turn."""
    spans = [bench.speedup(before, after) for before, after in _pairs(bench)]
    return over(
        spans, "a decode step in two nano-batches against the same kernels one after the other on eight A100; what the compared "
        "engines lose between steps, and prompts in the same steps, are left out",
    )  # fmt: skip


@derives("nanoflow#3")
def share_of_optimum(bench: Bench) -> Finding:
    """Achieved over the rate at which matrix units never wait: peak over FLOPs a token."""
    spans = []
    for _, after in _pairs(bench):
        if after.mfu is None:
            continue
        share = float(after.mfu) * 100
        spans.append(
            Span(
                share * float(after.time / after.high), share, min(share * float(after.time / after.low), 100.0), 100.0
            )
        )
    return over(spans, "products of a decode step in nano-batches over the matrix units' peak for as long as it takes")
