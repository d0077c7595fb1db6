"""Rewrites that leave some layers fewer tokens, and networks another shape."""

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

MODELS = ("llama-3.1-8b", "gemma-2-2b", "mixtral-8x7b", "vit-b-16", "bert-base")
NEUTRAL = {
    "thinned_tokens": {"shares": (1.0, 1.0)}, "passing_tokens": {"share": 1.0}, "leaving_tokens": {"shares": (1.0,)},
    "fused_before": {"layers": 0}, "vocabulary": {}, "product_key_memory": {"layers": 0.0}, "edited_region": {"share": 1.0},
    "merged_latents": {"ratio": 0.0}, "fewer_pairs": {"share": 1.0}, "outer_levels": {"levels": 1},
}  # fmt: skip


def amounts(graph: Graph, new: float, cached: float = 0, count: float = 4) -> tuple[float, float, float]:
    """FLOPs of products, bytes of weights read, and of the cache kept, in a step."""
    env = {**stats.unsharded(graph), **step_symbols(count, new, cached), "caching": 1, "training": 0}
    groups = [{"count": count, "new": new, "cached": cached}]
    flops = weights = 0.0
    for block, op in graph.ops():
        times = evaluate(op.count * block.count, env, groups)
        flops += times * evaluate(op.flops("matmul"), env, groups)
        for r in op.reads:
            tensor = graph.tensor(block, r.tensor)
            if tensor.cls == "weight":
                weights += times * evaluate(tensor.elements if r.elements is None else r.elements, env, groups)
    return flops, weights, evaluate(stats.kept(graph, "kv"), env, groups)


@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("model", MODELS)
def test_neutral_parameters_change_nothing(model: str, name: str) -> None:
    graph = load_graph(model)
    assert rewrite(graph, name, NEUTRAL[name]) is graph


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(MODELS), st.floats(0.05, 0.95), st.integers(16, 4096))
def test_dropped_tokens_save_work_and_no_weights(model: str, keep: float, prompt: int) -> None:
    whole = load_graph(model)
    thin = rewrite(whole, "thinned_tokens", {"shares": (1.0, keep)})
    before, after = amounts(whole, prompt), amounts(thin, prompt)
    assert keep * before[0] * 0.5 < after[0] < before[0]
    assert after[1] <= before[1] * (1 + 1e-9)
    assert after[2] <= before[2]
    one, left = amounts(whole, 1, prompt), amounts(thin, 1, prompt)
    assert left[1] == pytest.approx(one[1])  # a new token runs through every layer


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.95), st.integers(1, 64))
def test_a_layer_nobody_wants_is_not_read(share: float, sequences: int) -> None:
    """Of a batch of decoding sequences, each takes part with the same chance: FLOPs are its share, reads those of a union."""
    whole = load_graph("llama-3.1-8b")
    routed = rewrite(whole, "leaving_tokens", {"shares": (share,)})
    before, after = amounts(whole, 1, 1024, sequences), amounts(routed, 1, 1024, sequences)
    ends = amounts(rewrite(whole, "keep_layers", {"share": 1e-6}), 1, 1024, sequences)
    inner = [b - e for b, e in zip(before, ends, strict=True)]  # what 31 of 32 layers do
    saved = [b - a for b, a in zip(before, after, strict=True)]
    runs = 1 - (1 - share) ** sequences
    assert saved[1] / inner[1] * 31 / 32 == pytest.approx(1 - runs, abs=1e-6)
    assert saved[0] / inner[0] * 31 / 32 == pytest.approx(1 - share, rel=0.02)


def test_matching_is_done_once_where_tokens_become_fewer() -> None:
    whole = load_graph("vit-b-16")
    found = rewrite(whole, "thinned_tokens", {"shares": (1.0, 0.5, 0.5, 0.25), "match": True})
    merges = [op for _, op in found.ops() if op.name == "merge.scores"]
    assert len(merges) == 2
    assert amounts(found, 197)[0] > amounts(rewrite(whole, "thinned_tokens", {"shares": (1.0, 0.5, 0.5, 0.25)}), 197)[0]


@pytest.mark.parametrize(("name", "parameters"), [
    ("thinned_tokens", {"shares": ()}), ("thinned_tokens", {"shares": (1.5,)}), ("leaving_tokens", {"shares": (0.5, 0.8)}),
    ("passing_tokens", {"share": 0.5, "of": "nothing"}), ("partial_convolution", {"share": 0.0}), ("monarch", {"blocks": 0}),
    ("product_key_memory", {"slots": 1}), ("switched_heads", {"fewer": 0.5}), ("outer_levels", {"levels": 0}),
])  # fmt: skip
def test_senseless_parameters_are_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        rewrite(load_graph("vit-b-16"), name, parameters)


def test_a_memory_grows_without_flops() -> None:
    """Rows are parameters; work grows with the root of their number (memory layers at scale)."""
    small, large = (rewrite(load_graph("llama-3.1-8b"), "product_key_memory", {"slots": n}) for n in (2**16, 2**20))
    assert stats.parameters(large) - stats.parameters(small) == pytest.approx(8 * (2**20 - 2**16) * 4096, rel=0.01)
    assert amounts(large, 128)[0] < 1.25 * amounts(small, 128)[0]


def test_monarch_grows_as_the_power_of_three_halves() -> None:
    found = rewrite(load_graph("bert-base"), "monarch")
    work = {n: sum(evaluate(op.flops("matmul") * b.count, {**stats.unsharded(found), **step_symbols(1, n, 0)}, [{"count": 1, "new": n, "cached": 0}])
                   for b, op in found.ops() if op.fn == "monarch") for n in (1024, 4096)}  # fmt: skip
    assert work[4096] / work[1024] == pytest.approx(8.0)


def test_branches_of_one_input_become_one_convolution() -> None:
    graph = load_graph("repvgg_a0")
    merged = rewrite(graph, "merged_branches")
    convs = [op.dims["kernel_h"].constant for _, op in merged.ops() if op.kind == "conv"]
    assert set(convs) == {3}
    assert not any(op.fn in ("batch_norm", "add") for _, op in merged.ops())
    assert rewrite(merged, "merged_branches") is merged
    assert stats.parameters(merged) < stats.parameters(graph)


def test_partial_convolution_has_the_published_sizes() -> None:
    """A quarter of the channels: k² · (C/4)² weights and as many FLOPs a pixel, in the place of k² · C (arXiv 2303.03667 §3.2)."""
    graph = load_graph("convnext_tiny")
    found = rewrite(graph, "partial_convolution", {"share": 0.25})
    old = next(op for _, op in graph.ops() if op.name.endswith("conv_dw"))
    new = next(op for _, op in found.ops() if op.name == old.name)
    assert new.dims["k"].constant == 49 * 24
    assert new.dims["out_channels"].constant == 24
    assert evaluate(new.flops(), {"batch": 1}) / evaluate(old.flops(), {"batch": 1}) == pytest.approx(24 * 24 / 96)


def test_what_a_cached_step_leaves_out_comes_from_a_cache() -> None:
    graph = load_graph("sd-1.5")
    outer = rewrite(graph, "outer_levels", {"levels": 1})
    kept = [t for b in outer.blocks for t in b.tensors.values() if t.cls == "feature_cache"]
    assert len(kept) == 1
    assert len(outer.blocks[0].ops) < len(graph.blocks[0].ops) / 2
