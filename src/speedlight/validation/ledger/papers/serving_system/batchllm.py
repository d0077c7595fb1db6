"""BatchLLM: requests of a large batch that begin alike compute and keep the beginning once.

Less prefill, and room for more sequences; what each step reads of the shared part stays.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("batchllm#1")
def throughput(bench: Bench) -> Finding:
    """All requests there at once."""
    spans = []
    for model in bench.unstated("model", ("llama-3.1-8b", "mistral-7b")):
        for shared in bench.unstated("shared tokens of a prompt of 1200", (400, 800)):
            load: dict[str, Any] = {
                "rate": 1000.0, "isl": 1200, "osl": 200, "spread": 0.2, "shared": shared, "groups": 4, "requests": 150, "policy": "vllm@0",
            }  # fmt: skip
            before = bench.serve(model, "a100-sxm-80gb", **load)
            spans.append(
                loads.ratio(
                    before,
                    bench.serve(model, "a100-sxm-80gb", ["prefix-caching"], **load),
                    loads.metric("total_throughput"),
                )
            )
    return over(
        spans,
        "tokens a second of an offline batch whose prompts share a third to two thirds, beginnings computed once or each time",
    )
