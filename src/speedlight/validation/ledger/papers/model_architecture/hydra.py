"""Hydra: state-space layers with seldom attention; at which length such a hybrid overtakes dense attention."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("hydra#3")
def long_context(bench: Bench) -> Finding:
    """Seconds of a long prompt of a dense model over those of a hybrid of its size, for each billion parameters."""
    spans = []
    for isl in bench.unstated("context", (65536, 131072), "long contexts"):
        common: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": isl}
        dense = bench.ask("llama-3.1-8b", "h100-sxm-80gb", **common)
        hybrid = bench.ask("bamba-9b", "h100-sxm-80gb", **common)
        sizes = bench.facts("bamba-9b")["params"] / bench.facts("llama-3.1-8b")["params"]
        spans.append(bench.speedup(dense, hybrid).mapped(lambda x, k=sizes: x * k))  # type: ignore[misc]
    return over(
        spans,
        "prompts of Llama-3.1-8B and of Bamba-9B, which is state-space layers with three of attention, brought to one size",
    )
