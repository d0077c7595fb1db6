"""Lowering: fusing and merging change launches and traffic, never the work; the ledger's peak is a live set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.expr import evaluate
from speedlight.frontends.source import load_graph
from speedlight.graph import stats
from speedlight.graph.builder import TOKENS, BlockBuilder
from speedlight.graph.ir import Graph
from speedlight.lowering.ledger import LedgerPlan
from speedlight.lowering.lower import lower
from speedlight.placement.place import place
from speedlight.scenario.scenario import Parallel
from speedlight.stacks.stack import load_stack, parse_stack, stack_files
from tests.strategies import ENCODERS, GENERATORS

STEP = {"tokens": 24.0, "seqs": 3.0, "logits": 3.0, "groups": 1.0, "caching": 1.0, "training": 0.0}
GROUPS = [{"count": 3.0, "new": 8.0, "cached": 100.0}]


def totals(graph: Graph, stack: str, tp: int = 1) -> dict[str, float]:
    ranks = place(graph, Parallel(tp=tp))[0]
    program = lower(ranks.graph, load_stack(stack))
    sums: dict[str, float] = {"kernels": 0.0}
    env = {**graph.symbols, **STEP, **ranks.dims}
    for block, (count, values) in zip(program.blocks, program.evaluate(env, GROUPS), strict=True):
        for kernel, v in zip(block.kernels, values, strict=True):
            times = count * v.count
            sums["kernels"] += times * v.launches
            for work, flops in zip(kernel.work, v.flops, strict=True):
                sums[work.unit] = sums.get(work.unit, 0.0) + times * flops
            for access, size in zip(kernel.accesses, v.bytes, strict=True):
                sums[access.cls] = sums.get(access.cls, 0.0) + times * size
    return sums


@pytest.mark.parametrize("model", GENERATORS + ENCODERS)
def test_stacks_change_launches_and_activation_traffic_and_nothing_else(model: str) -> None:
    graph = load_graph(model)
    found = {name: totals(graph, name) for name in stack_files()}
    eager = found["torch-eager"]
    for name, sums in found.items():
        for what in ("matmul", "vector", "transcendental", "weight", "kv", "state"):
            assert sums.get(what, 0) == pytest.approx(eager.get(what, 0), rel=1e-9), (name, what)
    assert found["ideal"]["kernels"] <= found["vllm"]["kernels"] < eager["kernels"]
    assert found["ideal"]["activation"] <= found["vllm"]["activation"] < eager["activation"]


def test_the_work_is_the_graphs() -> None:
    graph = load_graph("llama-3.1-8b")
    expected = evaluate(stats.forward_flops(graph), {**STEP, **stats.unsharded(graph)}, GROUPS)
    assert totals(graph, "vllm")["matmul"] == pytest.approx(expected, rel=1e-12)


def test_vllm_runs_a_llama_layer_as_its_engine_does() -> None:
    program = lower(place(load_graph("llama-3.1-8b"), Parallel())[0].graph, load_stack("vllm"))
    (layer,) = [b for b in program.blocks if b.name == "layers"]
    assert [k.name for k in layer.kernels if k.family != "collective"] == [
        "mlp_residual+input_layernorm", "q_proj+k_proj+v_proj", "rope_q+rope_k", "self_attn.kv_write", "self_attn.attn",
        "self_attn.o_proj", "attn_residual+post_attention_layernorm", "up_proj+gate_proj", "act_fn+mul", "mlp.down_proj",
    ]  # fmt: skip


def test_a_tensor_inside_a_fused_group_moves_nothing_and_one_needed_later_is_written() -> None:
    b = BlockBuilder("b", dtype="bf16")
    x = b.input("x", TOKENS * 100)
    added = b.elementwise("sum", "add", [x], TOKENS * 100)
    normed = b.elementwise("norm", "rms_norm", [added], TOKENS * 100, kind="norm")
    out = b.elementwise("last", "mul", [normed, added], TOKENS * 100)
    graph = Graph("g", (b.build([out]),))
    (block,) = lower(graph, load_stack("vllm")).blocks
    fused = block.kernels[0]
    assert fused.members == ("sum", "norm")
    assert {(a.tensor, a.write) for a in fused.accesses} == {("x", False), ("sum.out", True), ("norm.out", True)}
    (ideal,) = lower(graph, load_stack("ideal")).blocks
    assert {(a.tensor, a.write) for a in ideal.kernels[0].accesses} == {("x", False), ("last.out", True)}


def test_activations_peak_at_the_largest_live_set() -> None:
    """x (1 unit) → a (4) → b (2), x still needed at the end: while b is made, x + a + b = 7 are alive."""
    b = BlockBuilder("b", dtype="bf16", count=5)
    x = b.input("x", TOKENS * 50)
    a = b.elementwise("a", "add", [x], TOKENS * 200)
    c = b.elementwise("b", "add", [a], TOKENS * 100)
    out = b.elementwise("c", "add", [c, x], TOKENS * 50)
    ledger = LedgerPlan(Graph("g", (b.build([out]),))).evaluate(STEP, GROUPS, 1e9, load_stack("ideal"))
    assert ledger.by_class["activations"] == 24 * (50 + 200 + 100) * 2


@given(st.sampled_from(GENERATORS), st.integers(1, 200), st.integers(0, 5000))
def test_memory_grows_with_sequences_and_context(model: str, count: int, cached: int) -> None:
    graph = load_graph(model)
    plan = LedgerPlan(graph)

    def kv(n: int, c: int) -> Any:
        env = {**stats.unsharded(graph), "tp": 1.0, **STEP, "tokens": float(n), "seqs": float(n), "logits": float(n)}
        return plan.evaluate(
            env, [{"count": float(n), "new": 1.0, "cached": float(c)}], 1e12, load_stack("ideal")
        ).by_class["kv"]

    assert kv(count, cached) == pytest.approx(count * kv(1, cached), rel=1e-9)
    assert kv(1, cached + 8192) >= kv(1, cached)


@pytest.mark.parametrize("name", sorted(stack_files()))
def test_every_shipped_stack_states_where_its_figures_come_from(name: str) -> None:
    stack = load_stack(name)
    assert stack.date
    assert stack.description
    for note in stack.assumptions:
        assert note.source or note.grade == "assumed", note


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema": 2}, "schema"), ({"fuse": [{"name": "x"}]}, "pattern"), ({"variants": [{"fn": "x", "launches": "import os"}]}, "expression"),
     ({"colour": 1}, "colour"), ({"host": {"launch": {"value": "soon"}}}, "soon"), ({"version": 3}, "version")],
)  # fmt: skip
def test_bad_stack_files_are_named(change: dict[str, Any], message: str) -> None:
    good = {"schema": 1, "name": "mine", "version": "1", "date": "2026-11-21"}
    assert parse_stack(good, "mine").name == "mine"
    from speedlight import SpeedlightError

    with pytest.raises(SpeedlightError, match=message):
        parse_stack({**good, **change}, "mine")


def test_what_passes_between_products_of_a_fused_kernel_still_moves() -> None:
    """One kernel name for the whole expert MLP makes no byte of it vanish."""
    graph = load_graph("deepseek-v3")
    fused = [k for block in lower(graph, load_stack("vllm")).blocks for k in block.kernels if len(k.members) > 6]
    assert fused
    for kernel in fused:
        assert (kernel.name, kernel.path) == ("experts", "model.layers.*.mlp.experts")
        moved = {(a.tensor, a.write) for a in kernel.accesses if a.cls == "activation"}
        assert {("mlp.experts.mul.quantize_fp8.out", w) for w in (True, False)} <= moved
        assert not any("act_fn" in tensor or "up_proj" in tensor for tensor, _ in moved)


def test_what_an_op_changes_in_place_it_reads_too() -> None:
    """A recurrence reads its state before it writes it: two accesses of one tensor, in every stack."""
    graph = load_graph("mamba-2.8b")
    for stack in stack_files():
        program = lower(graph, load_stack(stack))
        directions = {
            (a.tensor, a.write) for b in program.blocks for k in b.kernels for a in k.accesses if a.cls == "state"
        }
        names = {name for name, _ in directions}
        assert names
        assert directions == {(name, write) for name in names for write in (False, True)}
