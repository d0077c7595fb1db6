"""Rewrites of weights, formats and widths: what they may change and what they must not."""

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

MODELS = ("llama-3.1-8b", "vit-b-16", "deepseek-v3", "mixtral-8x7b", "gpt-j-6b", "bert-large", "timm/resnet50")
CAPTURED = ("timm/resnet50", "timm/mobilenetv2_100")
DECODERS = ("llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "opt-13b")


def held_bytes(graph: Graph) -> float:
    """Bytes of all weights."""
    return float(evaluate(stats.kept(graph, "weight"), stats.unsharded(graph)))


def products(graph: Graph, tokens: float = 64.0) -> float:
    """FLOPs of all products over weights, for so many tokens."""
    total = 0.0
    env = {name: float(d.size) for name, d in graph.dims.items()} | dict.fromkeys(
        ("tokens", "seqs", "logits", "batch"), tokens
    )
    env |= {"caching": 1.0, "training": 0.0, "groups": 1.0, "tp": 1.0, "ep": 1.0}
    for block, op in graph.ops():
        if op.kind in ("matmul", "conv", "moe"):
            total += evaluate(block.count * op.count * op.flops("matmul"), env)
    return total


@pytest.mark.parametrize("name", MODELS)
def test_formats_change_bytes_and_no_product(name: str) -> None:
    graph = load_graph(name)
    narrow = rewrite(graph, "numbers", {"weights": "int4"})
    assert held_bytes(narrow) < held_bytes(graph)
    assert products(narrow) == pytest.approx(products(graph))


@given(st.sampled_from(DECODERS), st.floats(0.05, 0.95))
@settings(max_examples=12, deadline=None)
def test_parts_of_a_layer_make_the_whole(name: str, share: float) -> None:
    """Some in 4 bits and the rest in 8: as many products, and bytes between the two."""
    graph = load_graph(name)
    mixed = rewrite(graph, "numbers", {"weights": "int4_values", "activations": "int8", "share": share, "rest": "int8",
                                       "rest_activations": "int8"})  # fmt: skip
    four, eight = (rewrite(graph, "numbers", {"weights": f}) for f in ("int4_values", "int8"))
    assert products(mixed) == pytest.approx(products(graph))
    assert held_bytes(mixed) == pytest.approx(share * held_bytes(four) + (1 - share) * held_bytes(eight), rel=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_two_of_four_halve_products_and_are_left_out_once(name: str) -> None:
    graph = load_graph(name)
    once = rewrite(graph, "two_of_four")
    assert rewrite(once, "two_of_four") is once
    left = products(rewrite(graph, "kept_blocks", {"share": 0.5}))
    assert products(once) == pytest.approx(left)
    assert held_bytes(once) > held_bytes(rewrite(graph, "kept_blocks", {"share": 0.5}))  # places cost


@pytest.mark.parametrize(
    ("dtype", "bits"), [("fp32", 17.0), ("fp16", 9.0), ("int8", 5.0), ("int4_values", 2.5)]
)  # fmt: skip
def test_sparsity_bits(dtype: str, bits: float) -> None:
    """Products in the same format: 20 bits for four in INT8, 10 in INT4 (GPU-friendly sparsity)."""
    from speedlight._foundation.formats import number_format
    from speedlight.graph.rewrite.thinned import thin

    multiplied = number_format(dtype).compute
    assert number_format(thin(dtype, multiplied)).bits == bits


def test_widened_weights_keep_places_of_single_values() -> None:
    from speedlight._foundation.formats import number_format
    from speedlight.graph.rewrite.thinned import thin

    assert number_format(thin("int4_values", "fp16")).bits == 3.0


@pytest.mark.parametrize("name", DECODERS)
def test_entropy_codes_keep_every_product(name: str) -> None:
    graph = load_graph(name, dtype="bf16")
    for options in ({}, {"unpack": 10.0}):
        packed = rewrite(graph, "packed_weights", {"bits": 11.0, "every": True, **options})
        assert held_bytes(packed) == pytest.approx(held_bytes(graph) * 11 / 16, rel=2e-3)
        assert products(packed) == pytest.approx(products(graph))


def test_zeros_are_kept_where_leaving_them_out_takes_more() -> None:
    graph = load_graph("llama-3.1-8b")
    listed = rewrite(graph, "packed_weights", {"density": 0.9, "places": 0.9 * 32})
    assert held_bytes(listed) == held_bytes(graph)


@given(st.floats(0.05, 0.95), st.sampled_from((1.0, 4.0, 64.0, 1e6)))
@settings(max_examples=20, deadline=None)
def test_a_batch_gives_back_what_a_token_saves(share: float, tokens: float) -> None:
    graph = load_graph("llama-3.1-8b")
    chosen = rewrite(graph, "active_neurons", {"share": share, "dense": ""})
    part = products(chosen, tokens) / products(graph, tokens)
    one = products(chosen, 1.0) / products(graph, 1.0)
    assert one - 1e-9 <= part <= 1 + 1e-9
    if tokens == 1e6:
        assert part == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "vit-b-16", "gpt-j-6b", "bert-large", "opt-13b", "deepseek-v3"])
