"""Flover: requests that come at different times share steps.

FasterTransformer runs one request after the other; merging their steps reads the weights once for all of them, so that the gain is
about the number in flight until keys and values or products take over.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _merged(bench: Bench, model: str, machine: str) -> list[Span]:
    spans = []
    for clients in bench.unstated("requests in flight", (16, 32), "each sends again when its last one ended"):
        for osl in bench.unstated("answer tokens", (64, 128)):
            load: dict[str, Any] = {
                "concurrency": clients,
                "requests": clients,
                "isl": 32,
                "osl": osl,
                "stack": "fastertransformer",
            }
            alone = bench.serve(model, machine, policy="static", max_seqs=1, **load)
            after = bench.serve(model, machine, ["continuous-batching"], policy="static", **load)
            made = loads.ratio(alone, after, loads.metric("output_throughput"))
            spans.append(Span(made.low, made.value, min(made.high, clients), clients))  # no more than are in flight
    return spans


WHY = "the same requests one after the other and merged at every step; a weak baseline: it never batches"


@derives("flover#1")
def gpt(bench: Bench) -> Finding:
    """GPT-J of 6 billion parameters."""
    return over(_merged(bench, "gpt-j-6b", "a100-sxm-80gb"), WHY)


@derives("flover#2")
def llama(bench: Bench) -> Finding:
    """LLaMA of 7 billion parameters."""
    return over(_merged(bench, "llama-7b", "a100-sxm-80gb"), WHY)
