"""Backward passes and optimizers of graphs built from configurations: FLOPs, operands, messages, memory, laws."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput, UnknownName
from speedlight._foundation.expr import compile_tape, const, sym
from speedlight._foundation.formats import bytes_per_element
from speedlight.frontends.source import load_graph
from speedlight.frontends.zoo import zoo_entry, zoo_ids
from speedlight.graph import stats
from speedlight.graph.backward import OPTIMIZERS, add_optimizer, differentiate
from speedlight.graph.builder import BlockBuilder
from speedlight.graph.grammar import check
from speedlight.graph.ir import Block, Dim, Graph, Op, Operand, Tensor

from ..strategies import ENCODERS, GENERATORS

# Text, image and audio towers of a multimodal model are kept but not run; indexers choose, they pass no gradient.
FAMILIES = (*GENERATORS, *ENCODERS, "mixtral-8x22b", "bloom-7b1", "gpt-j-6b", "phi-2", "gemma-2-9b", "mamba-130m")


def environment(graph: Graph, count: float = 2, new: float = 1024, tp: float = 1) -> tuple[dict[str, Any], list[Any]]:
    dims = {n: d.size if d.role in ("none", "experts") else d.size / tp for n, d in graph.dims.items()}
    step = {**stats.step_symbols(count, new, 0), "logits": count * new, "caching": 0, "training": 1, "tp": tp, "ep": 1}
    return {**dims, **step}, [{"count": count, "new": new, "cached": 0}]


def values(graph: Graph, exprs: list[Any], **setting: float) -> list[float]:
    env, groups = environment(graph, **setting)
    return [float(v) for v in compile_tape(exprs).run(env, groups)]


def flops(graph: Graph, phase: str, kinds: tuple[str, ...] = (), **setting: float) -> float:
    terms = [
        op.flops("matmul") * op.count * block.count
        for block, op in graph.ops()
        if op.phase == phase and (not kinds or op.kind in kinds)
    ]
    return sum(values(graph, terms, **setting))


@cache
def model(name: str, dtype: str | None = None) -> Graph:
    return load_graph(name, (), dtype)


@cache
def trained(name: str, recompute: str = "none") -> Graph:
    return differentiate(model(name), recompute=recompute)


def kept(graph: Graph, cls: str, *, of_bytes: bool = True) -> float:
    return values(graph, [stats.kept(graph, cls, of_bytes=of_bytes)])[0]


def op_of(graph: Graph, name: str) -> Op:
    return next(o for _, o in graph.ops() if o.name == name)


# FLOPs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backward_pass_is_twice_the_forward_pass_and_half_an_attention_more(name: str) -> None:
    """Every product once for each operand; fused attention 5 products for 2 (FlashAttention-2, arXiv 2307.08691 §3).

    The first layer's input (pixels) needs no gradient.
    """
    graph = trained(name)
    forward, attention = flops(graph, "forward"), flops(graph, "forward", ("attention",))
    first = 0.0
    if name == "vit-b-16":
        first = sum(values(graph, [o.flops("matmul") for _, o in graph.ops() if o.name.startswith("patch_embed")][:1]))
    assert flops(graph, "backward") == pytest.approx(2 * forward + 0.5 * attention - first, rel=1e-9)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt2-xl"])
def test_training_flops_near_six_a_parameter_and_token(name: str) -> None:
    """6·N·D: 2 forwards, 4 backwards (Kaplan et al., arXiv 2001.08361 §2.1), attention scores apart."""
    graph = trained(name)
    products = sum(flops(graph, phase, ("matmul",), count=1, new=64) for phase in ("forward", "backward"))
    counted = stats.parameters(graph) - (0 if name == "gpt2-xl" else 128256 * 4096)  # untied look-up tables do no work
    assert products == pytest.approx(6 * counted * 64, rel=0.01)


def test_dims_of_the_two_products() -> None:
    graph = trained("llama-3.1-8b")
    forward, data, weight = (op_of(graph, f"mlp.down_proj{s}") for s in ("", ".dgrad", ".wgrad"))
    sizes = [dict(zip("mnk", values(graph, [o.dims[a] for a in "mnk"]), strict=True)) for o in (forward, data, weight)]
    m, n, k = 2048, 4096, 14336
    assert sizes == [{"m": m, "n": n, "k": k}, {"m": m, "n": k, "k": n}, {"m": n, "n": k, "k": m}]
    for op in (data, weight):
        assert values(graph, [op.flops("matmul")])[0] == 2 * m * n * k
    assert [r.tensor for r in data.reads] == ["d.mlp_residual.out", "mlp.down_proj.weight"]
    assert [r.tensor for r in weight.reads] == ["d.mlp_residual.out", "mlp.mul.out"]
    assert weight.writes[0].tensor == "grad.mlp.down_proj.weight"
    block = next(b for b in graph.blocks if b.name == "layers.backward")
    made = block.tensors["grad.mlp.down_proj.weight"]
    assert (made.cls, made.dtype) == ("gradient", "bf16")
    assert made.persistent is not None
    assert block.tensors["mlp.down_proj.weight"].persistent is None  # kept where the forward pass declares it


def test_attention_reads_what_flash_attention_reads() -> None:
    op = op_of(trained("llama-3.1-8b"), "self_attn.attn.backward")
    assert [r.tensor.removeprefix("self_attn.") for r in op.reads] == [
        "rope_q.out", "rope_k.out", "v_proj.out", "kv_cache", "attn.out", "d.self_attn.attn.out", "attn.lse",
    ]  # fmt: skip
    assert len(op.writes) == 3
    graph = trained("llama-3.1-8b")
    assert values(graph, [op.reads[3].elements]) == [0]  # nothing is cached when training


# gradients -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f for f in FAMILIES if f != "qwen3.5-27b"])  # its vision tower is kept, not run
def test_every_parameter_has_one_gradient(name: str) -> None:
    graph = trained(name)
    assert kept(graph, "gradient", of_bytes=False) == stats.parameters(graph)


def test_tied_tables_have_one_gradient_that_two_ops_write() -> None:
    graph = trained("gpt2-xl")
    writers = [o.name for _, o in graph.ops() if any(w.tensor == "grad.embed_tokens.weight" for w in o.writes)]
    assert writers == ["lm_head.wgrad", "embed_tokens.backward"]
    assert "grad.embed_tokens.weight" in graph.shared
    assert any(r.tensor == "grad.embed_tokens.weight" for r in op_of(graph, "embed_tokens.backward").reads)


def test_untied_tables_are_cleared_and_touched_rows_added() -> None:
    graph = trained("llama-3.1-8b")
    fill, scatter = op_of(graph, "embed_tokens.grad_fill"), op_of(graph, "embed_tokens.backward")
    assert fill.writes[0].elements is None
    assert scatter.writes[0].access == "random"
    assert values(graph, [scatter.writes[0].elements]) == [2048 * 4096]


def test_integer_weights_are_frozen() -> None:
    graph = load_graph("llama-3.1-8b", (), None, "int4")
    backward = differentiate(graph)
    grads = kept(backward, "gradient", of_bytes=False)
    norms = 65 * 4096
    assert grads == 2 * 128256 * 4096 + norms
    # the products for weights fall away, those for inputs stay
    assert flops(backward, "backward") < 1.3 * flops(backward, "forward")


def test_expert_rows_are_summed_into_their_tokens() -> None:
    graph = trained("qwen3-30b-a3b")
    op = op_of(graph, "mlp.experts.up_proj.combine_grad")
    block = next(b for b, o in graph.ops() if o is op)
    rows, tokens = values(
        graph, [block.tensors[op.reads[0].tensor].elements, block.tensors[op.writes[0].tensor].elements]
    )
    assert (rows, tokens) == (2048 * 8 * 2048, 2048 * 2048)


# messages --------------------------------------------------------------------------------------------------------------


def exchanges(graph: Graph, phase: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(b.name, o.name, e.dims) for b, o in graph.ops() if o.phase == phase for e in o.exchanges]


def test_a_dense_layer_reduces_twice_each_way() -> None:
    """Megatron's f and g (arXiv 1909.08053 §3): after attention and MLP forwards, before them backwards."""
    graph = trained("llama-3.1-8b")
    forward = [e for e in exchanges(graph, "forward") if e[0] == "layers"]
    backward = [e for e in exchanges(graph, "backward") if e[0] == "layers.backward"]
    assert [dims for *_, dims in forward] == [("heads",), ("ffn",)]
    assert [dims for *_, dims in backward] == [("ffn",), ("heads", "kv_heads")]
    assert all("grad_add" in op_of(graph, name).fn for _, name, _ in backward)
    assert ("head.backward", "lm_head.dgrad", ("vocab",)) in exchanges(graph, "backward")


