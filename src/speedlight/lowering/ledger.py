"""The memory ledger: bytes of one device by class, peak of activations by liveness, against each tier's capacity.

Activations: a tensor lives from the op that writes it to the last one that reads it (inside its block; a folded block's
instances reuse the same memory; what a block hands on lives until the next block's last reader). The peak is the largest
simultaneous sum. In training, tensors the backward pass needs live from the forward pass to theirs, in every instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._foundation.arrays import Value, maximum
from .._foundation.expr import Expr, Tape, compile_tape, total
from ..graph.ir import Block, Graph, Persistent
from ..graph.stats import persistent_tensors
from ..stacks.stack import Stack

CLASSES = ("weights", "kv", "activations", "gradients", "optimizer", "cache", "workspace", "reserve")
_OF_TENSOR = {
    "weight": "weights", "constant": "weights", "kv": "kv", "state": "kv", "gradient": "gradients",
    "optimizer": "optimizer", "feature_cache": "cache", "index": "cache", "activation": "activations", "input": "activations",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ledger:
    """Bytes on the worst rank's device.

    Attributes:
        by_class: bytes by class of :data:`CLASSES`.
        capacity: bytes of main memory.
    """

    by_class: Mapping[str, Value]
    capacity: Value

    @property
    def total(self) -> Value:
        result: Any = 0.0
        for value in self.by_class.values():
            result = result + value
        return result

    @property
    def headroom(self) -> Value:
        return self.capacity - self.total

    @property
    def fits(self) -> Any:
        return self.total <= self.capacity


class LedgerPlan:
    """A graph's memory expressions, compiled once: persistent classes, saved tensors and live sets."""

    __slots__ = ("_classes", "_live", "_slots", "_tape")

    def __init__(self, graph: Graph) -> None:
        exprs: list[Expr] = []
        sums: dict[str, list[Expr]] = {}
        for block, tensor in persistent_tensors(graph):
            assert tensor.persistent is not None
            sums.setdefault(_OF_TENSOR.get(tensor.cls, "cache"), []).append(
                tensor.kept_bytes * _in_main(tensor.persistent) * (block.count if block is not None else 1)
            )
        saved = _saved_bytes(graph)
        self._classes = list(sums)
        exprs += [total(sums[name]) for name in self._classes]
        exprs.append(saved)
        self._live: list[list[int]] = []
        tensors: dict[Expr, int] = {}
        for block in graph.blocks:
            for live in live_sets(graph, block):
                row = []
                for size in live:
                    if size not in tensors:
                        tensors[size] = len(exprs)
                        exprs.append(size)
                    row.append(tensors[size])
                self._live.append(row)
        self._slots = len(self._classes)
        self._tape: Tape = compile_tape(exprs)

    def evaluate(
        self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]], capacity: Value, stack: Stack
    ) -> Ledger:
        """The ledger for given sizes.

        Args:
            env, groups: bindings of the graph's symbols.
            capacity: bytes of the device's main memory.
            stack: its reserves.
        """
        cells = self._tape.run(env, groups)
        by_class: dict[str, Value] = dict.fromkeys(CLASSES, 0.0)
        by_class |= dict(zip(self._classes, cells, strict=False))  # the classes come first on the tape
        peak: Value = 0.0
        for row in self._live:
            live: Value = 0.0
            for slot in row:
                live = live + cells[slot]
            peak = maximum(peak, live)
        kept = by_class["activations"]  # those of a whole call, which no step frees
        by_class["activations"] = (kept + peak + cells[self._slots]) * (1 + stack.reserve.fragmentation)
        by_class["reserve"] = stack.reserve.runtime_bytes + (1 - stack.reserve.utilization) * capacity
        return Ledger(by_class, capacity)


def _in_main(persistent: Persistent) -> float:
    """The share of a tensor that device memory holds."""
    return sum(share for role, share in persistent.homes if role == "main")


def _saved_bytes(graph: Graph) -> Expr:
    """Activations that wait for the backward pass, over all instances (``graph.attrs["saved"]``)."""
    saved: Mapping[str, tuple[str, ...]] = graph.attrs.get("saved", {})
    terms = []
    for block in graph.blocks:
        for name in saved.get(block.name, ()):
            if name in block.tensors:
                terms.append(block.tensors[name].bytes * block.count)
    return total(terms)


def live_sets(graph: Graph, block: Block) -> list[list[Expr]]:
    """Sizes of the activations alive while each op runs.

    Tensors saved for the backward pass are counted apart, in the block that makes them and in the one that mirrors it.
    An op that works in place takes the memory of what it overwrites.
    """
    if not block.ops:
        return []
    mirrored = graph.attrs.get("mirrors", {}).get(block.name, block.name)
    saved = set(graph.attrs.get("saved", {}).get(mirrored, ()))
    first: dict[str, int] = dict.fromkeys(block.inputs, 0)
    last: dict[str, int] = dict.fromkeys(block.inputs, 0)
    for index, op in enumerate(block.ops):
        for operand in (*op.reads, *op.writes):
            tensor = block.tensors.get(operand.tensor)
            if tensor is None or tensor.persistent is not None or operand.tensor in saved:
                continue
            first.setdefault(operand.tensor, index)
            last[operand.tensor] = index
    for name in block.outputs:
        if name in first:
            last[name] = len(block.ops)
    made: list[list[str]] = [[] for _ in block.ops]
    ended: list[list[str]] = [[] for _ in range(len(block.ops) + 1)]
    for name, index in first.items():
        made[index].append(name)
        ended[last[name]].append(name)
    sizes = {name: block.tensors[name].bytes for name in first}
    alive: set[str] = set()
    sets = []
    for index, op in enumerate(block.ops):
        alive.update(made[index])
        over = {r.tensor for r in op.reads[:1] if last.get(r.tensor) == index} if op.attrs.get("in_place") else set()
        sets.append([sizes[n] for n in sorted(alive - over)])
        alive.difference_update(ended[index])
    return sets