@pytest.mark.parametrize("what", ["attention", "feed_forward", "layer"])
def test_parts_left_out_take_their_weights(name: str, what: str) -> None:
    graph = load_graph(name)
    thin = rewrite(graph, "without", {"share": 0.5, "what": what})
    assert held_bytes(thin) < held_bytes(graph)
    assert products(thin) < products(graph)
    assert rewrite(graph, "without", {"share": 0.0, "what": what}) is graph
    fewer = [op for _, op in thin.ops()]
    assert all(r.tensor for op in fewer for r in op.reads)


def test_halves_make_the_layer() -> None:
    """What both halves weigh is what the layer weighs, norms and all."""
    graph = load_graph("llama-3.1-8b")
    whole, attention, feed_forward = (
        held_bytes(graph) - held_bytes(rewrite(graph, "without", {"share": 0.5, "what": w}))
        for w in ("layer", "attention", "feed_forward")
    )
    assert attention + feed_forward == pytest.approx(whole)


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_products_fall_with_the_square_of_the_channels(name: str, share: float) -> None:
    graph = load_graph(name)
    part = products(rewrite(graph, "fewer_channels", {"share": share})) / products(graph)
    assert share**2 <= part < 1.5 * share**2 + 0.06  # the ends keep theirs, depthwise filters fall with the share alone


def test_neutral_widths_change_nothing() -> None:
    graph = load_graph("llama-3.1-8b")
    assert rewrite(graph, "narrowed", {"heads": 1.0, "ffn": 1.0}) is graph
    assert rewrite(graph, "kept_blocks", {"share": 1.0}) is graph


def test_fine_tunes_share_a_base() -> None:
    """N whole models cost 16 N bits a weight, a base and N signs 16 + N."""
    graph = load_graph("llama-2-7b")
    weights = held_bytes(rewrite(graph, "fine_tunes", {"count": 2})) - held_bytes(graph)  # of the layers alone
    for count in (4, 32):
        whole = held_bytes(rewrite(graph, "fine_tunes", {"count": count})) - held_bytes(graph)
        deltas = held_bytes(rewrite(graph, "fine_tunes", {"count": count, "delta": "int1"})) - held_bytes(graph)
        assert whole == pytest.approx((count - 1) * weights)
        assert deltas == pytest.approx(count * weights / 16)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("numbers", {"share": 0.0}), ("packed_weights", {"density": 0.0}), ("active_neurons", {"share": 2.0}),
     ("without", {"what": "head"}), ("without", {"share": -1.0}), ("narrowed", {"ffn": 0.0}), ("kept_blocks", {"share": 1.5}),
     ("fine_tunes", {"count": 0})],
)  # fmt: skip
def test_nonsense_is_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        rewrite(load_graph("llama-3.1-8b"), name, parameters)


def test_rotations_add_vector_work_to_what_quantises() -> None:
    graph = load_graph("llama-3.1-8b", weights="mxfp4", activations="mxfp4")
    turned = rewrite(graph, "rotated", {"size": 32})
    for (_, before), (_, after) in zip(graph.ops(), turned.ops(), strict=True):
        assert (len(after.work) > len(before.work)) == (before.fn == "quantize")
    assert rewrite(turned, "rotated", {"size": 32}) is turned
    assert rewrite(graph, "rotated", {"size": 1}) is graph
    with pytest.raises(BadInput):
        rewrite(graph, "rotated", {"size": 12})