def test_only_partial_sums_are_reduced() -> None:
    """The router sees whole tokens: its contribution joins after the experts' message."""
    graph = trained("qwen3-30b-a3b")
    adds = [o for _, o in graph.ops() if o.fn == "grad_add" and "post_attention_layernorm" in o.name]
    assert [bool(o.exchanges) for o in adds] == [True, False]
    assert adds[0].exchanges[0].dims == ("experts", "expert_ffn")
    assert adds[1].reads[0].tensor == adds[0].writes[0].tensor


def test_norms_inside_heads_reduce_their_weights_gradient() -> None:
    graph = trained("qwen3-32b")
    assert op_of(graph, "self_attn.q_norm.backward").exchanges[0].tensor == "grad.self_attn.q_norm.weight"


@given(st.sampled_from(["llama-3.1-8b", "gpt2-xl", "qwen3-32b", "mixtral-8x7b"]), st.sampled_from([2, 4, 8]))
def test_sharding_divides_backward_flops(name: str, tp: int) -> None:
    graph = trained(name)
    router = sum(
        values(graph, [o.flops("matmul") * b.count for b, o in graph.ops() if o.phase == "backward" and ".gate." in o.name])
    ) if name == "mixtral-8x7b" else 0.0  # fmt: skip
    whole, share = flops(graph, "backward"), flops(graph, "backward", tp=tp)
    assert share == pytest.approx((whole - router) / tp + router, rel=0.02)  # routers and head norms are not divided


