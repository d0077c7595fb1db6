"""SVFormer: every layer uses the first layer's values, so only keys are cached in each.

Kept bytes fall to (L + 1)/2L; a step's reads do not, since every layer still attends to keys and values.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("value-residual-learning-for-alleviating-attention-concentrat#1")
def cache(bench: Bench) -> Finding:
    spans = []
    for model in bench.unstated("model", ("llama-3.2-1b", "llama-2-7b", "llama-65b"), "16 to 80 layers"):
        common: dict[str, Any] = {"phase": "decode", "batch": 1, "context": 4096}
        before = float(bench.ask(model, "h100-sxm-80gb", **common).memory.by_class["kv"])
        after = float(bench.ask(model, "h100-sxm-80gb", ["shared-values"], **common).memory.by_class["kv"])
        spans.append(exactly(bench.size((1 - after / before) * 100)))
    return over(spans, "cached bytes of keys in every layer and values in one, over those of both in all")
