"""Levers of multimodal generation: a decoder's step waits for its host; captured graphs, fused attention and narrower weights remove that,
then the reads.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("characterizing-and-efficiently-accelerating-multimodal-gener#1")
def levers(bench: Bench) -> Finding:
    """Eager code against captured steps with weights in eight bits."""
    spans = []
    for model in bench.unstated("model", ("codellama-7b", "codellama-34b"), "decoders of such models"):
        for narrow in bench.unstated("weights in eight bits", (False, True), "among the levers or not"):
            asked: dict[str, Any] = {"phase": "generate", "batch": 1, "isl": 256, "osl": 128}
            before = bench.ask(model, "a100-sxm-80gb", stack="transformers-generate", **asked)
            names = ["weight-only-int:bits=8"] if narrow else []
            spans.append(
                bench.speedup(before, bench.ask(model, "a100-sxm-80gb", names, stack="transformers-graphs", **asked))
            )
    return over(
        spans,
        "one request by eager code against captured steps, fused attention and, or not, eight-bit weights; a weak baseline: its host is the later one",
    )