# what is kept ----------------------------------------------------------------------------------------------------------


def test_saved_activations_of_a_llama_layer() -> None:
    """x, two norms, q, k, v, attention output, residual: 5 h + q + 2 g; gate, up, their product and SiLU: 4 f; statistics."""
    graph = trained("llama-3.1-8b")
    block = next(b for b in graph.blocks if b.name == "layers")
    names = graph.attrs["saved"]["layers"]
    size = sum(values(graph, [block.tensors[n].elements for n in names if not n.endswith(".lse")], count=1, new=1))
    assert size == 5 * 4096 + 4096 + 2 * 1024 + 4 * 14336
    (statistics,) = [n for n in names if n.endswith(".lse")]
    assert values(graph, [block.tensors[statistics].elements], count=1, new=1) == [32]


def test_full_recomputation_keeps_inputs_and_runs_layers_twice() -> None:
    none, full = trained("llama-3.1-8b"), trained("llama-3.1-8b", "full")
    assert full.attrs["saved"]["layers"] == ("x",)
    layer = sum(values(full, [o.flops("matmul") * o.count * b.count for b, o in full.ops() if b.name == "layers"]))
    assert flops(full, "backward") - flops(none, "backward") == pytest.approx(layer)
    first = next(b for b in full.blocks if b.name == "layers.backward").ops[0]
    assert (first.name, first.phase) == ("recompute.input_layernorm", "backward")
    assert full.attrs["saved"]["head"] == none.attrs["saved"]["head"]


def decomposed() -> Graph:
    """A layer whose attention is written out: scores, softmax, dropout, product with the values."""
    b = BlockBuilder("layers", "layers.*", "bf16", 2, (0, 1))
    t, h, s = sym("tokens"), sym("heads"), 64
    x = b.input("x", t * 256)
    q, k, v = (b.linear(n, x, h * 64, 256) for n in ("q", "k", "v"))
    pairs = t * s * h
    scores = b.activation("scores.out", pairs)
    common: dict[str, Any] = {"kind": "matmul", "fn": "bmm"}
    b.op("scores", reads=(Operand(q), Operand(k)), writes=(Operand(scores),), dims={
        "m": t, "n": const(s), "k": const(64), "batch": h}, work=(), **common)  # fmt: skip
    scaled = b.elementwise("scale", "scale", [scores], pairs)
    probabilities = b.elementwise("softmax", "softmax", [scaled], pairs, kind="softmax")
    dropped = b.elementwise("dropout", "dropout", [probabilities], pairs)
    out = b.activation("values.out", t * h * 64)
    b.op("values", reads=(Operand(dropped), Operand(v)), writes=(Operand(out),), dims={
        "m": t, "n": const(64), "k": const(s), "batch": h}, work=(), **common)  # fmt: skip
    y = b.linear("o", out, 256, h * 64, exchanges=[("reduce", ("heads",))])
    z = b.elementwise("residual", "add", [y, x], t * 256)
    return check(Graph("decomposed", (b.build([z]),), dims={"heads": Dim(4, "heads")}))


