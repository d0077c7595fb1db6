"""Tilus: kernels of any weight width; at equal bytes another good kernel takes as long."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("tilus#4")
def marlin(bench: Bench) -> Finding:
    """The same 4-bit weights in two kernels."""
    spans = []
    for machine in bench.unstated("machine", ("l40s", "a100-sxm-80gb")):
        answer = bench.ask(
            "llama-3.1-8b", machine, ["weight-only-int"], phase="decode", batch=1, context=1024, stack="vllm"
        )
        spans.append(bench.speedup(answer, answer))
    return over(spans, "equal bytes and products: one, within what kernels of a kind differ by")
