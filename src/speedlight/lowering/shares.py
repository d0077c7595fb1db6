"""What every block of a step holds in memory, so that pipeline stages, shards and micro-batches can be added up.

The ledger of one device (:mod:`.ledger`) sums over all blocks; here each block's bytes stand alone, for one instance:
weights, gradients and trained parameters (dense ones and experts', which other ranks hold), activations that wait for the
backward pass with and without recomputation, the largest live set of its forward and backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._foundation.arrays import Value, maximum
from .._foundation.expr import Expr, Tape, compile_tape, symbols, total
from ..graph.backward.differentiate import LOSSES
from ..graph.ir import ZERO, Block, Graph, Tensor
from ..graph.stats import persistent_tensors
from .ledger import live_sets

SORTS = ("dense", "expert")


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of one instance of a block (or of shared tensors); parameters are counted, not weighed.

    Attributes:
        weights, gradients, parameters: by sort (:data:`SORTS`).
        saved: activations kept from the forward to the backward pass under the recomputation asked for.
        saved_whole: the same without recomputation.
        live: the largest simultaneous sum of the others.
        handed: bytes it hands to the next block.
        scored: of what its loss reads, before it is widened.
        kept: of caches and states of sequences.
    """

    weights: tuple[Value, Value]
    gradients: tuple[Value, Value]
    parameters: tuple[Value, Value]
    saved: Value = 0.0
    saved_whole: Value = 0.0
    live: Value = 0.0
    handed: Value = 0.0
    scored: Value = 0.0
    kept: Value = 0.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """Of a whole model.

    Attributes:
        blocks: forward block → what one instance holds, its backward pass included.
        counts: forward block → instances.
        shared: (forward blocks that use it, what is held) of tensors that exist once.
        states: bytes of optimizer states for each trained parameter, by sort.
    """

    blocks: Mapping[str, Held]
    counts: Mapping[str, Value]
    shared: tuple[tuple[frozenset[str], Held], ...]
    states: tuple[Value, Value]


class HoldingsPlan:
    """A training graph's holdings as expressions, compiled once."""

    def __init__(self, graph: Graph) -> None:
        exprs: list[Expr] = []

        def slot(expr: Expr) -> int:
            exprs.append(expr)
            return len(exprs) - 1

        experts = {n for n, d in graph.dims.items() if d.role in ("experts", "expert_ffn")}
        mirrors: Mapping[str, str] = graph.attrs.get("mirrors", {})
        behind = {forward: b for b in graph.blocks if (forward := mirrors.get(b.name))}
        saved, whole = (graph.attrs.get(key, {}) for key in ("saved", "saved_whole"))
        self._blocks: dict[str, dict[str, list[int]]] = {}
        self._counts: dict[str, int] = {}
        for block in graph.blocks:
            if block.phase != "forward":
                continue
            own = [t for t in block.tensors.values() if t.persistent is not None]
            pair = behind.get(block.name)
            own += [t for t in pair.tensors.values() if t.cls == "gradient"] if pair is not None else []
            rows = self._kept(own, experts, slot)
            again = graph.attrs.get("remade", {}).get(block.name, frozenset())
            rows["saved"] = [slot(_bytes(block, saved, again)), slot(_bytes(block, whole, again))]
            lives = [live_sets(graph, b) for b in (block, pair) if b is not None]
            rows["live"] = [slot(total(sizes)) for sets in lives for sizes in sets]
            rows["handed"] = [slot(total(block.tensors[n].bytes for n in block.outputs if n in block.tensors))]
            rows["scored"] = [slot(_scored(block))]
            rows["kept"] = [slot(total(t.kept_bytes for t in block.tensors.values() if t.cls in ("kv", "state")))]
            self._blocks[block.name] = rows
            self._counts[block.name] = slot(block.count)
        self._shared: list[tuple[frozenset[str], dict[str, list[int]]]] = []
        used = _users(graph)
        for tensor in graph.shared.values():
            if tensor.persistent is None or tensor.cls == "gradient":
                continue
            gradient = graph.shared.get(f"grad.{tensor.name}")
            held = [tensor] if gradient is None else [tensor, gradient]
            self._shared.append((used.get(tensor.name, frozenset()), self._kept(held, experts, slot)))
        self._states = [slot(e) for e in _states(graph, experts)]
        self._tape: Tape = compile_tape(exprs)

    def _kept(self, tensors: Sequence[Tensor], experts: set[str], slot: object) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for name, cls, of_bytes in (
            ("weights", "weight", True),
            ("gradients", "gradient", True),
            ("parameters", "gradient", False),
        ):
            rows[name] = []
            for expert in (False, True):
                chosen = [t for t in tensors if t.cls == cls and bool(symbols(t.elements) & experts) is expert]
                sizes = [t.kept_bytes if of_bytes else t.kept_elements for t in chosen if t.persistent is not None]
                rows[name].append(slot(total(sizes)))  # type: ignore[operator]
        return rows

    def evaluate(self, env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]) -> Holdings:
        """The holdings for given sizes."""
        cells = self._tape.run(env, groups)

        def held(rows: Mapping[str, list[int]]) -> Held:
            live: Value = 0.0
            for index in rows.get("live", ()):
                live = maximum(live, cells[index])
            pairs = [(cells[rows[n][0]], cells[rows[n][1]]) for n in ("weights", "gradients", "parameters")]
            kept = [cells[i] for i in rows.get("saved", ())] or [0.0, 0.0]
            others = (cells[rows[n][0]] if n in rows else 0.0 for n in ("handed", "scored", "kept"))
            return Held(pairs[0], pairs[1], pairs[2], kept[0], kept[1], live, *others)

        states = [cells[i] for i in self._states]
        each = tuple(
            s / n if n is not None and _some(n) else 0.0 for s, n in ((states[0], states[1]), (states[2], states[3]))
        )
        return Holdings(
            {name: held(rows) for name, rows in self._blocks.items()},
            {name: cells[i] for name, i in self._counts.items()},
            tuple((users, held(rows)) for users, rows in self._shared),
            (each[0], each[1]),
        )


