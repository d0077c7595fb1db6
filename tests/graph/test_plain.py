"""Graphs written as plain data come back equal, and nothing else comes in."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile
from speedlight._foundation.expr import Expr, ceildiv, const, ge, group_sum, maximum, minimum, sym, where
from speedlight.frontends.source import load_graph
from speedlight.graph.backward import add_optimizer, differentiate
from speedlight.graph.builder import BlockBuilder
from speedlight.graph.ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from speedlight.graph.plain import _read_expr, _write_expr, from_plain, to_plain

_leaves = st.one_of(
    st.integers(-(2**40), 2**40).map(const), st.floats(-1e12, 1e12).map(const), st.sampled_from("abc").map(sym)
)
_expressions = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, inner).map(lambda p: ceildiv(p[0], p[1])),
        st.tuples(inner, inner).map(lambda p: minimum(p[0], maximum(p[1], 3))),
        st.tuples(inner, inner, inner).map(lambda p: where(ge(p[0], p[1]), p[2], 1)),
    ),
    max_leaves=12,
)


@given(_expressions)
def test_an_expression_comes_back_as_it_was(expression: Expr) -> None:
    again = _read_expr(json.loads(json.dumps(_write_expr(expression))))
    assert again == expression
    assert repr(again) == repr(expression)  # 2 stays 2 and 2.0 stays 2.0


def test_group_sums_come_back() -> None:
    expression = group_sum(sym("count") * sym("new"))
    assert _read_expr(json.loads(json.dumps(_write_expr(expression)))) == expression


@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v3", "bert-large", "bamba-9b"])
def test_a_graph_comes_back_as_it_was(name: str) -> None:
    _same(load_graph(name))


def test_so_does_a_training_step() -> None:
    _same(add_optimizer(differentiate(load_graph("bert-base")), "adamw"))


def _same(graph: Graph) -> None:
    again = from_plain(json.loads(json.dumps(to_plain(graph))))
    assert again.blocks == graph.blocks
    for part in ("shared", "dims", "symbols", "attrs"):
        assert dict(getattr(again, part)) == dict(getattr(graph, part))
        assert list(getattr(again, part)) == list(getattr(graph, part))  # order too
    assert again.name == graph.name


def test_facts_keep_their_types() -> None:
    facts = {"a": (1, (2.0, None)), "b": [True, "x"], "c": {"d": (1,)}, "e": sym("batch") * 2, "f": ()}
    again = from_plain(json.loads(json.dumps(to_plain(_small().replace(attrs=facts))))).attrs
    assert dict(again) == facts
    assert type(again["b"]) is list
    assert type(again["a"]) is tuple


def _small() -> Graph:
    x, y = Tensor("x", sym("batch") * 4, "fp32", "input"), Tensor("y", sym("batch") * 4, "fp32")
    w = Tensor("w", const(16), "fp32", "weight", Persistent(const(16)))
    op = Op(
        name="fc", kind="matmul", fn="linear", reads=(Operand("x"), Operand("w")), writes=(Operand("y"),),
        work=(Work("matmul", sym("batch") * 32, "fp32"),), dims={"m": sym("batch")},
    )  # fmt: skip
    return Graph("small", (Block("model", (op,), {"w": w, "y": y}, outputs=("y",)),), {"x": x}, symbols={"batch": 1})


@pytest.mark.parametrize(
    "break_it",
    [
        lambda d: d.update(schema=99),
        lambda d: d.update(blocks=7),
        lambda d: d.pop("symbols"),
        lambda d: d["blocks"][0]["ops"][0].update(kind="magic"),
        lambda d: d["blocks"][0]["ops"][0].update(surprise=1),
        lambda d: d["blocks"][0]["ops"][0].update(name=3),
        lambda d: d["blocks"][0]["ops"][0]["reads"][0].update(tensor="nobody"),
        lambda d: d["blocks"][0]["ops"][0]["dims"].update(m=["mul", "batch"]),
        lambda d: d["blocks"][0]["ops"][0]["dims"].update(m=["exec", "batch", 1]),
        lambda d: d["blocks"][0]["ops"][0]["dims"].update(m=1e99),
        lambda d: d["blocks"][0]["ops"][0]["dims"].update(m=None),
        lambda d: d["blocks"][0]["ops"][0]["dims"].update(m=_deep(5000)),
        lambda d: d["blocks"][0]["tensors"][0].update(name="n" * 10_000),
        lambda d: d["blocks"][0]["tensors"][0].update(dtype="fp13"),
        lambda d: d["blocks"][0]["ops"].extend([{}] * 300_000),
        lambda d: d.update(attrs={"a": {"call": "os.system"}}),
        lambda d: d.update(attrs={"a": {}}),
    ],
)
def test_anything_else_is_refused_in_one_sentence(break_it: Any) -> None:
    plain = json.loads(json.dumps(to_plain(_small())))
    from_plain(copy.deepcopy(plain))  # sound before it is broken
    break_it(plain)
    with pytest.raises(BadFile):
        from_plain(plain)


@pytest.mark.parametrize("junk", [None, 3, [], {}, "graph", {"schema": 1}])
def test_so_is_what_is_no_graph_at_all(junk: Any) -> None:
    with pytest.raises(BadFile):
        from_plain(junk)


def _deep(levels: int) -> Any:
    found: Any = "batch"
    for _ in range(levels):
        found = ["add", found, 1]
    return found


def test_an_attribute_that_is_no_plain_fact_is_our_bug() -> None:
    with pytest.raises(TypeError, match="BlockBuilder"):
        to_plain(_small().replace(attrs={"a": BlockBuilder.__new__(BlockBuilder)}))
