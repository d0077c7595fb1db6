"""Activations that wait for the backward pass: when they come and go, block by block.

Forward, a block's saved tensors come as its ops make them (what it takes in is there from the start), on top of those of all blocks
before it and of its own earlier instances. Backward they go as the last op that reads them is done: the same sums, the other way
round. So the peak of a training step is wherever the two together are largest, not the largest live set on top of everything saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._foundation.expr import Expr, total
from ..graph.ir import Block, Graph


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one block's instance holds for the backward pass while each of its ops runs.

    Attributes:
        mirrored: name of the forward block it belongs to.
        start: sizes of what is there when its first op starts.
        came, went: per op, sizes that it makes, and that nobody needs after it.
    """

    mirrored: str
    start: tuple[Expr, ...]
    came: tuple[tuple[Expr, ...], ...]
    went: tuple[tuple[Expr, ...], ...]


def of_instance(graph: Graph, block: Block) -> Expr:
    """Bytes one instance of a forward block saves."""
    return total(block.tensors[name].bytes for name in _names(graph, block.name) if name in block.tensors)


def waiting(graph: Graph, block: Block) -> Waiting:
    """See :class:`Waiting`; nothing waits in an optimizer or in inference."""
    mirrored: str = graph.attrs.get("mirrors", {}).get(block.name, block.name)
    names = [name for name in _names(graph, mirrored) if name in block.tensors]
    backward = block.phase == "backward"
    came: list[list[str]] = [[] for _ in block.ops]
    went: list[list[str]] = [[] for _ in block.ops]
    touched = _last_read(block, names) if backward else _first_write(block, names)
    for name, index in touched.items():
        (went if backward else came)[index].append(name)
    start = [n for n in names if n in touched] if backward else [n for n in names if n not in touched]

    def sizes(chosen: Sequence[Sequence[str]]) -> tuple[tuple[Expr, ...], ...]:
        return tuple(tuple(block.tensors[n].bytes for n in group) for group in chosen)

    return Waiting(mirrored, sizes([start])[0], sizes(came), sizes(went))


def _names(graph: Graph, block: str) -> tuple[str, ...]:
    saved: Mapping[str, tuple[str, ...]] = graph.attrs.get("saved", {})
    return saved.get(block, ())


def _first_write(block: Block, names: Sequence[str]) -> dict[str, int]:
    wanted, found = set(names), dict[str, int]()
    for index, op in enumerate(block.ops):
        for operand in op.writes:
            if operand.tensor in wanted:
                found.setdefault(operand.tensor, index)
    return found


def _last_read(block: Block, names: Sequence[str]) -> dict[str, int]:
    wanted, found = set(names), dict[str, int]()
    for index, op in enumerate(block.ops):
        for operand in op.reads:
            if operand.tensor in wanted:
                found[operand.tensor] = index
    return found
