"""Layers on pipeline stages: none lost, none twice, arrays as their points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.frontends.source import load_graph
from speedlight.placement.check import refuse
from speedlight.placement.stages import deal, deal_complaints, places
from speedlight.scenario.scenario import Parallel

MODELS = ["llama-3.1-8b", "deepseek-v3", "gemma-3-12b"]


def layers_of(shares: dict[str, float], cut: object) -> float:
    positions = cut.positions  # type: ignore[attr-defined]
    return sum(shares[n] * len(p) for n, p in positions.items() if 0 <= p[0] < cut.layers)  # type: ignore[attr-defined]


@given(st.sampled_from(MODELS), st.integers(1, 12), st.integers(1, 3))
def test_every_instance_lies_on_one_rank(model: str, pp: int, virtual: int) -> None:
    graph = load_graph(model)
    cut = deal(graph, Parallel(pp=pp), virtual)
    for name in cut.positions:
        assert sum(cut.rank(r)[name] for r in range(pp)) == pytest.approx(1.0)
        assert sum(count * row[name] for count, row in cut.classes()) == pytest.approx(1.0)
    each = [layers_of(cut.piece(j), cut) for j in range(pp * virtual)]  # type: ignore[arg-type]
    assert max(each) - min(each) <= 1.0 + 1e-9
    assert min(each) >= 1.0 or pp * virtual > cut.layers


@given(st.integers(2, 16))
def test_embedding_first_head_last(pp: int) -> None:
    cut = deal(load_graph("llama-3.1-8b"), Parallel(pp=pp))
    assert cut.piece(0)["embed"] == 1.0
    assert cut.piece(pp - 1)["head"] == 1.0
    assert all(cut.piece(j)["embed"] == 0.0 == cut.piece(j - 1)["head"] for j in range(1, pp))


def test_an_array_is_its_points() -> None:
    graph = load_graph("deepseek-v3")
    pp, virtual = np.array([1, 2, 4, 5, 8, 16]), np.array([1, 3, 2, 1, 7, 1])
    cut = deal(graph, Parallel(pp=pp), virtual)
    rows = list(cut.some_ranks())
    for at in range(pp.size):
        alone = deal(graph, Parallel(pp=int(pp[at])), int(virtual[at]))
        for rank, row in rows:
            number = int(np.ravel(rank)[at]) if np.ndim(rank) else int(rank)
            expected = alone.rank(number)
            for name in cut.positions:
                assert np.ravel(np.broadcast_to(row[name], pp.shape))[at] == pytest.approx(expected[name])


def test_stated_ends_and_stated_stages() -> None:
    graph = load_graph("llama-3.1-8b")
    ends = deal(graph, Parallel(pp=4, first=7, last=5))
    assert [32 * ends.piece(j)["layers"] for j in range(4)] == [7, 10, 10, 5]
    hand = deal(graph, Parallel(pp=4, stages=(9, 8, 8, 7)))
    assert [32 * hand.piece(j)["layers"] for j in range(4)] == [9, 8, 8, 7]


def test_a_module_is_cut_between_its_blocks() -> None:
    positions, layers = places(load_graph("vit-base"))
    assert layers == 12
    assert min(min(p) for p in positions.values()) == -1.0


@pytest.mark.parametrize(
    ("parallel", "virtual", "says"),
    [
        (Parallel(pp=33), 1, "32 layers"), (Parallel(pp=16), 3, "32 layers"), (Parallel(pp=2, stages=(16, 15)), 1, "31 layers"),
        (Parallel(pp=3, first=31, last=1), 1, "leave"), (Parallel(pp=2, first=3, last=3), 1, "leave"),
    ],
)  # fmt: skip
def test_stages_without_layers_are_refused(parallel: Parallel, virtual: int, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        refuse(deal_complaints(load_graph("llama-3.1-8b"), parallel, virtual))
