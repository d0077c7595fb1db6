"""The grammar catches what it says: each rule is broken once here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from speedlight._foundation.expr import const, sym
from speedlight.graph.builder import TOKENS, BlockBuilder
from speedlight.graph.grammar import RULES, GrammarError, check
from speedlight.graph.ir import Block, Dim, Exchange, Graph, Operand, Persistent, Tensor, Work


def graph() -> Graph:
    b = BlockBuilder("layer", count=2)
    x = b.input("x", TOKENS * 8)
    y = b.linear("up", x, sym("ffn"), 8, exchanges=[("gather", ("ffn",))])
    b.elementwise("act", "silu", [y], TOKENS * 8, out="z")
    head = BlockBuilder("embed")
    return Graph("g", (_embed(head), b.build(["z"])), dims={"ffn": Dim(16, "ffn")})


def _embed(b: BlockBuilder) -> Block:
    table = b.weight("table", 80)
    return b.build([b.embedding("lookup", table, TOKENS, 8)])


def on_block(change: Callable[[Block], Block]) -> Callable[[Graph], Graph]:
    return lambda g: g.replace(blocks=(g.blocks[0], change(g.blocks[1])))


def on_op(index: int, **changes: Any) -> Callable[[Graph], Graph]:
    def change(block: Block) -> Block:
        ops = list(block.ops)
        ops[index] = dataclasses.replace(ops[index], **changes)
        return dataclasses.replace(block, ops=tuple(ops))

    return on_block(change)


def on_tensor(name: str, **changes: Any) -> Callable[[Graph], Graph]:
    def change(block: Block) -> Block:
        tensors = {**block.tensors, name: dataclasses.replace(block.tensors[name], **changes)}
        return dataclasses.replace(block, tensors=tensors)

    return on_block(change)


BREAKS: list[tuple[str, Callable[[Graph], Graph]]] = [
    ("names_are_unique", lambda g: g.replace(blocks=(g.blocks[1], g.blocks[1]))),
    ("names_are_unique", on_op(1, name="up")),
    ("names_are_unique", on_block(lambda b: dataclasses.replace(b, tensors={**b.tensors, "other": b.tensors["x"]}))),
    ("vocabulary_is_known", on_op(0, kind="dance")),
    ("vocabulary_is_known", on_op(0, phase="sideways")),
    ("vocabulary_is_known", on_op(0, work=(Work("matmul", const(1), "float13"),))),
    ("vocabulary_is_known", on_tensor("x", cls="thing")),
    ("vocabulary_is_known", on_tensor("x", dtype="float13")),
    ("operands_are_declared", on_op(0, reads=(Operand("nobody"),))),
    ("operands_are_declared", on_op(0, reads=(Operand("z"),))),
    ("operands_are_declared", on_op(0, reads=(Operand("x", access="sideways"),))),
    ("operands_are_declared", on_block(lambda b: dataclasses.replace(b, outputs=("never",)))),
    ("blocks_join", on_block(lambda b: dataclasses.replace(b, inputs=("x", "z"), outputs=("x", "z")))),
    ("blocks_join", on_block(lambda b: dataclasses.replace(b, outputs=("z", "up.out")))),
    ("symbols_are_bound", on_op(0, span=sym("mystery"))),
    ("symbols_are_bound", on_tensor("x", elements=sym("mystery"))),
    ("persistents_are_whole", on_tensor("up.weight", persistent=None)),
    ("persistents_are_whole", on_tensor("up.weight", persistent=Persistent(const(1), homes=(("main", 0.5),)))),
    ("messages_are_collectives", on_op(0, kind="collective")),
    ("messages_are_collectives", on_op(0, exchanges=(Exchange("shout", ("ffn",), "up.out"),))),
    ("messages_are_collectives", on_op(0, exchanges=(Exchange("reduce", ("nothing",), "up.out"),))),
]  # fmt: skip


def test_a_sound_graph_passes() -> None:
    assert check(graph()).name == "g"


@pytest.mark.parametrize(("rule", "break_it"), BREAKS, ids=[f"{r}-{i}" for i, (r, _) in enumerate(BREAKS)])
def test_each_rule_fails_when_broken(rule: str, break_it: Callable[[Graph], Graph]) -> None:
    with pytest.raises(GrammarError, match=rule):
        check(break_it(graph()))


def test_every_rule_is_broken_once() -> None:
    assert {r.__name__ for r in RULES} == {rule for rule, _ in BREAKS}


def test_a_tensor_of_no_elements_is_still_a_tensor() -> None:
    assert Tensor("t", const(0), "bf16").bytes == 0
