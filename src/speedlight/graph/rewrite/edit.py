"""A block under way: a rewrite walks its ops and says what stands in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from ..._foundation.expr import Expr
from ..ir import Block, Graph, Op, Operand, Tensor

Visit = Callable[["Edit", Op], Iterable[Op]]


class Edit:
    """The block's tensors and the names taken; see :func:`edited`.

    Attributes:
        tensors: the block's own, changed as the rewrite goes.
    """

    def __init__(self, graph: Graph, block: Block) -> None:
        self.graph, self.block = graph, block
        self.tensors: dict[str, Tensor] = dict(block.tensors)
        self._ops = {op.name for op in block.ops}
        self._makers = {w.tensor: op for op in block.ops for w in op.writes}

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name] if name in self.tensors else self.graph.shared[name]

    def touched(self, operand: Operand) -> Expr:
        """Elements an operand covers."""
        return self.tensor(operand.tensor).elements if operand.elements is None else operand.elements

    def is_cast(self, name: str) -> bool:
        """Is it a weight in another format?"""
        maker = self._makers.get(name)
        return maker is not None and maker.fn == "cast" and self.tensor(maker.reads[0].tensor).cls != "activation"

    def activation(self, name: str, elements: Expr, dtype: str, needs_grad: bool = True) -> str:
        """A new activation under a name nobody has."""
        free, number = name, 1
        while free in self.tensors or free in self.graph.shared:
            number += 1
            free = f"{name}{number}"
        self.tensors[free] = Tensor(free, elements, dtype, "activation", None, needs_grad)
        return free

    def name(self, wanted: str) -> str:
        """An op's name that nobody has."""
        free, number = wanted, 1
        while free in self._ops:
            number += 1
            free = f"{wanted}{number}"
        self._ops.add(free)
        return free

    def op(self, name: str, kind: str, fn: str, like: Op, **fields: Any) -> Op:
        """A new op at another's place: its path, phase, count and engine."""
        return Op(
            name=self.name(name), kind=kind, fn=fn, path=like.path, phase=like.phase, count=like.count,
            engine=like.engine, participation=like.participation, period=like.period, **fields,
        )  # fmt: skip


def edited(graph: Graph, visit: Visit, blocks: Callable[[Block], bool] | None = None) -> Graph:
    """Every op replaced by what ``visit`` makes of it; the same graph where all of them stay.

    Args:
        visit: (the block under way, an op) → the ops in its place, the op itself to keep it.
        blocks: which blocks are walked; all by default.
    """
    made = []
    changed = False
    for block in graph.blocks:
        if blocks is not None and not blocks(block):
            made.append(block)
            continue
        edit = Edit(graph, block)
        ops = tuple(new for op in block.ops for new in visit(edit, op))
        if len(ops) == len(block.ops) and all(a is b for a, b in zip(ops, block.ops, strict=True)):
            made.append(block)
            continue
        changed = True
        made.append(dataclasses.replace(block, ops=ops, tensors=edit.tensors))
    return graph.replace(blocks=tuple(made)) if changed else graph


def with_reads(op: Op, found: dict[int, str]) -> Op:
    """The op with some reads (by position) taken whole from other tensors."""
    reads = tuple(
        Operand(found[i], reuse=r.reuse, path=r.path) if i in found else r for i, r in enumerate(op.reads)
    )  # fmt: skip
    return dataclasses.replace(op, reads=reads)
