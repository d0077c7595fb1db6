"""Kraken: a layer is as many smaller ones side by side as there are devices, so collectives run under the next attention."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import saved


@derives("kraken#1")
def first_token(bench: Bench) -> Finding:
    """Prompts of several models, lengths and degrees; the claim is a mean over such."""
    bench.stated(stack="tensorrt-llm", phase="prefill")
    found = []
    for model in ("gpt3-xl", "llama-2-7b", "llama-2-13b"):
        for tp in (4, 8):
            for isl in (512, 2048):
                common: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": isl, "tp": tp, "stack": "tensorrt-llm"}
                before, after = (bench.ask(model, "dgx-a100-40gb", t, **common) for t in ([], ["parallel-sublayers"]))
                found.append(bench.speedup(before, after))
    bench.given(
        "models, lengths, degrees",
        "1.3B to 13B; 512 and 2,048 tokens; 4 and 8 devices",
        "unstated",
        "means over model sizes, context lengths and degrees",
    )
    low, value, high, bound = (
        sum(getattr(s, end) for s in found) / len(found) for end in ("low", "value", "high", "bound")
    )
    return over(
        [saved(Span(low, value, high, bound))],
        "mean seconds of a prompt with partial sums added once a layer and travelling under attention; what narrower sub-layers cost is left out",
    )