def test_selective_recomputation_drops_the_attention_core() -> None:
    """Korthikanti et al., arXiv 2205.05198 §5: scores, softmax and dropout again; q, k, v and the output stay."""
    none, selective = differentiate(decomposed()), differentiate(decomposed(), recompute="selective")
    dropped = set(none.attrs["saved"]["layers"]) - set(selective.attrs["saved"]["layers"])
    assert {"softmax.out", "dropout.out"} <= dropped
    assert {"q.out", "k.out", "v.out", "values.out", "x"} <= set(selective.attrs["saved"]["layers"])
    again = [o.name for o in selective.blocks[1].ops if o.name.startswith("recompute.")]
    assert again == ["recompute.scores", "recompute.scale", "recompute.softmax", "recompute.dropout"]


def test_fused_attention_has_nothing_to_drop() -> None:
    none, selective = trained("llama-3.1-8b"), trained("llama-3.1-8b", "selective")
    assert none.attrs["saved"] == selective.attrs["saved"]
    assert flops(none, "backward") == flops(selective, "backward")


def test_tensors_that_cross_blocks_are_kept_once() -> None:
    """A block's output that the next block takes in and keeps is listed there only."""
    for name in ("llama-3.1-8b", "deepseek-v3", "gemma-3-27b"):
        graph = trained(name)
        saved = graph.attrs["saved"]
        forward = [b for b in graph.blocks if b.phase == "forward"]
        for block, after in pairwise(forward):
            for out, taken in zip(block.outputs, after.inputs, strict=False):
                assert not (out in saved.get(block.name, ()) and taken in saved.get(after.name, ()))


# blocks ----------------------------------------------------------------------------------------------------------------


def mirrors_its_forward_pass(name: str, recompute: str) -> None:
    """The grammar holds, weights are counted once, and backward blocks mirror forward ones in reverse."""
    graph = add_optimizer(differentiate(model(name), recompute=recompute))
    assert stats.parameters(graph) == stats.parameters(model(name)), name
    forward = [b.name for b in graph.blocks if b.phase == "forward"]
    backward = [b for b in graph.blocks if b.phase == "backward"]
    mirrored = [graph.attrs["mirrors"][b.name] for b in backward]
    assert mirrored == [n for n in reversed(forward) if n in mirrored], name
    assert graph.blocks[-1].phase == "optimizer"


def one_of_each() -> dict[str, str]:
    """The first bundled model of each model type; models of one type differ in sizes."""
    found: dict[str, str] = {}
    for name in zoo_ids():
        entry = zoo_entry(name)
        assert entry is not None
        found.setdefault(str(entry["config"].get("model_type", name)), name)
    return found


def test_one_model_of_each_type_differentiates() -> None:
    """Each under one kind of recomputation in turn; all of both with ``-m slow``."""
    kinds = ("none", "selective", "full")
    for number, name in enumerate(one_of_each().values()):
        mirrors_its_forward_pass(name, kinds[number % len(kinds)])


@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_every_bundled_model_differentiates(recompute: str) -> None:
    for name in zoo_ids():
        mirrors_its_forward_pass(name, recompute)


def test_blocks_hand_gradients_back_position_by_position() -> None:
    graph = trained("deepseek-v3")
    blocks = {b.name: b for b in graph.blocks}
    for block in graph.blocks:
        if block.phase == "backward":
            forward = blocks[graph.attrs["mirrors"][block.name]]
            assert block.count == forward.count
            assert len(block.outputs) <= len(forward.inputs)
            assert {o.phase for o in block.ops} == {"backward"}


