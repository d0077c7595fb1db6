"""What a captured module's own code says about number formats: conversions that may do nothing, switches of its library.

A captured ``cast`` whose ``attrs["to"]`` is ``fp32`` or ``low`` is a conversion that the module calls: in fp32 it does nothing, in
a mixed-precision region it makes that format, or nothing where the tensor has it (:mod:`.autocast`). ``attrs["uncast"]`` marks
what the module runs with the region turned off; ``attrs["switch"]`` names a setting of its library that makes a function run
in the region's low format.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from ..ir import Block, Graph, Op, Operand
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("switched")
def switched(graph: Graph, switch: str) -> Graph:
    """A library's setting is on: its functions take and give the region's low format; without a region nothing changes.

    Args:
        switch: its name, as the capture notes it (timm's ``fast_norm``).
    """

    def visit(edit: Edit, op: Op) -> tuple[Op, ...]:
        if op.attrs.get("switch") != switch or op.attrs.get("lower"):
            return (op,)
        return (dataclasses.replace(op, attrs={**op.attrs, "lower": True}),)

    return edited(graph, visit)


def noted(graph: Graph, switch: str, paths: Iterable[str]) -> Graph:
    """The graph with a library's switch noted on the ops of some modules.

    Args:
        switch: its name.
        paths: of the modules; a ``*`` stands for one part of a path (``blocks.*.norm1``).
    """
    wanted = re.compile("|".join(re.escape(path).replace(r"\*", r"[^.]+") for path in paths) or "(?!)")

    def visit(edit: Edit, op: Op) -> tuple[Op, ...]:
        if op.attrs.get("switch") == switch or not wanted.fullmatch(op.path):
            return (op,)
        return (dataclasses.replace(op, attrs={**op.attrs, "switch": switch}),)

    return edited(graph, visit)


def settled(graph: Graph) -> Graph:
    """Conversions that do nothing are gone: what they read is read instead."""
    blocks = tuple(_settled(graph, block) for block in graph.blocks)
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=blocks)


def speaks(graph: Graph) -> bool:
    """Whether the module's code converts tensors by itself."""
    return any("to" in op.attrs for _, op in graph.ops() if op.fn == "cast")


def _settled(graph: Graph, block: Block) -> Block:
    instead: dict[str, Operand] = {}
    ops: list[Op] = []
    edit = Edit(graph, block)
    for op in block.ops:
        if any(r.tensor in instead for r in op.reads):
            op = dataclasses.replace(op, reads=_joined([_through(r, instead) for r in op.reads]))
        if op.fn == "cast" and "to" in op.attrs and len(op.reads) == 1 and len(op.writes) == 1:
            source, result = op.reads[0], op.writes[0].tensor
            if edit.tensor(source.tensor).dtype == edit.tensor(result).dtype and result not in block.outputs:
                instead[result] = source
                continue
        ops.append(op)
    if not instead:
        return block
    tensors = {name: tensor for name, tensor in block.tensors.items() if name not in instead}
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _through(read: Operand, instead: dict[str, Operand]) -> Operand:
    source = instead.get(read.tensor)
    if source is None:
        return read
    if read.elements is None:
        return dataclasses.replace(source, reuse=read.reuse, path=read.path)
    return dataclasses.replace(read, tensor=source.tensor)


def _joined(reads: list[Operand]) -> tuple[Operand, ...]:
    """Each tensor once: two operands that are one tensor without the conversion are read once, as captures count them."""
    found: dict[str, Operand] = {}
    for read in reads:
        known = found.get(read.tensor)
        if known is None or (known.elements is not None and read.elements is None):
            found[read.tensor] = read
    return tuple(found.values())


__all__ = ["noted", "settled", "speaks", "switched"]
