"""The module tree and its bottlenecks: sums, and what a layer takes without what binds it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings

import speedlight
from tests.strategies import Question, questions

OVERHEADS = ("launch", "latency", "tile_waste")


def tree_laws(p: Any) -> None:
    """Parts sum to the whole, and a layer without its bound lies between its time and the limit of what is left."""
    ranked = [layer for layer in p.layers if layer.rank]
    assert sorted(layer.rank for layer in ranked) == list(range(1, len(ranked) + 1))
    times = [layer.time for layer in sorted(ranked, key=lambda layer: layer.rank)]
    assert times == sorted(times, reverse=True)
    assert math.fsum(times) == pytest.approx(p.time, rel=1e-9)
    assert math.fsum(layer.share for layer in ranked) == pytest.approx(1.0)
    assert sorted(i for layer in ranked for i in layer.rows) == list(range(len(p.ops)))
    open_nodes: list[Any] = []
    sums: dict[int, float] = {}
    for layer in p.layers:
        assert layer.depth <= len(open_nodes)
        del open_nodes[layer.depth :]
        if open_nodes:
            parent = id(open_nodes[-1])
            sums[parent] = sums.get(parent, 0.0) + layer.time
        open_nodes.append(layer)
    nodes = {id(layer): layer for layer in p.layers}
    for node, total in sums.items():
        assert total == pytest.approx(nodes[node].time, rel=1e-9)
    for layer in p.layers:
        rows = [p.ops[i] for i in layer.rows]
        assert layer.time == pytest.approx(sum(row.time for row in rows), rel=1e-9)
        assert layer.limit <= sum(row.limit for row in rows) * (1 + 1e-9)
        assert layer.limit <= layer.time * (1 + 1e-9)
        assert 0 <= layer.if_unbound <= layer.time * (1 + 1e-12)
        if layer.bound in OVERHEADS:  # they are no part of the limit
            assert layer.if_unbound >= layer.limit * (1 - 1e-9)
        if layer.time:
            assert layer.why


@given(questions())
@settings(max_examples=25)
def test_layers_of_any_question(question: Question) -> None:
    tree_laws(speedlight.explain(question.model, question.machine, **question.options))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("resnet50", {"batch": 256, "dtype": "amp", "layout": "nhwc"}),
        ("resnet50", {"batch": 1}),
        ("vit_base_patch16_224", {"batch": 32, "stack": "torch-compile"}),
        ("convnext_tiny", {"batch": 64, "phase": "train"}),
    ],
)
def test_layers_of_modules(model: str, options: dict[str, Any]) -> None:
    tree_laws(speedlight.explain(model, "a100-pcie-40gb", **options))


@pytest.mark.parametrize(
    ("machine", "bound", "figure", "least"),
    [("v100-pcie-16gb", "hbm", "tiers.hbm.bandwidth", 20), ("h100-pcie-80gb", "cache", "tiers.l2.bandwidth", 5)],
)
def test_without_a_resource_is_with_an_endless_one(machine: str, bound: str, figure: str, least: int) -> None:
    """Where times are analytic, a layer without its bound takes what the machine without that bound would."""
    asked: dict[str, Any] = {"batch": 8, "stack": "llama.cpp"}  # a stack whose kernels have no fit
    before = speedlight.explain("resnet50", machine, **asked)
    after = speedlight.explain("resnet50", machine, **asked, overrides={figure: 1e30})
    assert [row.name for row in before.ops] == [row.name for row in after.ops]
    seen = 0
    for layer in before.layers:
        if layer.rank and layer.bound == bound and len(layer.rows) == 1:
            assert layer.if_unbound == pytest.approx(after.ops[layer.rows[0]].time, rel=1e-9)
            seen += 1
    assert seen >= least


def test_a_wait_for_the_host_is_gone_without_launches() -> None:
    p = speedlight.explain("resnet50", "h100-sxm-80gb", batch=1, stack="torch-eager")
    waits = [layer for layer in p.layers if layer.bound == "launch" and layer.rank]
    assert waits
    assert all(layer.if_unbound == 0 for layer in waits)


def test_depthwise_convolutions_are_bound_by_bandwidth() -> None:
    """ConvNeXt's cost beyond its FLOPs: what stands around its products moves more than it computes."""
    p = speedlight.explain("convnext_tiny", "a100-pcie-40gb", batch=256, dtype="amp", layout="nhwc")
    first = next(layer for layer in p.layers if layer.path.endswith("stages.0.blocks.*.conv_dw"))
    assert first.bound == "hbm"
    assert "memory bandwidth" in first.why
    assert first.if_unbound < 0.8 * first.time


def test_json_says_what_the_record_says() -> None:
    p = speedlight.explain("resnet50", "a100-pcie-40gb", batch=8)
    said = p.to_dict()["layers"]
    assert [row["path"] for row in said] == [layer.path for layer in p.layers]
    assert set(said[0]) == {
        "path", "name", "section", "depth", "rank", "count", "time", "share", "limit", "bound", "why", "if_unbound", "then",
    }  # fmt: skip
    assert "layers" not in p.to_dict(ops=False)
