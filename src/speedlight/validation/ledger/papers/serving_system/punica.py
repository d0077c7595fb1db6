"""Punica: tokens of many fine-tunes in one batch over one base model.

Without it a batch holds one fine-tune's requests only: with as many fine-tunes as requests, each runs alone and reads the whole base
model. With it the base model is read once and each adapter adds its thin products.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

TECHNIQUE = "multi-lora-batching"


@derives("punica#1")
def throughput(bench: Bench) -> Finding:
    """Every request a fine-tune of its own: one at a time before, one batch after."""
    spans = []
    for batch in bench.unstated("batch", (16, 32), "requests in flight on one device"):
        for context in bench.unstated("context", (512, 1024)):
            common: dict[str, Any] = {"phase": "decode", "context": context}
            alone = bench.ask("llama-2-7b", "a100-sxm-80gb", batch=1, stack="vllm", **common)
            after = bench.ask(
                "llama-2-7b",
                "a100-sxm-80gb",
                [f"{TECHNIQUE}:tenants={batch},rank=16"],
                batch=batch,
                stack="vllm",
                **common,
            )
            spans.append(bench.speedup(alone, after, of="throughput"))
    return over(
        spans, "decode steps of one request each against one step of all of them with their adapters of rank 16"
    )


@derives("punica#2")
def added(bench: Bench) -> Finding:
    """The step with adapters less the step without, in ms."""
    spans = []
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b")):
        for tenants in bench.unstated("distinct adapters", (1, 32), "one shared by all, or one each"):
            common: dict[str, Any] = {"phase": "decode", "batch": 32, "context": 512, "stack": "vllm"}
            before = bench.ask(model, "a100-sxm-80gb", **common)
            after = bench.ask(model, "a100-sxm-80gb", [f"{TECHNIQUE}:tenants={tenants},rank=16"], **common)
            value = float(after.time - before.time) * 1e3
            error = float(after.high - after.low) / (2 * float(after.time))
            least = float(after.limit - before.limit) * 1e3
            spans.append(Span(max(value * (1 - error), least), value, value * (1 + error), least))
    return over(spans, "a step of 32 sequences with and without adapters of rank 16 on all projections", more=False)
