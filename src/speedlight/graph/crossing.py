"""What crosses a cut of a network: at every place between two ops, the tensors that are made before it and needed behind it.

Skip connections, inputs that are read again and results that are handed out count as long as somebody behind the cut, or the
caller, still needs them; weights and caches stay where they are used. Places are numbered as in :mod:`.rewrite.stretch`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value
from .._foundation.expr import Expr, compile_tape
from .ir import Block, Graph, Tensor

PLACE = "place"  # the attribute under which an op carries its number in its block, through what a stack makes of it


def numbered(graph: Graph) -> Graph:
    """The graph with every op's number in its block as an attribute."""
    return graph.replace(
        blocks=tuple(
            dataclasses.replace(
                block,
                ops=tuple(dataclasses.replace(op, attrs={**op.attrs, PLACE: i}) for i, op in enumerate(block.ops)),
            )
            for block in graph.blocks
        )
    )


def numbers_of(block: Block) -> list[int]:
    """The number each of its ops carries; one that a stack added has that of the op before it."""
    found, last = [], 0
    for op in block.ops:
        last = max(last, int(op.attrs.get(PLACE, last)))
        found.append(last)
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """One place to cut at.

    Attributes:
        number: ops in front of it.
        block, instance, op: the op that would run next; the block's number, which of its instances, the op's number in it.
        name: of the op before, with the layer it belongs to; empty at the beginning.
    """

    number: int
    block: int
    instance: int
    op: int
    name: str


@dataclass(frozen=True, slots=True)
class Crossings:
    """Every place in front of an op that runs, and the one behind the last.

    Attributes:
        bytes: that cross at each, with the axes of the values' sweep behind the places'.
        tensors: how many tensors those are.
    """

    places: tuple[Place, ...]
    bytes: np.ndarray
    tensors: np.ndarray


def crossings(graph: Graph, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]] = ()) -> Crossings:
    """The tensors at every place of a numbered graph.

    Args:
        env, groups: values of all symbols; the instances of a block are as many at every point of a sweep.
    """
    sizes: list[Expr] = [block.count for block in graph.blocks]
    firsts: list[int] = []  # per block, where the counts of its ops stand
    rows: list[list[list[int]]] = []  # per block and op number: where the sizes of what is alive in front of it stand
    known: dict[Expr, int] = {}

    def slot(tensor: Tensor) -> int:
        if tensor.bytes not in known:
            known[tensor.bytes] = len(sizes)
            sizes.append(tensor.bytes)
        return known[tensor.bytes]

    for block in graph.blocks:
        firsts.append(len(sizes))
        sizes += [op.count for op in block.ops]
    for block in graph.blocks:
        rows.append([[slot(block.tensors[name]) for name in alive] for alive in _alive(block)])
    held = _held(graph)
    outside = [slot(tensor) for tensor, _, _ in held]
    found = compile_tape(sizes).run(env, groups)
    values = np.stack([np.asarray(v, dtype=float) for v in np.broadcast_arrays(*found)])
    counts = [round(float(np.max(v))) for v in values[: len(graph.blocks)]]
    places: list[Place] = []
    amount: list[np.ndarray] = []
    tensors: list[int] = []
    runs: list[bool] = []
    starts: list[int] = []
    before = ""
    for number, (block, count, alive) in enumerate(zip(graph.blocks, counts, rows, strict=True)):
        starts.append(len(places))
        names = _names(block)
        here = [False] * len(names)
        for op, at in zip(numbers_of(block), range(firsts[number], firsts[number] + len(block.ops)), strict=True):
            here[op] = here[op] or bool(np.any(values[at]))
        for instance in range(count):
            for op, there in enumerate(alive[:-1]):
                places.append(Place(len(places), number, instance, op, before))
                amount.append(values[there].sum(axis=0))
                tensors.append(len(there))
                runs.append(here[op])
                before = _called(block, names[op], instance) if here[op] else before
    places.append(Place(len(places), len(graph.blocks), 0, 0, before))
    amount.append(values[rows[-1][-1] if rows else []].sum(axis=0))
    tensors.append(len(rows[-1][-1]) if rows else 0)
    runs.append(True)
    sent, together = np.stack(amount), np.array(tensors)
    for at, (_, first, last) in zip(outside, held, strict=True):
        begin = 0 if first is None else _place(graph, starts, counts, *first, final=False) + 1
        end = _place(graph, starts, counts, *last, final=True) + 1
        sent[begin:end] += values[at]
        together[begin:end] += 1
    kept = np.flatnonzero(runs)
    return Crossings(tuple(places[i] for i in kept), sent[kept], together[kept])


def _called(block: Block, name: str, instance: int) -> str:
    """An op of one instance of a block: ``layer1.2.conv3`` where the network's own names say so, else the block and its number."""
    if block.count.constant == 1:
        return name
    layer = block.layers[instance] if block.layers else instance
    return name.replace("*", str(layer)) if "*" in name else f"{block.name}.{layer}.{name}"


def _place(graph: Graph, starts: list[int], counts: list[int], block: int, op: int, *, final: bool) -> int:
    """The place in front of an op, of the block's first or last instance."""
    each = max(numbers_of(graph.blocks[block]), default=-1) + 1
    return starts[block] + op + ((counts[block] - 1) * each if final else 0)


def _names(block: Block) -> list[str]:
    """By number, the op that was there before a stack added others."""
    found: dict[int, str] = {}
    for op, number in zip(block.ops, numbers_of(block), strict=True):
        found.setdefault(number, op.name)
    return [found[number] for number in sorted(found)]


def _crosses(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.persistent is None and tensor.cls in ("activation", "input")


def _alive(block: Block) -> list[list[str]]:
    """By number of the op that runs next, and behind the last: the block's own tensors that are made and still needed."""
    numbers = numbers_of(block)
    made: dict[str, int] = {name: -1 for name in block.inputs if _crosses(block.tensors.get(name))}
    needed: dict[str, int] = {}
    for op, number in zip(block.ops, numbers, strict=True):
        for read in op.reads:
            tensor = block.tensors.get(read.tensor)
            if _crosses(tensor):
                needed[read.tensor] = number
                if tensor is not None and tensor.cls == "input":
                    made.setdefault(read.tensor, -1)
        for write in op.writes:
            if _crosses(block.tensors.get(write.tensor)):
                made.setdefault(write.tensor, number)
    behind = max(numbers, default=-1) + 1
    for name in block.outputs:
        if name in made:
            needed[name] = behind
    return [[n for n, at in made.items() if at < place <= needed.get(n, -2)] for place in range(behind + 1)]


def _held(graph: Graph) -> list[tuple[Tensor, tuple[int, int] | None, tuple[int, int]]]:
    """Tensors that several blocks share and that cross: (tensor, the op that makes it or None for what is handed in, its last reader)."""
    made: dict[str, tuple[int, int] | None] = {
        name: None for name, tensor in graph.shared.items() if tensor.cls == "input" and _crosses(tensor)
    }
    last: dict[str, tuple[int, int]] = {}
    for number, block in enumerate(graph.blocks):
        for op, place in zip(block.ops, numbers_of(block), strict=True):
            for write in op.writes:
                if write.tensor in graph.shared and _crosses(graph.shared[write.tensor]):
                    made.setdefault(write.tensor, (number, place))
            for read in op.reads:
                if read.tensor in graph.shared:
                    last[read.tensor] = (number, place)
    return [(graph.shared[name], first, last[name]) for name, first in made.items() if name in last]


__all__ = ["PLACE", "Crossings", "Place", "crossings", "numbered", "numbers_of"]
