"""Rewrites of what a KV cache keeps and what attention reads of it: capacity apart from traffic (DESIGN decision 10)."""

from __future__ import annotations

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

MODELS = ("llama-3.1-8b", "deepseek-v2-lite", "gemma-2-2b", "mixtral-8x7b")
NEUTRAL = {
    "kv_kept": {"share": 1.0}, "kv_read": {"share": 1.0}, "kv_window": {"window": 100, "layers": 0.0}, "kv_heads": {"heads": 4096},
    "kv_width": {"kept": 1.0}, "kv_shared": {"layers": 0.0}, "prompt_passes": {"layers": 0.0}, "keep_layers": {"share": 1.0},
}  # fmt: skip


def amounts(graph: Graph, new: float = 1, cached: float = 4096, count: float = 2) -> dict[str, float]:
    """Bytes kept and read of the cache, and FLOPs of a step."""
    env = {**stats.unsharded(graph), **step_symbols(count, new, cached), "caching": 1, "training": 0}
    groups = [{"count": count, "new": new, "cached": cached}]
    read = flops = 0.0
    for block, op in graph.ops():
        times = evaluate(op.count * block.count, env, groups)
        flops += times * evaluate(op.flops("matmul"), env, groups)
        for r in op.reads:
            if r.elements is not None and graph.tensor(block, r.tensor).cls == "kv":
                read += times * evaluate(r.elements, env, groups)
    return {"kept": evaluate(stats.kept(graph, "kv"), env, groups), "read": read, "flops": flops}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_parameters_change_nothing(model: str, name: str) -> None:
    graph = load_graph(model)
    assert rewrite(graph, name, NEUTRAL[name]) is graph


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(MODELS), st.integers(16, 8192), st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 20_000))
def test_eviction_bounds_what_is_kept_and_read(model: str, budget: int, layers: float, cached: int) -> None:
    whole = load_graph(model)
    thin = rewrite(whole, "kv_kept", {"tokens": budget, "layers": layers})
    before, after = amounts(whole, cached=cached), amounts(thin, cached=cached)
    assert after["kept"] <= before["kept"]
    assert after["read"] <= before["read"]
    assert after["flops"] <= before["flops"]
    if cached <= budget:
        assert after["read"] == pytest.approx(before["read"])
        assert after["flops"] == pytest.approx(before["flops"])
    prompt, thinned = amounts(whole, new=cached, cached=0), amounts(thin, new=cached, cached=0)
    assert thinned["flops"] == pytest.approx(prompt["flops"])  # prompts are attended to in full


def test_eviction_keeps_its_budget_exactly() -> None:
    graph = rewrite(load_graph("llama-3.1-8b"), "kv_kept", {"tokens": 1024})
    assert amounts(graph)["kept"] == 2 * (1024 + 1) * 32 * 8 * 256 * 2
    assert amounts(graph, new=4096, cached=0)["kept"] == 2 * 1024 * 32 * 8 * 256 * 2


def test_spread_budgets_have_the_same_mean_and_bite_earlier() -> None:
    whole = load_graph("llama-3.1-8b")
    even, pyramid = (rewrite(whole, "kv_kept", {"tokens": 1024, "spread": s}) for s in (0.0, 0.9))
    assert amounts(pyramid)["kept"] == pytest.approx(amounts(even)["kept"])
    assert amounts(pyramid, cached=600)["kept"] < amounts(even, cached=600)["kept"]


def test_page_selection_changes_reads_and_not_what_is_kept() -> None:
    whole = load_graph("llama-3.1-8b")
    picked = rewrite(whole, "kv_read", {"tokens": 256, "page": 16})
    assert amounts(picked)["kept"] == amounts(whole)["kept"]
    assert amounts(picked)["read"] == amounts(whole)["read"] * 256 / 4096
    looks = [op for _, op in picked.ops() if op.fn == "page_scores"]
    assert len(looks) == 1
    assert {r.tensor for r in looks[0].reads} == {"self_attn.rope_q.out", "self_attn.attn.pages"}


