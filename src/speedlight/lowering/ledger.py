"""The memory ledger: bytes of one device by class, peak of activations by liveness, against each tier's capacity.

Activations: a tensor lives from the op that writes it to the last one that reads it (inside its block; a folded block's
instances reuse the same memory; what a block hands on lives until the next block's last reader). The peak is the largest
simultaneous sum. In training, tensors the backward pass needs live from the forward pass to theirs, in every instance
(:mod:`.saved`). What the caller hands in, and what several blocks read, is there all the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._foundation.arrays import Value, maximum, where
from .._foundation.expr import Expr, Tape, compile_tape, total
from ..graph.ir import ONE, Block, Graph, Persistent, Tensor
from ..graph.rewrite.loss import SCRATCH
from ..graph.stats import persistent_tensors
from ..stacks.stack import Stack
from .held import Held, held
from .saved import of_instance, waiting

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
        elsewhere: by tier role, bytes kept outside the device.
        room: by tier role, bytes it may take there.
    """

    by_class: Mapping[str, Value]
    capacity: Value
    elsewhere: Mapping[str, Value] = field(default_factory=dict)
    room: Mapping[str, Value] = field(default_factory=dict)

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
        fits = self.total <= self.capacity
        for role, size in self.elsewhere.items():
            fits = fits & (size <= self.room[role])
        return fits


@dataclass(frozen=True, slots=True)
class _BlockPlan:
    """Places on the tape of what one block's instance holds.

    Attributes:
        mirrored: number of the forward block whose saved tensors it fills or empties; None in the optimizer.
        start, came, went: of saved tensors (:class:`.saved.Waiting`).
        live: per op, everything else that is alive.
        runs: per op, how often it runs where that is no plain number (0 for what another machine has); else None.
    """

    mirrored: int | None
    start: list[int]
    came: list[list[int]]
    went: list[list[int]]
    live: list[list[int]]
    runs: list[int | None]


class LedgerPlan:
    """A graph's memory expressions, compiled once: persistent classes, saved tensors and live sets."""

    __slots__ = ("_blocks", "_classes", "_held", "_saved", "_tape")

    def __init__(self, graph: Graph, calls: bool = False) -> None:
        """
        Args:
            calls: Python calls the modules, and holds what it calls them with (:mod:`.held`).
        """
        exprs: list[Expr] = []
        places: dict[Expr, int] = {}

        def place(size: Expr) -> int:
            if size not in places:
                places[size] = len(exprs)
                exprs.append(size)
            return places[size]

        def row(sizes: Iterable[Expr]) -> list[int]:
            return [place(size) for size in sizes]

        sums: dict[str, list[Expr]] = {}
        for block, tensor in persistent_tensors(graph):
            assert tensor.persistent is not None
            sums.setdefault(_OF_TENSOR.get(tensor.cls, "cache"), []).append(
                tensor.kept_bytes * _in_main(tensor.persistent) * (block.count if block is not None else 1)
            )
        self._classes = {name: place(total(terms)) for name, terms in sums.items()}
        self._held = place(total(t.bytes for t in graph.shared.values() if _transient(t)))
        forward = [block for block in graph.blocks if block.phase == "forward"]
        numbers = {block.name: number for number, block in enumerate(forward)}
        self._saved = [(place(of_instance(graph, block)), place(block.count)) for block in forward]
        self._blocks = []
        holding = held(graph) if calls else {}
        for block in graph.blocks:
            parts = waiting(graph, block)
            came, went = ([row(sizes) for sizes in each] for each in (parts.came, parts.went))
            live = [row(sizes) for sizes in live_sets(graph, block, holding.get(block.name))]
            often = [block.count * op.count for op in block.ops] if not graph.attrs.get("saved") else [ONE] * len(live)
            runs = [place(count) if count.constant is None else None for count in often]
            self._blocks.append(_BlockPlan(numbers.get(parts.mirrored), row(parts.start), came, went, live, runs))
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
        by_class |= {name: cells[place] for name, place in self._classes.items()}
        before: list[Value] = [0.0]  # saved by the blocks ahead of each
        for size, count in self._saved:
            before.append(before[-1] + cells[size] * cells[count])
        peak: Value = 0.0
        for block in self._blocks:
            there: Value = 0.0
            if block.mirrored is not None:
                size, count = self._saved[block.mirrored]
                there = before[block.mirrored] + (cells[count] - 1) * cells[size]
            there = _sum(cells, block.start, there)
            for came, went, live, runs in zip(block.came, block.went, block.live, block.runs, strict=True):
                there = _sum(cells, came, there)
                alive = _sum(cells, live, there)
                peak = maximum(peak, alive if runs is None else where(cells[runs] > 0, alive, 0.0))
                for place in went:
                    there = there - cells[place]
        kept = by_class["activations"]  # those of a whole call, which no step frees
        by_class["activations"] = (kept + cells[self._held] + peak) * (1 + stack.reserve.fragmentation)
        by_class["reserve"] = stack.reserve.runtime_bytes + (1 - stack.reserve.utilization) * capacity
        return Ledger(by_class, capacity)


def _in_main(persistent: Persistent) -> float:
    """The share of a tensor that device memory holds."""
    return sum(share for role, share in persistent.homes if role == "main")


def _transient(tensor: Tensor) -> bool:
    """An activation or input that no record keeps."""
    return tensor.persistent is None and tensor.cls in ("activation", "input")


def _sum(cells: Sequence[Value], places: Iterable[int], start: Value) -> Value:
    for place in places:
        start = start + cells[place]
    return start


def live_sets(graph: Graph, block: Block, holding: Held | None = None) -> list[list[Expr]]:
    """Sizes of the activations alive while each op runs.

    Tensors saved for the backward pass are counted apart, in the block that makes them and in the one that mirrors it.
    An op that works in place takes the memory of what it overwrites.
    """
    if not block.ops:
        return []
    mirrored = graph.attrs.get("mirrors", {}).get(block.name, block.name)
    saved = set(graph.attrs.get("saved", {}).get(mirrored, ()))
    taken = [name for name in block.inputs if name not in saved and _transient(block.tensors[name])]
    first: dict[str, int] = dict.fromkeys(taken, 0)
    last: dict[str, int] = dict.fromkeys(taken, 0)
    for index, op in enumerate(block.ops):
        for operand in (*op.reads, *op.writes):
            tensor = block.tensors.get(operand.tensor)
            if tensor is None or not _transient(tensor) or operand.tensor in saved:
                continue  # a weight that the backward pass or the optimizer names again is kept where it is declared
            first.setdefault(operand.tensor, index)
            last[operand.tensor] = index
    for name in block.outputs:
        if name in first:
            last[name] = len(block.ops)
    around = holding.around if holding is not None else []
    for name, index in holding.until.items() if holding is not None else ():
        if name in last:
            last[name] = max(last[name], index)
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
        copies = op.attrs.get(SCRATCH)
        own = [] if copies is None else [graph.tensor(block, op.reads[0].tensor).bytes * copies]
        sets.append([*(sizes[n] for n in sorted(alive - over)), *own, *(size for size, end in around if index <= end)])
        alive.difference_update(ended[index])
    return sets
