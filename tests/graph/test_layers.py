"""A share of a model's layers: whole layers, as near as they allow, the same however one says it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speedlight.frontends.source import load_graph
from speedlight.graph.ir import Block, Graph
from speedlight.graph.rewrite import rewrite
from speedlight.graph.rewrite.layers import cut, nearest
from speedlight.graph.rewrite.resized import token_layers

# One fold, two sorts in turn, dense layers before experts, a tower beside the text.
MODELS = ("llama-3.1-8b", "gemma-2-2b", "deepseek-v3", "llava-1.5-7b", "vit-b-16", "mixtral-8x7b")


def counts(graph: Graph) -> list[int]:
    return [int(block.count.constant or 0) for block in graph.blocks]


def count(block: Block | None) -> int:
    return 0 if block is None else int(block.count.constant or 0)


@given(st.sampled_from(MODELS), st.floats(0, 1))
def test_a_share_is_the_nearest_whole_number_of_all_layers(model: str, share: float) -> None:
    graph = load_graph(model)
    parts = list(cut(graph, share))
    folds = [block for block in graph.blocks if block.inputs and count(block) > 1]
    assert abs(sum(count(taken) for _, taken in parts) - share * sum(map(count, folds))) <= 0.5 + 1e-6
    for block, (stays, taken) in zip(graph.blocks, parts, strict=True):
        assert count(stays) + count(taken) == count(block)
        assert (stays.layers if stays else ()) + (taken.layers if taken else ()) == block.layers
        if block in folds:
            assert abs(count(taken) - share * count(block)) <= 1 + 1e-6
        else:
            assert stays is block


def test_a_share_and_what_it_leaves_of_one_are_rounded_alike() -> None:
    for twentieth in range(21):
        for layers in range(100):
            assert nearest(twentieth / 20, layers) == nearest(1 - (20 - twentieth) / 20, layers)


@given(st.sampled_from(MODELS), st.integers(1, 19))
@example("deepseek-v3", 1)  # three dense layers of which less than half a one is due
def test_layers_kept_and_layers_dropped_are_one_thing(model: str, twentieth: int) -> None:
    graph = load_graph(model)
    kept = rewrite(graph, "keep_layers", {"share": twentieth / 20})
    dropped = rewrite(graph, "without", {"share": 1 - twentieth / 20, "what": "layer"})
    assert counts(kept) == counts(dropped)
    assert kept.attrs.get("n_layers") == dropped.attrs.get("n_layers")
    assert len(kept.blocks) == len(graph.blocks)  # one of each sort stays
    places = {layer for block in kept.blocks for layer in block.layers}
    assert places == set(range(len(places)))  # no stage is dealt a layer that is gone
    if graph.attrs.get("n_layers"):
        assert graph.attrs["n_layers"] - kept.attrs["n_layers"] == sum(counts(graph)) - sum(counts(kept))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("without", {"what": "attention"}), ("without", {"what": "feed_forward"}), ("still_layers", {}),
     ("kv_window", {"window": 100})],
)  # fmt: skip
@given(share=st.floats(0, 1))
def test_every_change_of_a_share_cuts_alike(name: str, parameters: dict[str, object], share: float) -> None:
    graph = load_graph("llama-3.1-8b")
    key = "layers" if name == "kv_window" else "share"
    changed = rewrite(graph, name, {**parameters, key: share})
    assert sum(counts(changed)) == sum(counts(graph))
    expected = [size for stays, taken in cut(graph, share) for size in (count(stays), count(taken)) if size]
    assert counts(changed) == expected


@given(st.sampled_from(("llama-3.1-8b", "gemma-2-2b", "mixtral-8x7b")), st.floats(0, 1))
def test_the_last_layers_of_the_stack_are_as_many(model: str, share: float) -> None:
    graph = load_graph(model)
    depth = max(layer for block in token_layers(graph) for layer in block.layers) + 1
    routed = rewrite(graph, "passing_tokens", {"share": 0.5, "layers": share})
    before = {id(op) for block in graph.blocks for op in block.ops}
    changed = sorted(
        layer for b in routed.blocks for layer in b.layers if not any(id(op) in before for op in b.ops)
    )  # fmt: skip
    assert abs(len(changed) - share * depth) <= 0.5 + 1e-6
    assert changed == list(range(depth - len(changed), depth))
