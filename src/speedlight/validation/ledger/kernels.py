"""Kernels alone, as lists of ops: what derivations of single-kernel claims ask about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...engine.answers.prediction import Prediction
from .bench import Bench
from .finding import Span


def ops(*listed: tuple[str, dict[str, Any]], dtype: str = "fp16", name: str = "kernels") -> str:
    """A model source that lists ops by template: (template, its arguments); results are called ``0.out``, ``1.out`` …"""
    made = [{"name": f"op{i}", "template": t, "with": given} for i, (t, given) in enumerate(listed)]
    return json.dumps({"schema": 1, "name": name, "dtype": dtype, "ops": made})


def attention(
    seqs: float, queries: float, heads: float, head_dim: float, *, keys: float | None = None, kv_heads: float | None = None,
    causal: bool = False, dtype: str = "fp16",
) -> str:  # fmt: skip
    """One attention as a model source."""
    given = {
        "seqs": seqs, "queries": queries, "keys": queries if keys is None else keys, "heads": heads, "head_dim": head_dim,
        "kv_heads": heads if kv_heads is None else kv_heads, "causal": "yes" if causal else "no",
    }  # fmt: skip
    return ops(("attention", given), dtype=dtype, name="attention")


def kernel(
    bench: Bench, about: str, source: str, machine: str, techniques: Sequence[str] = (), **options: Any
) -> Prediction:
    """The engine's answer about a list of ops; ``about`` says in words what it is (its sizes are noted by whoever walks them)."""
    if not any(g.what == "model" for g in bench.inputs):
        bench.given("model", about)
    return bench.ask(source, machine, techniques, **options)


def faster(before: Prediction, after: Prediction, bound: float | None = None) -> Span:
    """Seconds before over after of two kernels priced by one analytic model, whose error both share.

    The interval is left to what is walked through.

    Args:
        bound: where algorithms are compared, what the ratio of their work allows; else before over after's speed of light.
    """
    ratio = float(before.time / after.time)
    return Span(ratio, ratio, ratio, float(before.time / after.limit) if bound is None else bound)


def of_peak(answer: Prediction, peak: float) -> Span:
    """FLOP/s over a peak, in percent, priced analytically; the bound is all of it."""
    rate = 100 * float(answer.flops / answer.time) / peak
    return Span(rate, rate, rate, 100.0)
