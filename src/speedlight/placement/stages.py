"""Layers on pipeline stages: how many instances of every block each rank of a pipeline holds.

A model is cut into n = pp · virtual pieces; rank r holds pieces r, r + pp, r + 2 · pp … Every piece gets ⌊L/n⌋ of the L
layers; what is left over goes one by one to the pieces behind the first, then to the first, never to the last, which has the
head. ``first`` and ``last`` state the ends' layers (Megatron-LM's ``--decoder-first-pipeline-num-layers``), ``stages`` those
of every piece. Schedules may want pieces laid down the ranks and up again, or the ends dealt to all (:class:`Deal`). What stands before the first layer (embeddings) goes to the first piece, what stands behind (head, loss) to the
last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import maximum, minimum, where
from ..graph.ir import Block, Graph
from ..scenario.scenario import Parallel
from .check import Complaint

Value = Any
Shares = Mapping[str, Value]  # block → share of its instances


@dataclass(frozen=True, slots=True)
class Deal:
    """A model cut into pieces.

    Attributes:
        positions: forward block → positions of its instances among the layers.
        mirrors: backward block → its forward block.
        layers: L.
        ranks, pieces: pp and pp · virtual.
        first, base, more: layers of the first piece, of every other, and how many of those behind it have one more.
        stated: layers before each piece, where all are stated.
        folded: rank r holds pieces r and n − 1 − r: down the ranks and up again.
        ends_dealt: what stands before the first layer and behind the last is dealt to all pieces (vocabulary parallelism).
    """

    positions: Mapping[str, tuple[float, ...]]
    mirrors: Mapping[str, str]
    layers: int
    ranks: Value
    pieces: Value
    first: Value
    base: Value
    more: Value
    stated: tuple[float, ...] = ()
    folded: bool = False
    ends_dealt: bool = False

    def is_end(self, name: str) -> bool:
        """Whether a block, or the one it mirrors, stands before the first layer or behind the last."""
        return not 0 <= self.positions[self.mirrors.get(name, name)][0] < self.layers

    def part(self, name: str) -> Value:
        """Share of a block's tensors that a rank which has it holds: 1, or its part of a dealt end."""
        return 1.0 / self.pieces if self.ends_dealt and self.is_end(name) else 1.0

    def holds(self, users: frozenset[str], shares: Shares) -> Value:
        """Share of a shared tensor on a rank: 1 where it has a block that uses it, its part where only dealt ends do."""
        most: Value = 0.0
        for user in users:
            here = where(np.asarray(shares.get(user, 0.0)) > 0, 1.0, 0.0)
            most = maximum(most, here * (self.part(user) if self._known(user) else 1.0))
        return _plain(np.asarray(most))

    def _known(self, name: str) -> bool:
        return self.mirrors.get(name, name) in self.positions

    def before(self, piece: Value) -> Value:
        """Layers in front of a piece."""
        if self.stated:
            return np.asarray(self.stated)[np.asarray(piece, dtype=int)]
        behind = maximum(piece - 1, 0)
        return where(np.asarray(piece) > 0, self.first + behind * self.base + minimum(behind, self.more), 0.0)

    def piece(self, number: Value) -> Shares:
        """What a piece holds of every block; nothing behind the last one."""
        number = np.asarray(number, dtype=float)
        inside = np.asarray(self.pieces) > number
        low = np.where(number == 0, -np.inf, self.before(minimum(number, np.asarray(self.pieces, dtype=float) - 1)))
        end = np.asarray(self.pieces) <= number + 1
        high = np.where(end, np.inf, self.before(minimum(number + 1, np.asarray(self.pieces, dtype=float) - 1)))
        row = {name: _plain(inside * _between(found, low, high) / len(found)) for name, found in self.positions.items()}
        if self.ends_dealt:
            row = {name: _plain(inside / self.pieces) if self.is_end(name) else share for name, share in row.items()}
        return row | {name: row[forward] for name, forward in self.mirrors.items()}

    def rank(self, number: Value) -> Shares:
        """What a rank holds: all its pieces."""
        most = int(np.max(np.asarray(self.pieces) // np.asarray(self.ranks)))
        present = np.asarray(self.ranks) > np.asarray(number)
        total: dict[str, Value] = {}
        for turn in range(most):
            piece = self.pieces - 1 - number if self.folded and turn else number + turn * self.ranks
            for name, share in self.piece(piece).items():
                total[name] = total.get(name, 0.0) + _plain(present * share)
        return total

    @property
    def uniform(self) -> bool:
        """Whether all layers are alike, so that pieces differ by their number only."""
        return sum(found[0] >= 0 and found[0] < self.layers for found in self.positions.values()) == 1

    def classes(self) -> Iterator[tuple[Value, Shares]]:
        """(how many, what each holds) of pieces alike, in the model's order."""
        n = self.pieces
        if self.uniform and not self.stated:
            behind = maximum(n - 2, 0)
            more = minimum(self.more, behind)
            last = where(np.asarray(n) > 1, n - 1, 1)
            yield 1.0 + 0.0 * n, self.piece(0)
            yield 1.0 * more, self.piece(where(np.asarray(more) > 0, 1, n))
            yield 1.0 * (behind - more), self.piece(where(np.asarray(behind) > np.asarray(more), more + 1, n))
            yield where(np.asarray(n) > 1, 1.0, 0.0), self.piece(where(np.asarray(n) > 1, last, n))
            return
        for number in range(int(np.max(n))):
            yield where(np.asarray(n) > number, 1.0, 0.0), self.piece(number)

    def some_ranks(self) -> Iterator[tuple[Value, Shares]]:
        """(rank, what it holds) of the ranks that may be the slowest or the fullest; of like layers the first, the second and
        the last (those between hold what the second does, or less)."""
        if self.uniform and not self.stated:
            last = np.asarray(self.ranks) - 1
            for rank in (0, minimum(1, last), last):
                yield _plain(np.asarray(rank)), self.rank(_plain(np.asarray(rank)))
            return
        for number in range(int(np.max(self.ranks))):
            rank = _plain(np.minimum(number, np.asarray(self.ranks) - 1))
            yield rank, self.rank(rank)


def deal(
    graph: Graph, parallel: Parallel, virtual: Value = 1, *, folded: bool = False, ends_dealt: bool = False
) -> Deal:  # fmt: skip
    """The model cut as a layout says.

    Args:
        virtual: pieces of a rank.
        folded, ends_dealt: see :class:`Deal`.
    """
    positions, layers = places(graph)
    pieces = parallel.pp * virtual
    mirrors: Mapping[str, str] = graph.attrs.get("mirrors", {})
    if parallel.stages:
        before = (0.0, *np.cumsum(parallel.stages).tolist())
        return Deal(positions, mirrors, layers, parallel.pp, pieces, 0, 0, 0, before, folded, ends_dealt)
    ends = int(parallel.first is not None), int(parallel.last is not None)
    left = layers - (parallel.first or 0) * ends[0] - (parallel.last or 0) * ends[1] if any(ends) else layers
    between = maximum(pieces - sum(ends), 1)
    base = _floor(left / between)
    extra = left - base * between
    behind = maximum(pieces - 2, 0)  # pieces between the first and the last
    first = parallel.first if ends[0] else base + where(np.asarray(extra) > np.asarray(behind), 1, 0)
    return Deal(
        positions, mirrors, layers, parallel.pp, pieces, first, base, minimum(extra, behind), (), folded, ends_dealt
    )


def places(graph: Graph) -> tuple[dict[str, tuple[float, ...]], int]:
    """(forward block → positions of its instances among the model's layers, number of layers).

    Positions are −1 before the first layer and the number of layers behind the last. A transformer's blocks state theirs. Of
    other graphs every repeated block is so many layers; without any, every block is one.
    """
    forward = [b for b in graph.blocks if b.phase == "forward"]
    stated = [b for b in forward if b.layers]
    found: dict[str, tuple[float, ...]] = {}
    if stated:
        found = {b.name: tuple(float(i) for i in b.layers) for b in stated}
        layers = 1 + max(int(i) for b in stated for i in b.layers)
    else:
        layers = 0
        for block in [b for b in forward if _instances(b) > 1] or forward:
            found[block.name] = tuple(float(layers + i) for i in range(_instances(block)))
            layers += _instances(block)
    seen = False
    for block in forward:
        seen = seen or block.name in found
        found.setdefault(block.name, (float(layers) if seen else -1.0,))
    return found, layers


def _instances(block: Block) -> int:
    count = block.count.constant
    return int(count) if count is not None else 1


def _between(positions: tuple[float, ...], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How many positions lie in [low, high)."""
    ordered = np.sort(np.asarray(positions))
    count = np.searchsorted(ordered, high, side="left") - np.searchsorted(ordered, low, side="left")
    inside: np.ndarray = np.maximum(count, 0).astype(float)
    return inside


def _floor(value: Value) -> Value:
    return _plain(np.floor(np.asarray(value) + 1e-9))


def _plain(value: Any) -> Value:
    array = np.asarray(value)
    return array if array.ndim else float(array)


def deal_complaints(graph: Graph, parallel: Parallel, virtual: Value = 1) -> Iterator[Complaint]:
    """Stages without layers, and layers that are dealt twice or not at all."""
    _, layers = places(graph)
    named = (("pp", parallel.pp), ("virtual", virtual))
    yield Complaint(
        np.asarray(parallel.pp) * np.asarray(virtual) > layers, named,
        f"{{pp}} pipeline stages × {{virtual}} of {layers} layers", f"a layer for each stage: pp · virtual ≤ {layers}",
        "use a smaller --pp, or fewer virtual stages",
    )  # fmt: skip
    if parallel.stages:
        total = sum(parallel.stages)
        yield Complaint(
            np.asarray(total != layers), (), f"the stages hold {total} layers, the model has {layers}",
            f"layers of stages that add up to {layers}",
        )  # fmt: skip
    if parallel.first is not None or parallel.last is not None:
        head = 0 if parallel.first is None else parallel.first
        tail = 0 if parallel.last is None else parallel.last
        ends = int(parallel.first is not None) + int(parallel.last is not None)
        left = layers - np.asarray(head) - np.asarray(tail)
        between = np.asarray(parallel.pp) - ends
        yield Complaint(
            (left < between) | ((between == 0) & (left != 0)), (("head", head), ("tail", tail), ("pp", parallel.pp)),
            f"first and last stages of {{head}} and {{tail}} layers leave the other stages of {{pp}} none of {layers} layers",
            "a layer for each stage, and a stage for each layer",
        )  # fmt: skip
