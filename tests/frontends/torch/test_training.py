"""Training steps of captured modules against autograd itself: what is saved, what is alive at once, how much is multiplied."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

import speedlight
from speedlight._foundation.expr import Expr, compile_tape
from speedlight.frontends.torch_export import capture
from speedlight.graph.backward import differentiate, training_mode
from speedlight.graph.ir import Graph
from speedlight.lowering.ledger import LedgerPlan
from speedlight.lowering.saved import of_instance
from speedlight.stacks.stack import load_stack

from .living import peak_bytes, saved_bytes
from .trainable import MODULES

pytestmark = pytest.mark.torch


def inputs(shape: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*map(int, shape.split("x")))]


@cache
def captured(name: str, train: bool = True) -> Graph:
    make, shape = MODULES[name]
    return capture(make, [shape], train=train, quick=True)


@cache
def trained(name: str, recompute: str = "none") -> Graph:
    return differentiate(captured(name), recompute=recompute)


def value(graph: Graph, exprs: list[Expr]) -> list[float]:
    step = {"tokens": 1.0, "seqs": 1.0, "logits": 1.0, "groups": 1.0, "caching": 0.0, "training": 1.0}
    env = {**step, "batch": float(graph.symbols["batch"] or 1)}
    return [float(v) for v in compile_tape(exprs).run(env, [{"count": 1.0, "new": 1.0, "cached": 0.0}])]


def saved(graph: Graph) -> float:
    """Saved activations, and the inputs: something reads them again."""
    kept = [of_instance(graph, b) * b.count for b in graph.blocks if b.phase == "forward"]
    read = {r.tensor for b, op in graph.ops() for r in op.reads if b.phase == "backward"}
    kept += [t.bytes for t in graph.shared.values() if t.cls == "input" and t.name in read]
    return sum(value(graph, kept))


def flops(graph: Graph, phase: str) -> float:
    return sum(value(graph, [op.flops("matmul") * op.count * b.count for b, op in graph.ops() if op.phase == phase]))


def alive(graph: Graph) -> float:
    """Peak of activations under eager PyTorch, without the allocator's own share."""
    stack = load_stack("torch-eager")
    stack = dataclasses.replace(stack, reserve=dataclasses.replace(stack.reserve, fragmentation=0.0))
    env = {"tokens": 1.0, "seqs": 1.0, "logits": 1.0, "groups": 1.0, "caching": 0.0, "training": 1.0}
    env["batch"] = float(graph.symbols["batch"] or 1)
    groups = [{"count": 1.0, "new": 1.0, "cached": 0.0}]
    return float(LedgerPlan(graph, calls=True).evaluate(env, groups, 1e12, stack).by_class["activations"])


@pytest.mark.parametrize("name", MODULES)
def test_saved_activations_are_those_autograd_packs(name: str) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(0)
    assert saved(trained(name)) == pytest.approx(saved_bytes(make().train(), inputs(shape)), rel=0.05)


# A loop that indexes one step of a tensor at a time has autograd add a gradient of the whole tensor for each step.
@pytest.mark.parametrize("name", [n for n in MODULES if n != "selective"])
def test_the_peak_of_a_training_step_is_what_storages_show(name: str) -> None:
    make, shape = MODULES[name]
    assert alive(trained(name)) == pytest.approx(peak_bytes(make(), inputs(shape), True), rel=0.08)


@pytest.mark.parametrize("name", ["resnet", "gated", "pools", "transformer", "depthwise", "gated_mlp"])
def test_the_peak_of_inference_frees_what_nobody_needs(name: str) -> None:
    make, shape = MODULES[name]
    real = peak_bytes(make(), inputs(shape), False)
    assert real * 0.75 <= alive(captured(name, False)) <= real * 1.001  # local variables are not known


@pytest.mark.parametrize("name", MODULES)
def test_the_backward_pass_multiplies_twice_as_much(name: str) -> None:
    """Each product once for each operand that needs a gradient: not for the input's, half more for fused attention."""
    graph = trained(name)
    once = flops(graph, "forward")
    reads_input = [
        op for b, op in graph.ops() if b.phase == "forward" and any(r.tensor.startswith("input.") for r in op.reads)
    ]
    first = sum(value(graph, [op.flops("matmul") for op in reads_input]))
    attention = sum(
        value(
            graph,
            [op.flops("matmul") * b.count for b, op in graph.ops() if b.phase == "forward" and op.kind == "attention"],
        )
    )
    assert flops(graph, "backward") == pytest.approx(2 * once - first + 0.5 * attention, rel=1e-9)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_recomputation_trades_memory_for_one_more_forward_pass(name: str) -> None:
    plain, again = trained(name), trained(name, "full")
    repeated = [b for b, op in again.ops() if op.attrs.get("recompute")]
    ran = {again.attrs["mirrors"][b.name] for b in repeated}
    extra = sum(value(plain, [op.flops("matmul") * b.count for b, op in plain.ops() if b.name in ran]))
    assert flops(again, "backward") - flops(plain, "backward") == pytest.approx(extra, rel=1e-9)
    assert saved(again) < 0.5 * saved(plain)
    assert alive(again) < alive(plain)
    taken = [n for b in again.blocks for n in again.attrs["saved"].get(b.name, ()) if b.name in ran]
    assert all(
        n in {i for b in again.blocks for i in b.inputs} for n in taken
    )  # of a layer run again only its input is kept


@pytest.mark.parametrize("name", ["resnet", "gated", "unet"])
def test_a_graph_of_evaluation_trains_like_one_captured_for_it(name: str) -> None:
    def works(graph: Graph) -> Counter[Any]:
        ops = [(b, op) for b, op in graph.ops()]
        work = value(graph, [op.flops() * b.count for b, op in ops])
        made = value(graph, [graph.tensor(b, w.tensor).bytes for b, op in ops for w in op.writes])
        return Counter((op.fn, len(op.reads), f) for (_, op), f in zip(ops, work, strict=True)) + Counter(made)

    changed = training_mode(captured(name, False))
    assert works(changed) == works(captured(name))
    assert saved(differentiate(changed)) == saved(trained(name))


def test_micro_batches_run_one_after_the_other() -> None:
    whole = speedlight.explain("resnet50", "a100-pcie-40gb", phase="train", batch=8)
    parts = speedlight.explain("resnet50", "a100-pcie-40gb", phase="train", batch=8, micro_batch=2)
    assert parts.flops == pytest.approx(whole.flops)
    assert parts.memory.by_class["activations"] < 0.3 * whole.memory.by_class["activations"]
    assert parts.memory.by_class["optimizer"] == whole.memory.by_class["optimizer"]


def test_an_update_needs_no_activations() -> None:
    """Weights and gradients that the optimizer names are kept where they are declared."""
    small = speedlight.explain("bert-large", "a100-pcie-40gb", phase="train", batch=1, isl=8)
    assert small.memory.by_class["activations"] < 0.1 * small.memory.by_class["weights"]


def test_autocast_keeps_half_of_what_is_saved_and_casts_weights_once() -> None:
    full = speedlight.explain("vit_base_patch16_224", "a100-pcie-40gb", phase="train", batch=8)
    mixed = speedlight.explain("vit_base_patch16_224", "a100-pcie-40gb", phase="train", batch=8, dtype="amp")
    assert mixed.flops == full.flops
    assert mixed.memory.by_class["activations"] < full.memory.by_class["activations"]
    casts = [row for row in mixed.ops if row.name.endswith("weight.cast")]
    back = [row for row in mixed.ops if row.name.endswith("weight.cast.backward")]
    assert sum(row.count for row in casts) == sum(row.count for row in back) > 40