def test_gradients_written_before_they_are_read() -> None:
    """Also where a repeated block takes a gradient that nothing behind it gives: zeros are handed on."""
    layer = BlockBuilder("layers", "layers.*", "bf16", 3, (0, 1, 2))
    t = sym("tokens")
    x, memory = layer.input("x", t * 8), layer.input("memory", t * 8)
    mixed = layer.elementwise("mix", "mul", [x, layer.linear("m", memory, 8, 8)], t * 8)
    stem = BlockBuilder("stem")
    e = stem.linear("in", "input", 8, 8)
    f = stem.linear("memory", "input", 8, 8)
    head = BlockBuilder("head")
    y = head.linear("out", head.input("x", t * 8), 8, 8)
    shared = {"input": Tensor("input", t * 8, "bf16", "input", None, False)}
    blocks = (stem.build([e, f]), layer.build([mixed, memory]), head.build([y]))
    graph = differentiate(check(Graph("memory", blocks, shared)))
    behind = next(b for b in graph.blocks if b.name == "head.backward")
    assert len(behind.outputs) == 2
    assert any(o.fn == "grad_fill" for o in behind.ops)
    assert not any(o.name == "in.dgrad" for _, o in graph.ops())  # an input of the model
    assert flops(graph, "backward") == 2 * flops(graph, "forward") - 2 * (2 * 2048 * 8 * 8)


@pytest.mark.parametrize("wrong", ["some", "", "FULL"])
def test_unknown_recomputation(wrong: str) -> None:
    with pytest.raises(BadInput, match="recomputation"):
        differentiate(model("llama-3.1-8b"), recompute=wrong)


def test_differentiating_twice() -> None:
    with pytest.raises(BadInput, match="already"):
        differentiate(trained("llama-3.1-8b"))
    with pytest.raises(BadInput, match="already"):
        add_optimizer(add_optimizer(trained("llama-3.1-8b")))
    with pytest.raises(BadInput, match="no gradients"):
        add_optimizer(model("llama-3.1-8b"))
    with pytest.raises(UnknownName, match="adamv"):
        add_optimizer(trained("llama-3.1-8b"), "adamv")
    empty = BlockBuilder("only")
    out = empty.elementwise("relu", "relu", [empty.input("x", 4)], 4)
    with pytest.raises(BadInput, match="no weight"):
        differentiate(Graph("none", (empty.build([out]),)))


# optimizers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "optimizer", "options", "each"),
    [
        ("bf16", "adamw", {}, 2 + 2 + 4 + 4 + 4), ("fp32", "adamw", {}, 4 + 4 + 4 + 4),
        ("bf16", "adamw", {"master": False}, 2 + 2 + 4 + 4),
        ("bf16", "adamw", {"master": False, "state_dtype": "bf16"}, 2 + 2 + 2 + 2),
        ("bf16", "adamw", {"grad_dtype": "fp32"}, 2 + 4 + 4 + 4 + 4), ("bf16", "sgd", {}, 2 + 2 + 4),
        ("fp32", "sgd", {}, 4 + 4), ("fp32", "sgd_momentum", {}, 4 + 4 + 4), ("bf16", "lion", {}, 2 + 2 + 4 + 4),
        ("bf16", "adam8bit", {}, 2 + 2 + 4 + 2 * (1 + 4 / 256)),
    ],
)  # fmt: skip
def test_bytes_a_parameter(dtype: str, optimizer: str, options: dict[str, Any], each: float) -> None:
    """GPT-2 XL, 1.5 B parameters, AdamW in mixed precision: 16 B each, 24 GB (ZeRO, arXiv 1910.02054 §3.1)."""
    graph = add_optimizer(differentiate(model("gpt2-xl", dtype)), optimizer, **options)
    count = stats.parameters(graph)
    assert count == 1_557_611_200
    total = sum(kept(graph, cls) for cls in ("weight", "gradient", "optimizer"))
    assert total == pytest.approx(each * count, rel=1e-9)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_update_streams_over_all_parameters(name: str) -> None:
    graph = add_optimizer(trained("llama-3.1-8b"), name)
    block = graph.blocks[-1]
    (op,) = block.ops
    assert (op.fn, op.phase, op.kind) == (name, "optimizer", "elementwise")
    for operand in (*op.reads, *op.writes):
        if not operand.tensor.startswith("scales"):
            assert values(graph, [block.tensors[operand.tensor].elements]) == [stats.parameters(graph)]
    assert {w.tensor for w in op.writes} >= {"param.bf16", "master.bf16"}


def test_adamw_traffic_is_28_bytes_a_parameter() -> None:
    """Reads gradient 2, mean 4, variance 4, master 4; writes mean 4, variance 4, master 4, weight 2."""
    graph = add_optimizer(differentiate(model("gpt2-xl", "bf16")), "adamw")
    block: Block = graph.blocks[-1]
    (op,) = block.ops
    moved = sum(bytes_per_element(block.tensors[o.tensor].dtype) for o in (*op.reads, *op.writes))
    assert moved == 28
