"""Rewrites of what kernels compute: attention to a part of the keys, linear attention, transforms as products, padded experts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight._foundation.expr import evaluate
from speedlight.frontends.source import load_graph
from speedlight.graph import stats
from speedlight.graph.ir import Graph
from speedlight.graph.rewrite import rewrite
from speedlight.graph.stats import step_symbols

MODELS = ("llama-3.1-8b", "gpt2-xl", "mixtral-8x7b")
NEUTRAL = {
    "sparse_attention": {"keep": 1.0}, "shared_prefix": {"share": 0.0}, "expert_capacity": {"factor": 1.0},
}  # fmt: skip
ONCE = {
    "sparse_attention": {"keep": 0.3}, "shared_prefix": {"share": 0.5}, "expert_capacity": {"factor": 2.0},
    "linear_attention": {}, "bit_serial": {"weights": 2, "activations": 2},
}  # fmt: skip


def amounts(graph: Graph, new: float = 1, cached: float = 4096, count: float = 4) -> dict[str, float]:
    """FLOPs of attention and of everything, bytes read of the cache, elements kept a sequence."""
    env = {**stats.unsharded(graph), **step_symbols(count, new, cached), "caching": 1, "training": 0}
    groups = [{"count": count, "new": new, "cached": cached}]
    found = {"attention": 0.0, "flops": 0.0, "read": 0.0, "kept": 0.0}
    for block, op in graph.ops():
        times = evaluate(op.count * block.count, env, groups)
        flops = times * evaluate(op.flops("matmul"), env, groups)
        found["flops"] += flops
        if op.fn in ("sdpa", "linear_attention"):
            found["attention"] += flops
        for r in op.reads:
            if r.elements is not None and graph.tensor(block, r.tensor).cls == "kv":
                found["read"] += times * evaluate(r.elements, env, groups)
    found["kept"] = evaluate(stats.kept(graph, "kv") + stats.kept(graph, "state"), env, groups)
    return found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_parameters_change_nothing(model: str, name: str) -> None:
    graph = load_graph(model)
    assert rewrite(graph, name, NEUTRAL[name]) is graph


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ONCE)
def test_twice_is_once(model: str, name: str) -> None:
    once = rewrite(load_graph(model), name, ONCE[name])
    assert amounts(rewrite(once, name, ONCE[name]), new=64) == amounts(once, new=64)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 0.99), st.integers(2, 8192))
def test_a_share_of_the_pairs_is_that_share_of_a_prompts_work(model: str, keep: float, tokens: int) -> None:
    whole = load_graph(model)
    part = rewrite(whole, "sparse_attention", {"keep": keep})
    before, after = amounts(whole, new=tokens, cached=0), amounts(part, new=tokens, cached=0)
    assert after["attention"] == pytest.approx(keep * before["attention"])
    assert after["flops"] - after["attention"] == pytest.approx(before["flops"] - before["attention"])
    assert amounts(part) == amounts(whole)  # steps on the cache stay whole


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 400))
def test_a_window_is_linear_in_positions(window: int) -> None:
    graph = rewrite(load_graph("vit-b-16"), "sparse_attention", {"window": window})
    assert amounts(graph, new=197, cached=0)["attention"] == pytest.approx(
        min(1.0, window / 197) * amounts(load_graph("vit-b-16"), new=197, cached=0)["attention"]
    )


def test_causal_attention_has_no_window_around_a_query() -> None:
    graph = load_graph("gpt2-xl")
    assert rewrite(graph, "sparse_attention", {"window": 64}) is graph


@pytest.mark.parametrize("model", MODELS)
def test_linear_attention_keeps_a_state_whatever_the_context(model: str) -> None:
    graph = rewrite(load_graph(model), "linear_attention")
    short, long = amounts(graph, cached=100), amounts(graph, cached=100_000)
    assert short == long
    one, two = amounts(graph, new=4096, cached=0), amounts(graph, new=8192, cached=0)
    assert two["attention"] == pytest.approx(2 * one["attention"])
    whole = load_graph(model)
    assert amounts(graph, new=16384, cached=0)["attention"] < amounts(whole, new=16384, cached=0)["attention"]


@given(st.floats(0.0, 1.0), st.integers(1, 64))
@settings(max_examples=10, deadline=None)
def test_a_shared_prefix_is_read_once(share: float, seqs: int) -> None:
    whole = load_graph("llama-3.1-8b")
    shared = rewrite(whole, "shared_prefix", {"share": share})
    before, after = amounts(whole, count=seqs), amounts(shared, count=seqs)
    assert after["read"] == pytest.approx(before["read"] * (1 - share + share / seqs))
    assert (after["flops"], after["kept"]) == (before["flops"], before["kept"])


def test_padded_experts_compute_the_factor_more() -> None:
    whole = load_graph("mixtral-8x7b")
    padded = rewrite(whole, "expert_capacity", {"factor": 1.5})

    def experts(graph: Graph) -> float:
        env = {**stats.unsharded(graph), **step_symbols(4, 100, 0), "caching": 1, "training": 0}
        groups = [{"count": 4, "new": 100, "cached": 0}]
        return sum(evaluate(op.flops("matmul"), env, groups) for _, op in graph.ops() if op.fn == "grouped_linear")

    assert experts(padded) == pytest.approx(1.5 * experts(whole))


def test_a_transform_as_products_trades_operations_for_the_unit() -> None:
    ops = [{"name": "f", "template": "fft", "with": {"n": 2**20, "batch": 8}}]
    graph = load_graph(json.dumps({"schema": 1, "name": "fft", "ops": ops}))

    def work(g: Graph) -> dict[str, float]:
        (op,) = [op for _, op in g.ops()]
        return {w.unit: evaluate(w.flops, {}) for w in op.work}

    order = {p: work(rewrite(graph, "monarch_fft", {"order": p}))["matmul"] for p in (2, 4)}
    assert order[2] == pytest.approx(8 * 2 * 2**10 * 2**20 * 8)
    assert order[4] == pytest.approx(8 * 4 * 2**5 * 2**20 * 8)
    assert order[4] > work(graph)["vector"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sparse_attention", {"keep": 0.0}), ("sparse_attention", {"keep": 1.5}), ("shared_prefix", {"share": 2.0}),
        ("linear_attention", {"chunk": 0}), ("monarch_fft", {"order": 0}), ("expert_capacity", {"factor": 0.5}),
        ("bit_serial", {"weights": 0}),
    ],
)  # fmt: skip
def test_nonsense_is_refused(name: str, parameters: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        rewrite(load_graph("llama-3.1-8b"), name, parameters)
