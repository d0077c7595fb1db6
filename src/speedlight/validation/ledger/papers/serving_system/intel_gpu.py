"""Serving on an Intel GPU: fused layers against eager code.

An eager framework issues dozens of small kernels a layer; fused and captured, a decode step is reads of weights. Prompts of a beam kept once
leave room for a larger batch.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

MODELS = ("gpt-j-6b", "llama-2-7b", "opt-6.7b")


@derives("efficient-llm-inference-solution-on-intel-gpu#1")
def latency(bench: Bench) -> Finding:
    """A decode step of one sequence."""
    spans = []
    for model in bench.unstated("model", MODELS, "popular models of its year"):
        asked: dict[str, Any] = {"phase": "decode", "batch": 1, "context": 1024, "dtype": "fp16"}
        before = bench.ask(model, "max-1550", stack="transformers-generate", **asked)
        spans.append(bench.speedup(before, bench.ask(model, "max-1550", stack="vllm", **asked)))
    return over(
        spans,
        "eager code with hooks against fused layers and captured steps; a weak baseline: the device waits for its host",
    )


@derives("efficient-llm-inference-solution-on-intel-gpu#2")
def throughput(bench: Bench) -> Finding:
    """Eager code at a small batch against fused layers at the batch that fits."""
    spans = []
    for model in bench.unstated("model", MODELS, "popular models of its year"):
        for small, large in bench.unstated(
            "batches before and after",
            ((1, 4), (4, 16)),
            "prompts of four beams kept once leave room for four times as many",
        ):
            asked: dict[str, Any] = {"phase": "decode", "context": 1024, "dtype": "fp16"}
            before = bench.ask(model, "max-1550", stack="transformers-generate", batch=small, **asked)
            after = bench.ask(model, "max-1550", stack="vllm", batch=large, **asked)
            spans.append(bench.speedup(before, after, of="throughput"))
    return over(spans, "decode steps; the larger batch is what freed memory allows and is left open")
