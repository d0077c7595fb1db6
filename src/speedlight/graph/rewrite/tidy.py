"""What a compiler clears away before it fuses: results nobody reads, the same cast made twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..ir import Block, Graph, Op, Operand
from .registry import REWRITES


@REWRITES.register("drop_unread")
def drop_unread(graph: Graph) -> Graph:
    """Results that nobody reads are not written, ops without results do not run (indices of pooling, rows' statistics).

    Only in captured modules, which say what they return; messages and what is kept between steps stay.
    """
    if graph.attrs.get("kind") != "module" or not graph.blocks[-1].outputs:
        return graph
    blocks = tuple(_used(graph, block) if block.phase == "forward" else block for block in graph.blocks)
    if any(block.phase != "forward" for block in graph.blocks):
        return graph  # a backward pass reads what its forward pass left
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=blocks)


def _used(graph: Graph, block: Block) -> Block:
    wanted = set(block.outputs)
    ops: list[Op] = []
    changed = False
    for op in reversed(block.ops):
        writes = tuple(
            w for w in op.writes if w.tensor in wanted or graph.tensor(block, w.tensor).persistent is not None
        )
        if not writes and op.writes and op.kind != "collective":
            changed = True
            continue
        if len(writes) < len(op.writes):
            changed = True
            op = dataclasses.replace(op, writes=writes)
        wanted.update(r.tensor for r in op.reads)
        ops.append(op)
    return dataclasses.replace(block, ops=tuple(reversed(ops))) if changed else block


@REWRITES.register("merge_equal")
def merge_equal(graph: Graph, fns: Sequence[str] = ("cast", "contiguous", "to_channels_last")) -> Graph:
    """The same copy of the same tensor is made once a block.

    Args:
        fns: functions that are equal where they read the same.
    """
    merging = frozenset(fns)
    blocks = tuple(_merged(block, merging) if block.phase == "forward" else block for block in graph.blocks)
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=blocks)


def _merged(block: Block, fns: frozenset[str]) -> Block:
    known: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    ops: list[Op] = []
    for op in block.ops:
        op = _renamed(op, names)
        if op.fn in fns and len(op.reads) == 1 and len(op.writes) == 1 and op.writes[0].tensor not in block.outputs:
            result = block.tensors[op.writes[0].tensor]
            key = (op.fn, op.reads[0], result.dtype, result.elements, op.attrs.get("out_orders"))
            if key in known:
                names[op.writes[0].tensor] = known[key]
                continue
            known[key] = op.writes[0].tensor
        ops.append(op)
    return dataclasses.replace(block, ops=tuple(ops)) if names else block


def _renamed(op: Op, names: dict[str, str]) -> Op:
    if not any(r.tensor in names for r in op.reads):
        return op
    reads = tuple(
        Operand(names[r.tensor], r.elements, r.access, r.granule) if r.tensor in names else r for r in op.reads
    )
    return dataclasses.replace(op, reads=reads)


__all__ = ["drop_unread", "merge_equal"]
