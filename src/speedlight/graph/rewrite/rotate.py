"""Repeated layers cut at their first product, so that what meets across layers stands side by side.

A layer is mostly glue, product, glue, …, glue: a compiler fuses the last glue of one layer with the first of the next. In a
fold these are the end and the beginning of one block. With P the ops before the layer's first product and S the rest,

    (P S) × n   =   P · (S P) × (n − 1) · S

is the same sequence, and every neighbour is in sight. What stands once is joined with its neighbours that stand once.

Law: parameters, FLOPs, bytes and numbers of ops are as before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from ..._foundation.expr import const
from ..ir import Block, Graph, Op, Operand, Tensor, named_apart
from .registry import REWRITES

PRODUCTS = ("matmul", "conv", "attention", "moe", "scan")


@REWRITES.register("rotate")
def rotate(graph: Graph, cut_before: Collection[str] = PRODUCTS) -> Graph:
    """See the module docstring; graphs with a backward pass, whose blocks mirror each other, stay as they are.

    Args:
        cut_before: kinds of ops that nothing fuses across.
    """
    if graph.attrs.get("rotated") or any(b.phase != "forward" for b in graph.blocks):
        return graph
    kinds = frozenset(cut_before)
    pieces: list[Block] = []
    for position, block in enumerate(graph.blocks):
        after = graph.blocks[position + 1 : position + 2]
        pieces += _cut(block, kinds, glued=any(b.ops and b.ops[0].kind not in kinds for b in after))
    joined: list[Block] = []
    for block in pieces:
        if joined and _once(joined[-1]) and _once(block):
            joined[-1] = _joined(joined[-1], block)
        else:
            joined.append(block)
    if len(joined) == len(graph.blocks) and all(a is b for a, b in zip(joined, graph.blocks, strict=True)):
        return graph
    return graph.replace(blocks=tuple(named_apart(joined)), attrs={**graph.attrs, "rotated": True})


def _once(block: Block) -> bool:
    return block.count.constant == 1


def _cut(block: Block, kinds: Collection[str], *, glued: bool) -> list[Block]:
    """P, (S P) × (n − 1), S; the block itself where it stands once.

    Of one that begins with a product only the last instance is set apart, if glue follows it (``glued``).
    """
    count = block.count.constant
    start = next((i for i, op in enumerate(block.ops) if op.kind in kinds), len(block.ops))
    if not isinstance(count, int) or count < 2 or start == len(block.ops):
        return [block]
    if start == 0:
        if not glued or block.ops[-1].kind in kinds or _unused(block):
            return [block]
        first = dataclasses.replace(block, count=const(count - 1), layers=block.layers[:-1])
        return [first, dataclasses.replace(block, name=f"{block.name}.last", count=const(1), layers=block.layers[-1:])]
    if any(op.selection is not None and op.selection.layers for op in block.ops) or len(block.inputs) != len(
        block.outputs
    ):
        return [block]
    before, after = block.ops[:start], block.ops[start:]
    if _kept(block, before) & _kept(block, after) or _unused(block):
        return [block]  # a weight of both parts would be kept twice, one of neither nowhere
    made = {w.tensor for op in before for w in op.writes if _is_made(block, w.tensor)}
    wanted = {r.tensor for op in after for r in op.reads} | set(block.outputs)
    live = [
        n for n in dict.fromkeys([*block.inputs, *_written(before)]) if n in wanted and (n in made or n in block.inputs)
    ]
    following = dict(zip(block.inputs, block.outputs, strict=True))
    names = _next_names(block, before, following)
    second = [_renamed(op, names) for op in before]
    tensors = dict(block.tensors)
    for old, new in names.items():
        if old in following:
            continue  # handed over by the instance before
        tensors[new] = dataclasses.replace(block.tensors[old], name=new)
    handed = [names.get(n, n) for n in live]
    if len(set(handed)) != len(handed) or len(set(block.outputs)) != len(block.outputs):
        return [block]
    middle_own = _own(tensors, (*after, *second), (*live, *handed))
    head = Block(
        f"{block.name}.first", before, _own(block.tensors, before, (*block.inputs, *live)), const(1), block.inputs,
        tuple(live), block.layers[:1], block.phase,
    )  # fmt: skip
    middle = Block(
        block.name,
        (*after, *second),
        middle_own,
        const(count - 1),
        tuple(live),
        tuple(handed),
        block.layers[1:],
        block.phase,
    )
    tail = Block(
        f"{block.name}.last", after, _own(block.tensors, after, (*live, *block.outputs)), const(1), tuple(live),
        block.outputs, block.layers[-1:], block.phase,
    )  # fmt: skip
    return [head, middle, tail]


def _kept(block: Block, ops: Iterable[Op]) -> set[str]:
    used = {o.tensor for op in ops for o in (*op.reads, *op.writes)}
    return {n for n in used if n in block.tensors and block.tensors[n].persistent is not None}


def _unused(block: Block) -> set[str]:
    kept = {n for n, t in block.tensors.items() if t.persistent is not None}
    return kept - _kept(block, block.ops)


def _is_made(block: Block, name: str) -> bool:
    return name in block.tensors and block.tensors[name].persistent is None


def _written(ops: Iterable[Op]) -> list[str]:
    return [w.tensor for op in ops for w in op.writes]


def _next_names(block: Block, before: Iterable[Op], following: Mapping[str, str]) -> dict[str, str]:
    """Names that P's tensors have where P stands after S: the next instance's."""
    names = dict(following)
    for op in before:
        for operand in (*op.reads, *op.writes):
            name = operand.tensor
            if name in block.tensors and name not in names:
                names[name] = f"next.{name}"
    return names


def _renamed(op: Op, names: Mapping[str, str]) -> Op:
    def operand(o: Operand) -> Operand:
        return dataclasses.replace(o, tensor=names[o.tensor]) if o.tensor in names else o

    return dataclasses.replace(
        op, name=f"next.{op.name}", reads=tuple(map(operand, op.reads)), writes=tuple(map(operand, op.writes)),
        exchanges=tuple(dataclasses.replace(e, tensor=names.get(e.tensor, e.tensor)) for e in op.exchanges),
    )  # fmt: skip


def _own(tensors: Mapping[str, Tensor], ops: Iterable[Op], others: Iterable[str]) -> dict[str, Tensor]:
    used = [o.tensor for op in ops for o in (*op.reads, *op.writes)]
    return {n: tensors[n] for n in dict.fromkeys([*others, *used]) if n in tensors}


def _joined(first: Block, second: Block) -> Block:
    """Two blocks that stand once and follow each other as one."""
    names = dict(zip(second.inputs, first.outputs, strict=False))
    taken = set(first.tensors)
    for name in second.tensors:
        if name not in names:
            free, number = name, 1
            while free in taken:
                number += 1
                free = f"{name}@{number}"
            taken.add(free)
            if free != name:
                names[name] = free
    ops_taken = {op.name for op in first.ops}
    ops = []
    for op in second.ops:
        free, number = op.name, 1
        while free in ops_taken:
            number += 1
            free = f"{op.name}@{number}"
        ops_taken.add(free)
        ops.append(dataclasses.replace(_renamed(op, names), name=free))
    tensors = dict(first.tensors)
    for name, tensor in second.tensors.items():
        new = names.get(name, name)
        if name not in second.inputs:
            tensors[new] = dataclasses.replace(tensor, name=new)
    name = first.name if len(first.ops) >= len(second.ops) else second.name
    return Block(
        name, (*first.ops, *ops), tensors, const(1), first.inputs, tuple(names.get(n, n) for n in second.outputs),
        (*first.layers, *second.layers), first.phase,
    )  # fmt: skip


__all__ = ["rotate"]
