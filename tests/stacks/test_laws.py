"""Laws of rewrites and of fusion, over every net and every stack."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from speedlight._foundation.errors import BadInput, UnknownName
from speedlight.graph import stats
from speedlight.graph.grammar import check
from speedlight.graph.rewrite import REMODELS, REWRITES, rewrite
from speedlight.lowering.lower import lower
from speedlight.lowering.prepare import as_written, expanded
from speedlight.stacks.stack import load_stack, stack_files

from .nets import NETS, kernels, moved, multiplied, net, stack

# Of each stack the newest, on both kinds of machine, and the oldest eager one.
MODULE_STACKS = ["torch-eager@1.13", *(n + p for n in stack_files() if load_stack(n).expand for p in ("", "/cpu"))]
LISTS = dict(load_stack("torch-eager").autocast)
PARAMETERS: dict[str, dict[str, Any]] = {
    "switched": {"switch": "fast_norm"},
    "autocast": LISTS, "channels_last": {"always": True},
    "contiguous": {"rows": ["layer_norm"], "images": ["max_pool"], "matrices": ["linear"]},
}  # fmt: skip


@pytest.mark.parametrize("name", MODULE_STACKS)
@pytest.mark.parametrize("which", NETS)
def test_products_weights_and_results_survive_every_stack(which: str, name: str) -> None:
    graph = net(which)
    found = stack(name)
    written = as_written(graph, found)
    made = check(expanded(written, found))
    assert stats.parameters(made) == stats.parameters(graph)
    assert len(made.blocks[-1].outputs) == len(graph.blocks[-1].outputs)
    assert multiplied(kernels(graph, name)) == pytest.approx(multiplied(kernels(graph, "ideal")), rel=1e-12)


@pytest.mark.parametrize("rule", sorted(set(REWRITES) - REMODELS))
@pytest.mark.parametrize("which", NETS)
def test_a_rewrite_applied_twice_changes_nothing_more(which: str, rule: str) -> None:
    try:
        once = rewrite(net(which), rule, PARAMETERS.get(rule, {}))
    except BadInput as error:  # adapters for a net without linear layers
        pytest.skip(f"{rule} does not apply: {error.message}")
    twice = rewrite(once, rule, PARAMETERS.get(rule, {}))
    assert twice is once or [op for _, op in twice.ops()] == [op for _, op in once.ops()]


@pytest.mark.parametrize(
    "rule", sorted(set(REWRITES) - REMODELS - {"autocast", "rotate", "conv_layout", "channels_last"})
)
def test_a_graph_without_a_match_comes_back_itself(rule: str) -> None:
    once = rewrite(net("tokens"), rule, PARAMETERS.get(rule, {}))
    assert rewrite(once, rule, PARAMETERS.get(rule, {})) is once


@pytest.mark.parametrize("which", NETS)
@pytest.mark.parametrize("autocast", [None, "fp16"])
def test_fusion_moves_no_byte_more_and_runs_every_op_once(which: str, autocast: str | None) -> None:
    for name in ("torch-compile@2.9", "tensorrt@10"):
        if autocast and name == "tensorrt@10":
            continue
        found = load_stack(name)
        graph = expanded(as_written(net(which), found, autocast), found)
        apart = dataclasses.replace(found, loops=None)
        fused, single = (lower(graph, s) for s in (found, apart))
        for together, alone in zip(fused.blocks, single.blocks, strict=True):
            assert Counter(m for k in together.kernels for m in k.members) == Counter(
                m for k in alone.kernels for m in k.members
            )
            assert moved(list(together.kernels)) <= moved(list(alone.kernels)) * (1 + 1e-12)


@pytest.mark.parametrize("which", NETS)
@pytest.mark.parametrize("name", ["torch-compile@2.9", "tensorrt@10", "onnxruntime@1.18"])
def test_fused_kernels_run_after_what_they_read_was_written(which: str, name: str) -> None:
    found = load_stack(name)
    program = lower(as_written(net(which), found), found)
    for block in program.blocks:
        written: set[str] = set()
        everything = {a.tensor for k in block.kernels for a in k.accesses if a.write}
        for kernel in block.kernels:
            reads = {a.tensor for a in kernel.accesses if not a.write and a.cls == "activation"}
            assert reads & everything <= written, kernel.name
            written |= {a.tensor for a in kernel.accesses if a.write}


def test_rotated_layers_are_the_same_layers() -> None:
    for which in NETS:
        before = net(which)
        after = rewrite(before, "rotate")
        assert stats.parameters(after) == stats.parameters(before)
        assert Counter(_all(after)) == Counter(_all(before))


def _all(graph: Any) -> list[str]:
    """The function of every op, those of folded blocks as often as they stand."""
    return [op.fn for b in graph.blocks for _ in range(int(b.count.constant or 1)) for op in b.ops]


def test_a_layer_that_hands_on_another_format_than_it_took_leaves_the_fold() -> None:
    graph = rewrite(net("repeated"), "autocast", LISTS)
    layers = [b for b in graph.blocks if b.name.startswith("layers")]
    assert [int(b.count.constant or 0) for b in layers] == [1, 4]
    assert [b.tensors[b.inputs[0]].dtype for b in layers] == ["fp16", "fp32"]
    assert stats.parameters(graph) == stats.parameters(net("repeated"))


def test_unknown_rules_and_parameters_are_refused() -> None:
    with pytest.raises(UnknownName):
        rewrite(net("conv"), "make_it_fast")
    with pytest.raises(BadInput, match="autocast"):
        rewrite(net("conv"), "autocast", {"towards": "fp16"})
    with pytest.raises(BadInput, match="int8"):
        rewrite(net("conv"), "autocast", {"to": "int8", **LISTS})
