"""Training runs batch norms with statistics of the batch, whatever mode a module was captured in."""

from __future__ import annotations

import pytest

from speedlight.frontends.source import load_graph
from speedlight.graph.backward import differentiate
from speedlight.graph.grammar import check
from speedlight.graph.ir import Graph, Op
from speedlight.graph.rewrite import rewrite


def norms(graph: Graph, fn: str = "batch_norm") -> list[Op]:
    return [op for _, op in graph.ops() if op.fn == fn]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load_graph("resnet18", ("1x3x224x224",))


def test_statistics_take_a_pass_of_their_own(graph: Graph) -> None:
    """A norm reads x for mean and variance, and x again to normalise it."""
    made = check(rewrite(graph, "batch_statistics"))
    assert len(norms(made)) == len(norms(graph)) > 10
    for before, after in zip(norms(graph), norms(made), strict=True):
        assert after.reads[0].reuse.constant == 2 * before.reads[0].reuse.constant == 2
        assert after.attrs["training"]
        assert len(after.writes) == len(before.writes) + 4  # kept: mean, scale; moved: the running ones
    assert rewrite(made, "batch_statistics") is made


def test_its_gradient_reads_input_and_gradient_twice(graph: Graph) -> None:
    """Sums over the batch first, then dx (cuDNN and ATen alike)."""
    backward = differentiate(rewrite(graph, "batch_statistics"))
    check(backward)
    for op in norms(backward, "batch_norm_backward"):
        dy, x = op.reads[:2]
        assert dy.reuse.constant == 2
        assert x.reuse.constant == 2


def test_evaluation_stays_as_it_was(graph: Graph) -> None:
    backward = differentiate(graph)
    assert all(op.reads[0].reuse.constant == 1 for op in norms(backward, "batch_norm_backward"))