def _some(value: Value) -> bool:
    import numpy as np

    return bool(np.all(np.asarray(value) > 0))


def _bytes(block: Block, saved: Mapping[str, tuple[str, ...]], again: frozenset[str]) -> Expr:
    """Of what the backward pass reads, all but what fused kernels make again (:mod:`.remade`)."""
    return total(block.tensors[n].bytes for n in saved.get(block.name, ()) if n in block.tensors and n not in again)


def _scored(block: Block) -> Expr:
    """Bytes of the logits that a loss in this block reads, in the format the network makes them in."""
    made = {write.tensor: op for op in block.ops for write in op.writes}
    for op in block.ops:
        if op.fn in LOSSES:
            name = op.reads[0].tensor
            while name in made and made[name].fn == "cast":
                name = made[name].reads[0].tensor
            return block.tensors[name].bytes if name in block.tensors else ZERO
    return ZERO


def _users(graph: Graph) -> dict[str, frozenset[str]]:
    """Shared tensor → the forward blocks that read it."""
    found: dict[str, set[str]] = {}
    for block in graph.blocks:
        if block.phase == "forward":
            for op in block.ops:
                for read in op.reads:
                    if read.tensor in graph.shared:
                        found.setdefault(read.tensor, set()).add(block.name)
    return {name: frozenset(blocks) for name, blocks in found.items()}


def _states(graph: Graph, experts: set[str]) -> tuple[Expr, Expr, Expr, Expr]:
    """Bytes of optimizer states and parameters they belong to, of dense weights and of experts'."""
    sums: list[Expr] = [ZERO, ZERO, ZERO, ZERO]
    for block, tensor in persistent_tensors(graph):
        if tensor.cls == "optimizer":
            at = 2 if symbols(tensor.elements) & experts else 0
            sums[at] = sums[at] + tensor.kept_bytes * (block.count if block is not None else 1)
        if tensor.cls == "gradient" and tensor.persistent is not None:
            at = 3 if symbols(tensor.elements) & experts else 1
            sums[at] = sums[at] + tensor.kept_elements * (block.count if block is not None else 1)
    return sums[0], sums[1], sums[2], sums[3]
