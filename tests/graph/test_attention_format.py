"""An attention over an fp8 cache may multiply in fp8, so its limit is that of fp8; other caches change nothing."""

from __future__ import annotations

from typing import Any

import pytest

import speedlight
from speedlight.graph.builder import attention_format
from speedlight.graph.ir import Graph, Op


def scores(model: str, **options: Any) -> Op:
    from speedlight.frontends.source import load_graph

    graph: Graph = load_graph(model, **options)
    return next(op for _, op in graph.ops() if op.fn in ("sdpa", "mla"))


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3", "deepseek-v4-flash"])
@pytest.mark.parametrize(("kv", "expected"), [(None, "bf16"), ("fp8", "fp8"), ("int8", "bf16")])
def test_work_is_in_the_caches_format_where_that_is_fp8(model: str, kv: str | None, expected: str) -> None:
    (work,) = (w for w in scores(model, kv=kv).work if w.unit == "matmul")
    assert work.format == expected


def test_only_narrower_caches_count() -> None:
    assert attention_format("bf16", "fp8") == "fp8"
    assert attention_format("fp8", "bf16") == "fp8"
    assert attention_format("fp16", "fp16") == "fp16"


@pytest.mark.parametrize(("machine", "ratio"), [("h100-sxm-80gb", 0.5), ("a100-sxm-80gb", 1.0)])
def test_a_prompts_limit_halves_only_where_the_unit_has_the_format(machine: str, ratio: float) -> None:
    limits = []
    for kv in ("bf16", "fp8"):
        p = speedlight.explain("llama-3.1-8b", machine, phase="prefill", batch=1, isl=32768, kv=kv)
        limits.append(sum(o.limit for o in p.ops if o.kind == "attention"))
    assert limits[1] / limits[0] == pytest.approx(ratio, rel=1e-3)
