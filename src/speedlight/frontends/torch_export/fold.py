"""Folds equal consecutive layers of a captured graph into one block with a count.

A module path with a number in it (``layers.3.attn.q``) belongs to layer 3 of ``layers``. Consecutive layers fold when
their ops are equal up to the names of their own tensors, and when what a layer takes from outside is either the same
tensor for all of them (*invariant*: rotary tables, encoder states) or what its predecessor made in the same place
(*carried*: the hidden state). Anything else stays flat. Law: parameters, FLOPs, bytes and op counts are as before.

The ops around folded layers become blocks too. Blocks hand each other, position by position, every activation that is
still needed; a repeated block hands on as many as it takes, so that its instances chain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..._foundation.expr import const
from ...graph.ir import Block, Graph, Op, Operand, Tensor, named_apart
from .layers import Flow, Layer, Run, runs


def fold(graph: Graph) -> Graph:
    """The graph with equal consecutive layers folded; unchanged where nothing folds."""
    if len(graph.blocks) != 1 or graph.blocks[0].inputs:
        return graph
    block = graph.blocks[0]
    flow, found = runs(graph, block)
    if not found:
        return graph
    try:
        return _Assembly(graph, block, flow, found).build()
    except _Unfoldable:
        return graph


class _Unfoldable(Exception):
    """Blocks cannot be joined position by position."""


@dataclass(frozen=True)
class _Slot:
    """One position of what a repeated block takes and hands on: (tensor before, tensor after, names inside)."""

    entry: str
    exit: str
    taken: str
    handed: str


class _Assembly:
    """Cuts the flat block at the runs and joins the pieces."""

    def __init__(self, graph: Graph, block: Block, flow: Flow, runs: list[Run]) -> None:
        self.graph, self.block, self.flow = graph, block, flow
        self.pieces: list[tuple[int, int, Run | None]] = []
        position = 0
        for run in runs:
            if run.start > position:
                self.pieces.append((position, run.start, None))
            self.pieces.append((run.start, run.end, run))
            position = run.end
        if position < len(block.ops):
            self.pieces.append((position, len(block.ops), None))
        inside = {n for r in runs for layer in r.layers for n in self._made_in(layer, r)}
        self.outputs = [o for o in block.outputs if o not in inside]

    def _made_in(self, layer: Layer, run: Run) -> Iterator[str]:
        """What a run keeps to itself: results of its layers, except what its last one hands on."""
        final = layer is run.layers[-1]
        for number, name in enumerate(layer.locals):
            if layer.start <= self.flow.made.get(name, -1) < layer.end:
                if not (final and number in run.carried.values()):
                    yield name

    def build(self) -> Graph:
        shared = dict(self.graph.shared)
        homes = self._homes(shared)
        wanted: list[str] = [o for o in self.outputs if self._is_activation(o)]
        given = [o for o in self.outputs if not self._is_activation(o)]
        blocks: list[Block] = []
        for position in range(len(self.pieces) - 1, -1, -1):
            start, end, run = self.pieces[position]
            final = position == len(self.pieces) - 1
            if run is None:
                block, wanted = self._flat(start, end, wanted, homes, position)
            else:
                block, wanted = self._folded(run, wanted, homes)
            if final and given:
                block = dataclasses.replace(block, outputs=(*block.outputs, *given))
            blocks.append(block)
        if wanted:
            raise _Unfoldable
        blocks.reverse()
        unread = {n: t for n, t in self.block.tensors.items() if n not in self.flow.users}
        if unread:
            blocks[0] = dataclasses.replace(blocks[0], tensors={**blocks[0].tensors, **unread})
        return self.graph.replace(blocks=tuple(named_apart(blocks)), shared=shared)

    def _is_activation(self, name: str) -> bool:
        return name in self.flow.made and name in self.block.tensors and self.block.tensors[name].cls == "activation"

    def _homes(self, shared: dict[str, Tensor]) -> Callable[[str], bool]:
        """Weights and constants that several pieces use move to the shared ones; is a tensor shared?"""
        for name, users in self.flow.users.items():
            tensor = self.block.tensors.get(name)
            if tensor is None or tensor.cls == "activation":
                continue
            pieces = {i for i, (start, end, _) in enumerate(self.pieces) if any(start <= u < end for u in users)}
            run = self.pieces[next(iter(pieces))][2]
            if len(pieces) > 1 or (
                run and any(name in layer.locals for layer in run.layers[1:]) and name in run.layers[0].locals
            ):
                shared[name] = tensor
        return shared.__contains__

    def _flat(
        self, start: int, end: int, wanted: list[str], shared: Callable[[str], bool], position: int
    ) -> tuple[Block, list[str]]:
        ops = self.block.ops[start:end]
        needed = [r.tensor for op in ops for r in op.reads if self._is_activation(r.tensor)] + wanted
        inputs = [n for n in dict.fromkeys(needed) if self.flow.made[n] < start]
        used = [o.tensor for op in ops for o in (*op.reads, *op.writes) if not shared(o.tensor)]
        tensors = {n: self.block.tensors[n] for n in dict.fromkeys([*inputs, *used])}
        name = _common([op.path for op in ops]) or ("stem" if position == 0 else "head")
        return Block(name, ops, tensors, inputs=tuple(inputs), outputs=tuple(wanted)), inputs

    def _folded(self, run: Run, wanted: list[str], shared: Callable[[str], bool]) -> tuple[Block, list[str]]:
        first, last = run.layers[0], run.layers[-1]
        head = f"{run.prefix}.{first.index}" if run.prefix else str(first.index)
        names = {n: n if shared(n) else _local(n, head) for n in first.locals}
        names = _apart(names)
        slots = self._slots(run, wanted, [names[n] for n in first.locals])
        tensors: dict[str, Tensor] = {}
        for slot in slots:
            tensors[slot.taken] = dataclasses.replace(self.block.tensors[slot.entry], name=slot.taken)
        for name in first.locals:
            if not shared(name):
                tensors[names[name]] = dataclasses.replace(self.graph.tensor(self.block, name), name=names[name])
        star = f"{run.prefix}.*" if run.prefix else "*"
        ops = tuple(_renamed(op, names, head, star) for op in self.block.ops[first.start : first.end])
        block = Block(
            f"{run.prefix or 'layers'}.{first.index}-{last.index}", ops, tensors, const(len(run.layers)),
            tuple(s.taken for s in slots), tuple(s.handed for s in slots), tuple(layer.index for layer in run.layers),
        )  # fmt: skip
        return block, [s.entry for s in slots]

    def _slots(self, run: Run, wanted: list[str], names: Sequence[str]) -> list[_Slot]:
        first, last = run.layers[0], run.layers[-1]
        slots: list[_Slot] = []
        open_carried, open_invariant = dict(run.carried), set(run.invariant)
        for exit_name in wanted:
            if self.flow.made[exit_name] >= first.start:
                number = last.locals.index(exit_name)
                source = next((s for s, made in open_carried.items() if made == number), None)
                if source is None:
                    raise _Unfoldable
                del open_carried[source]
                slots.append(_Slot(first.locals[source], exit_name, names[source], names[number]))
                continue
            same = next((i for i in open_invariant if first.locals[i] == exit_name), None)
            if same is not None:
                open_invariant.discard(same)
                slots.append(_Slot(exit_name, exit_name, names[same], names[same]))
            else:
                passed = f"pass.{exit_name}"
                slots.append(_Slot(exit_name, exit_name, passed, passed))
        for source, made in open_carried.items():
            slots.append(_Slot(first.locals[source], last.locals[made], names[source], names[made]))
        for same in sorted(open_invariant):
            slots.append(_Slot(first.locals[same], first.locals[same], names[same], names[same]))
        if len({s.taken for s in slots}) != len(slots):
            raise _Unfoldable
        return slots


def _local(name: str, head: str) -> str:
    """A tensor's name inside its layer; what comes from outside is an input."""
    return name[len(head) + 1 :] if name.startswith(f"{head}.") else f"in.{name}"


def _apart(names: dict[str, str]) -> dict[str, str]:
    taken: set[str] = set()
    result = {}
    for name, wanted in names.items():
        free, number = wanted, 1
        while free in taken:
            number += 1
            free = f"{wanted}#{number}"
        taken.add(free)
        result[name] = free
    return result


def _renamed(op: Op, names: Mapping[str, str], head: str, star: str) -> Op:
    def operand(o: Operand) -> Operand:
        return dataclasses.replace(o, tensor=names.get(o.tensor, o.tensor))

    return dataclasses.replace(
        op,
        name=star + op.name[len(head) :] if op.name.startswith(head) else op.name,
        path=star + op.path[len(head) :],
        reads=tuple(operand(o) for o in op.reads),
        writes=tuple(operand(o) for o in op.writes),
    )


def _common(paths: Sequence[str]) -> str:
    """The path that all of them share."""
    common: list[str] = []
    for level in zip(*[p.split(".") for p in paths], strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


__all__ = ["fold"]
