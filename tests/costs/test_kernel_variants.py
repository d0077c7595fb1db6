"""Kernel variants that hand out work in blocks, or whose instructions reach a part of a rate."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario


def attention(seqs: int, queries: int, keys: int, heads: int = 16, head_dim: int = 128) -> str:
    sizes = {"seqs": seqs, "queries": queries, "keys": keys, "heads": heads, "head_dim": head_dim}
    return json.dumps({
        "schema": 1, "name": "attention", "dtype": "fp16", "ops": [{"name": "a", "template": "attention", "with": sizes}],
    })  # fmt: skip


def seconds(model: str, software: dict[str, Any]) -> float:
    scenario = make_scenario(model, "a100-sxm-80gb", stack="ideal").with_program(software=software)
    return float(predict(scenario, details=False).time)


def variant(**figures: Any) -> dict[str, Any]:
    return {"variants": [{"fn": "sdpa", **figures}]}


def test_work_that_falls_into_whole_waves_costs_as_if_it_spread_evenly() -> None:
    model = attention(1, 4096, 4096)
    assert seconds(model, variant(blocks=108 * 5)) == seconds(model, {})


def test_fewer_blocks_than_units_leave_units_idle() -> None:
    model = attention(1, 4096, 4096)  # bound by products
    assert seconds(model, variant(blocks=27)) == 4 * seconds(model, variant(blocks=108))


def test_few_blocks_slow_memory_only_once_they_cannot_ask_for_all_of_it() -> None:
    model = attention(1, 1, 2**20)  # bound by its keys and values
    whole = seconds(model, {})
    assert seconds(model, variant(blocks=100)) == whole
    assert seconds(model, variant(blocks=8)) > 2 * whole


@given(st.integers(1, 2000), st.integers(1, 2000))
@settings(max_examples=20, deadline=None)
def test_blocks_never_beat_work_that_spreads_evenly(one: int, other: int) -> None:
    model = attention(2, 512, 512)
    assert min(seconds(model, variant(blocks=b)) for b in (one, other)) >= seconds(model, {}) * (1 - 1e-12)


def test_blocks_are_an_expression_over_the_ops_sizes() -> None:
    unsplit = variant(blocks="seqs * heads")
    one_wave = seconds(attention(1, 4096, 4096, heads=108), unsplit)
    assert seconds(attention(1, 4096, 4096, heads=27), unsplit) == one_wave
    assert abs(seconds(attention(1, 4096, 4096, heads=109), unsplit) / one_wave - 2) < 1e-9


def test_a_rate_that_instructions_cannot_reach_lengthens_what_it_bounds() -> None:
    model = attention(1, 4096, 4096)
    assert abs(seconds(model, variant(rates={"matmul": 0.5})) / seconds(model, {}) - 2) < 1e-9
    assert seconds(attention(1, 1, 2**20), variant(rates={"matmul": 0.5})) == seconds(attention(1, 1, 2**20), {})


def test_a_chain_made_to_stay_on_the_chip_moves_only_its_ends() -> None:
    layer = {"m": 2**20, "n": 64, "k": 64}
    ops = [
        {"name": f"l{i}", "template": "gemm", "with": {**layer, **({"a": f"l{i - 1}.out"} if i else {})}}
        for i in range(3)
    ]
    model = json.dumps({"schema": 1, "name": "mlp", "dtype": "fp16", "ops": ops})
    chain = {"name": "fused", "pattern": ["linear"] * 3}
    apart = seconds(model, {})
    assert seconds(model, {"fuse_all": False, "fuse": [chain]}) >= apart * 0.999
    fused = seconds(model, {"fuse_all": False, "fuse": [{**chain, "on_chip": True}]})
    assert 2.9 < apart / fused < 3.1
