"""Messages of each axis: which, how often, how many bytes, against the papers' counts."""

from __future__ import annotations

import pytest

from speedlight._foundation.expr import evaluate
from speedlight.frontends.source import load_graph
from speedlight.graph.backward import differentiate
from speedlight.graph.ir import Graph
from speedlight.placement.insert import insert_messages
from speedlight.placement.mesh import axes
from speedlight.placement.place import dims_of, place
from speedlight.scenario.scenario import Parallel

TOKENS, HIDDEN = 4096.0, 4096


def messages(
    graph: Graph, parallel: Parallel, block: str, tokens: float = TOKENS
) -> list[tuple[str, str, float, float]]:
    """(collective, axis, times, bytes) of a block's messages that run."""
    env = {**dims_of(graph, parallel), "tokens": tokens, "seqs": 1.0, "logits": tokens, "groups": 1.0, "caching": 0.0,
           "training": 1.0}  # fmt: skip
    placed = place(graph, parallel)[0].graph
    found = []
    for op in next(b for b in placed.blocks if b.name == block).ops:
        if op.message is not None:
            times = float(evaluate(op.count, env))
            if times:
                found.append((op.fn, op.message.axis[0], times, float(evaluate(op.message.bytes, env))))
    return found


def test_tensor_parallelism_sums_twice_a_layer_and_pass() -> None:
    """arXiv 1909.08053 §3: two all-reduces of tokens × hidden forward, two backward."""
    graph = differentiate(load_graph("llama-3.1-8b"))
    for block in ("layers", "layers.backward"):
        assert messages(graph, Parallel(tp=8), block) == [("all_reduce", "tp", 1.0, TOKENS * HIDDEN * 2)] * 2


def test_sequence_parallelism_gathers_and_scatters_instead() -> None:
    """arXiv 2205.05198 §4.2.2: the same bytes; what a product's input was is gathered once more for its weight's gradient."""
    graph = differentiate(load_graph("llama-3.1-8b"))
    kinds = {"layers": (2, 2), "layers.backward": (4, 2)}
    for block, (gathers, scatters) in kinds.items():
        found = messages(graph, Parallel(tp=8, sp=1), block)
        assert sorted(m[0] for m in found) == ["all_gather"] * gathers + ["reduce_scatter"] * scatters
        assert {m[3] for m in found} == {TOKENS * HIDDEN * 2}


def test_without_sequence_parallelism_an_array_of_layouts_has_both() -> None:
    assert axes(Parallel(tp=8)) == frozenset()
    assert axes(Parallel(tp=1, sp=1)) == frozenset()
    assert axes(Parallel(tp=8, sp=1, cp=2, context="ulysses")) == {"sp", "experts", "ulysses"}


@pytest.mark.parametrize("kind", ["ring", "gather", "ulysses"])
def test_context_parallel_bytes(kind: str) -> None:
    """Keys and values of the other ranks (ring, gather: 2 · kv · d a token), or heads for tokens and back (Ulysses)."""
    graph = differentiate(load_graph("llama-3.1-8b"))
    cp, own = 4, TOKENS / 4
    pair = own * 2 * 8 * 128 * 2
    forward = messages(graph, Parallel(cp=cp, context=kind), "layers", own)
    backward = messages(graph, Parallel(cp=cp, context=kind), "layers.backward", own)
    if kind == "ring":
        assert forward == [("send_recv", "cp", cp - 1.0, pair)]
        assert backward == [("send_recv", "cp", cp - 1.0, 2 * pair)]
    elif kind == "gather":
        assert forward == [("all_gather", "cp", 1.0, cp * pair)]
        assert backward == [("all_gather", "cp", 1.0, cp * pair), ("reduce_scatter", "cp", 1.0, cp * pair)]
    else:
        assert forward == backward == [("all_to_all", "cp", 1.0, pair + own * 2 * 32 * 128 * 2)]


def test_experts_across_replicas_send_every_pick_there_and_back() -> None:
    """Switch and Megatron: each rank sends its tokens once for every expert picked, and gets as much back."""
    graph = differentiate(load_graph("qwen3-30b-a3b"))
    picked = TOKENS * 8 * 2048 * 2
    parallel = Parallel(dp=8, ep=8)
    assert messages(graph, parallel, "layers") == [("all_to_all", "ep", 1.0, picked)] * 2
    assert messages(graph, parallel, "layers.backward") == [("all_to_all", "ep", 1.0, picked)] * 2


