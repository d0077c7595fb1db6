"""Detection heads capture as ops: nothing of them is unknown, and they train."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")

from speedlight.frontends.torch_export import capture
from speedlight.graph.backward import differentiate
from speedlight.graph.stats import parameters

from .detectors import Dense, Queries


def test_dense_heads_with_suppression_and_regions() -> None:
    graph = capture(Dense, ["2x3x128x128"], quick=True)
    assert graph.attrs["unknown_ops"] == ()
    assert parameters(graph) == sum(p.numel() for p in Dense().parameters())
    kinds = Counter(op.kind for _, op in graph.ops())
    assert kinds["sort"] == 1
    assert kinds["gather"] >= 2  # the best boxes, and samples of features
    functions = {op.fn for _, op in graph.ops()}
    assert {"topk", "gather", "grid_sample"} <= functions
    assert differentiate(graph).attrs["saved"]


def test_object_queries() -> None:
    graph = capture(Queries, ["2x3x128x128"], quick=True)
    assert graph.attrs["unknown_ops"] == ()
    assert parameters(graph) == sum(p.numel() for p in Queries().parameters())
    assert (
        sum(1 for _, op in graph.ops() if op.kind == "attention") >= 3
    )  # folded: encoder, decoder on itself and on the image
    assert differentiate(graph).attrs["saved"]
