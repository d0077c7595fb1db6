"""Networks of the literature whose graphs are carried: sizes as their papers state them, and found by name."""

from __future__ import annotations

import pytest

from speedlight import explain
from speedlight._foundation.errors import Unsupported
from speedlight._foundation.expr import evaluate
from speedlight.frontends.carried.networks import network, network_names
from speedlight.frontends.source import load_graph
from speedlight.graph import stats
from speedlight.graph.grammar import check

# Parameters in millions and multiply-adds in billions, as the papers' own tables have them.
STATED = {
    "hardnet-68": (17.6, 4.3), "hardnet-85": (36.7, 9.1), "fc-densenet-103": (9.4, None), "mobilenet-v2-1.3": (5.3, 0.509),
    "fbnet-a": (4.3, 0.249),
}  # fmt: skip


@pytest.mark.parametrize("name", network_names())
def test_every_graph_is_sound(name: str) -> None:
    graph = load_graph(name)
    assert check(graph) is graph
    assert graph.attrs["kind"] == "module"
    assert any(op.kind == "conv" for _, op in graph.ops())


@pytest.mark.parametrize("name", STATED)
def test_sizes_are_those_of_the_papers(name: str) -> None:
    graph = load_graph(name)
    params, work = STATED[name]
    assert stats.parameters(graph) / 1e6 == pytest.approx(params, rel=0.02)
    if work is not None:
        flops = sum(evaluate(op.flops("matmul") * b.count, {"batch": 1}) for b, op in graph.ops())
        assert flops / 2e9 == pytest.approx(work, rel=0.03)


def test_names_and_refusals() -> None:
    assert network("no-such-network") is None
    with pytest.raises(Unsupported, match="--input"):
        load_graph("hardnet-68", ("1x3x256x256",))
    answer = explain("linknet", "t4", batch=2, dtype="fp16")
    assert answer.model["id"] == "linknet"
    assert answer.throughput["unit"] == "samples/s"