def test_experts_in_a_narrower_space_send_its_width_both_ways() -> None:
    """Nemotron 3 Super: 22 experts of a token, in 1,024 of 4,096 dimensions; what is added behind them travels nowhere."""
    graph = differentiate(load_graph("nemotron-3-super-120b-a12b-fp8", (), "bf16", "bf16", "bf16"))
    picked = TOKENS * 22 * 1024 * 2
    parallel = Parallel(dp=8, ep=8)
    layer = next(b.name for b in graph.blocks if any(o.kind == "moe" for o in b.ops))
    for block in (layer, f"{layer}.backward"):
        assert messages(graph, parallel, block) == [("all_to_all", "ep", 1.0, picked)] * 2


def test_inputs_that_stay_gathered_are_gathered_once() -> None:
    """DTensor's products keep what they gathered: nothing is gathered again for a weight's gradient, and all of it waits."""
    graph = differentiate(load_graph("llama-3.1-8b"))
    for keeps, gathers in ((False, 4), (True, 2)):
        placed = insert_messages(graph, axes(Parallel(tp=8, sp=1)), keeps_gathered=keeps)
        behind = next(b for b in placed.blocks if b.name == "layers.backward")
        assert sum(o.fn == "all_gather" for o in behind.ops) == gathers
        waits = [n for n in placed.attrs["saved"]["layers"] if n.endswith(".whole")]
        assert len(waits) == (2 if keeps else 0)


def test_experts_within_tensor_parallel_ranks_are_summed() -> None:
    graph = load_graph("qwen3-30b-a3b")
    found = messages(graph, Parallel(tp=4, ep=4), "layers")
    assert [m[0] for m in found] == ["all_reduce", "all_reduce"]


def test_experts_with_sequence_parallelism_send_each_ranks_own_tokens() -> None:
    graph = load_graph("qwen3-30b-a3b")
    found = messages(graph, Parallel(tp=4, sp=1, dp=2, ep=8), "layers")
    routed = [m for m in found if m[1] == "ep"]
    assert routed == [("all_to_all", "ep", 1.0, TOKENS / 4 * 8 * 2048 * 2)] * 2


def test_experts_widths_are_gathered_and_scattered() -> None:
    graph = load_graph("qwen3-30b-a3b")
    found = messages(graph, Parallel(dp=8, ep=4, etp=2), "layers")
    assert [m[:2] for m in found] == [
        ("all_to_all", "ep"), ("all_gather", "etp"), ("all_to_all", "ep"), ("reduce_scatter", "etp"),
    ]  # fmt: skip


def test_a_loss_on_shards_gathers_no_logits() -> None:
    graph = differentiate(load_graph("llama-3.1-8b"))
    gathers = [
        [op.fn for op in next(b for b in place(graph, Parallel(tp=8), local_loss=local)[0].graph.blocks if b.name == "head").ops
         if op.message is not None]
        for local in (False, True)
    ]  # fmt: skip
    assert gathers == [["all_gather"], []]


def test_work_is_divided_not_lost() -> None:
    """FLOPs of all ranks are the model's, whichever axes divide them."""
    graph = load_graph("qwen3-30b-a3b")

    def flops(parallel: Parallel, tokens: float, ranks: float) -> float:
        env = {**dims_of(graph, parallel), "tokens": tokens, "seqs": 8.0, "logits": tokens, "groups": 1.0, "caching": 0.0,
               "training": 1.0}  # fmt: skip
        groups = [{"count": 8.0, "new": 512.0, "cached": 0.0}]
        placed = place(graph, parallel)[0].graph
        layer = next(b for b in placed.blocks if b.name == "layers")
        return sum(float(evaluate(op.flops("matmul"), env, groups)) for op in layer.ops) * ranks

    whole = flops(Parallel(), 4096.0, 1)
    router = 2 * 4096 * 128 * 2048
    assert flops(Parallel(dp=8, ep=8), 4096.0, 1) == pytest.approx(whole)
    assert flops(Parallel(cp=4), 1024.0, 4) == pytest.approx(whole)
    assert flops(Parallel(tp=4, sp=1, dp=2, ep=8), 4096.0, 4) == pytest.approx(whole)
    assert flops(Parallel(tp=4, ep=2), 4096.0, 4) == pytest.approx(whole + 3 * router)  # each rank routes all tokens