@pytest.mark.parametrize("layers", [0.25, 0.5, 0.75])
def test_sharing_frees_its_share_and_reads_as_much(layers: float) -> None:
    whole = load_graph("llama-3.1-8b")
    shared = rewrite(whole, "kv_shared", {"layers": layers})
    before, after = amounts(whole), amounts(shared)
    assert after["kept"] == pytest.approx(before["kept"] * (1 - layers))
    assert after["read"] == pytest.approx(before["read"], rel=1e-3)
    assert after["read"] >= before["read"]
    gone = stats.parameters(whole) - stats.parameters(shared)
    assert gone == 32 * layers * 2 * 4096 * 1024  # both projections of each


def test_windows_bound_pairs_of_a_prompt() -> None:
    whole = load_graph("llama-3.1-8b")
    window = rewrite(whole, "kv_window", {"window": 1000, "layers": 1.0})
    pairs = (
        amounts(window, new=8000, cached=0)["flops"] - amounts(window, new=8000, cached=0, count=1)["flops"] * 2
    ) == 0
    assert pairs  # sums over sequences
    saved = amounts(whole, new=8000, cached=0, count=1)["flops"] - amounts(window, new=8000, cached=0, count=1)["flops"]
    assert saved == 32 * 2 * 32 * 256 * (7000 * 7001 / 2)  # queries beyond the window skip 1, 2, … 7000 keys
    assert amounts(window)["kept"] == 2 * 1000 * 32 * 8 * 256 * 2


def test_prompt_tokens_pass_layers_but_for_keys_and_values() -> None:
    whole = load_graph("llama-3.1-8b")
    passed = rewrite(whole, "prompt_passes", {"layers": 0.5})
    assert amounts(passed) == pytest.approx(amounts(whole))  # a step of one token is as before
    before, after = (amounts(g, new=4096, cached=0, count=1) for g in (whole, passed))
    assert after["kept"] == before["kept"]
    keys = 16 * 2 * 4096 * 2 * 4096 * 1024  # their projections
    head = 2 * 4096 * 128256
    assert after["flops"] == pytest.approx(head + (before["flops"] - head) / 2 + keys, rel=1e-3)


def test_the_last_token_of_a_prompt_sees_all_of_it() -> None:
    passed = rewrite(load_graph("llama-3.1-8b"), "prompt_passes", {"layers": 0.5})
    env = {**stats.unsharded(passed), **step_symbols(2, 4096, 100), "caching": 1, "training": 0}
    (op,) = [op for op in passed.blocks[2].ops if op.kind == "attention"]
    flops = evaluate(op.flops("matmul"), env, [{"count": 2, "new": 4096, "cached": 100}])
    assert flops == 2 * 2 * 32 * 256 * (4096 + 100)


@pytest.mark.parametrize("kept", [0.25, 0.5])
def test_narrower_tokens_are_kept_read_and_multiplied_less(kept: float) -> None:
    whole, narrow = (load_graph("llama-3.1-8b"), rewrite(load_graph("llama-3.1-8b"), "kv_width", {"kept": kept}))
    before, after = amounts(whole), amounts(narrow)
    assert after["kept"] == before["kept"] * kept
    assert after["read"] == before["read"] * kept
    attention = 32 * 2 * 2 * 32 * 256 * 4097
    assert before["flops"] - after["flops"] == pytest.approx(attention * (1 - kept))
    wide = amounts(rewrite(whole, "kv_width", {"kept": kept, "products": 2.0}))
    assert wide["flops"] - before["flops"] == pytest.approx(attention)


def test_a_share_of_layers_is_whole_layers() -> None:
    whole = load_graph("llama-3.1-8b")
    third = rewrite(whole, "kv_window", {"window": 100, "layers": 2 / 3})
    assert [b.count.constant for b in third.blocks] == [1, 11, 21, 1]
    assert third.blocks[1].layers + third.blocks[2].layers == tuple(range(32))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("kv_kept", {"tokens": -1}), ("kv_read", {"share": 0.0}), ("kv_window", {"window": 0}), ("kv_heads", {"heads": 3}),
     ("kv_width", {"kept": 0.0}), ("kv_shared", {"layers": 1.5}), ("keep_layers", {"share": 0.0})],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(name: str, wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        rewrite(load_graph("llama-3.1-8b"), name, wrong)
