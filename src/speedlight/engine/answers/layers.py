"""Where the time goes by module path, why, and what each layer would take if what binds it did not.

Rows are grouped by the modules their paths pass through: ``model.layers.*.self_attn.o_proj`` → model › layers.* › self_attn › o_proj.
The leaves are calls (kernels of one name at one path, the host's gaps); a *layer* is a module that holds calls and no further
modules, or a call a module makes beside them. Every figure is a sum over the kernels' busy vectors:

* times of children sum to their parent's, those of all layers to the call's;
* ``limit`` is the busiest resource's sum at the hardware's peaks, so that it may be less than the sum over the parts;
* ``if_unbound`` is the time with what binds the layer out of the way (:mod:`...costs.relief`): at most the time, at least the limit
  of what is left.

Layers are ranked by their time: the first ones are the bottleneck.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..._foundation.arrays import Value
from ...costs.relief import without
from .bounds import Sums, reason
from .prediction import Layer
from .summary import Piece

MOST_DEPTH = 12
_FOLD = re.compile(r"\.(?=(?:\*|\d+)(?:\.|$))")  # a list and the place in it are one step: layers.*, stages.0


def steps_of(path: str) -> list[str]:
    """The modules a path passes through, a list with its index as one."""
    joined = _FOLD.sub("\x00", path)
    steps = [s.replace("\x00", ".") for s in joined.split(".") if s]
    return steps if len(steps) <= MOST_DEPTH else [*steps[: MOST_DEPTH - 1], ".".join(steps[MOST_DEPTH - 1 :])]


def call_of(name: str, path: str) -> str:
    """What a call is named beside its module: ``blocks.0.fc1.dgrad`` at ``stage.blocks.0.fc1`` is ``dgrad``."""
    steps, names = path.split("."), name.split(".")
    for size in range(min(len(steps), len(names) - 1), 0, -1):
        if names[:size] == steps[-size:]:
            return ".".join(names[size:])
    return names[-1]


def layers_of(pieces: Sequence[Piece]) -> tuple[Layer, ...]:
    """The tree, every node before its children, siblings by time.

    Sections (the steps of a call, the passes of a training step) are the top level where there are several.

    Args:
        pieces: the rows of an answer, in its order, with their costs.
    """
    sections = _sections(pieces)
    several = len(set(sections)) > 1
    placed = []
    for index, (piece, section) in enumerate(zip(pieces, sections, strict=True)):
        inner = steps_of(piece.row.path) or [piece.row.name]
        placed.append(([section, *inner] if several else inner, index))
    tree = _Tree(pieces)
    nodes = tree.grow(placed, "", named=not several)
    flat = list(_flat(nodes, 0, "", several))
    ranked = sorted(
        (i for i, (node, *_) in enumerate(flat) if node.layer), key=lambda i: -_ordered(flat[i][0].sums.time)
    )
    ranks = {i: rank for rank, i in enumerate(ranked, start=1)}
    total = math.fsum(node.sums.time for node, depth, _ in flat if depth == 0)
    return tuple(
        _entry(tree, node, depth, section, ranks.get(i), total) for i, (node, depth, section) in enumerate(flat)
    )


def _sections(pieces: Sequence[Piece]) -> list[str]:
    """The step and pass of each row, as far as there are several."""
    rows = [piece.row for piece in pieces]
    several = len({r.step for r in rows}) > 1, len({r.phase for r in rows}) > 1
    return [" ".join(w for w, use in zip((r.step, r.phase), several, strict=True) if use and w) for r in rows]


@dataclasses.dataclass(slots=True)
class _Node:
    """A module or a call under construction.

    Attributes:
        layer: whether it is one of the layers that together are the whole.
    """

    name: str
    path: str
    rows: tuple[int, ...]
    sums: Sums
    children: list[_Node] = dataclasses.field(default_factory=list)
    layer: bool = False


class _Tree:
    """Sums of rows, worked out once each."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self._sums = [_sums(piece) for piece in pieces]

    def grow(self, placed: Sequence[tuple[list[str], int]], prefix: str, named: bool = True) -> list[_Node]:
        """Siblings below ``prefix``; a chain of only children becomes one node (``model.norm``)."""
        groups: dict[str, list[tuple[list[str], int]]] = {}
        for steps, index in placed:
            groups.setdefault(steps[0], []).append((steps[1:], index))
        nodes = []
        for name, members in groups.items():
            path = ".".join(filter(None, (prefix, name))) if named else ""
            inner = self.grow([(steps, i) for steps, i in members if steps], path)
            calls = self._calls([i for steps, i in members if not steps], path)
            children = sorted((*inner, *calls), key=lambda n: -_ordered(n.sums.time))
            if len(children) == 1 and inner and named:
                only = children[0]
                nodes.append(dataclasses.replace(only, name=f"{name}.{only.name}"))
                continue
            if len(children) == 1 and calls and named:
                nodes.append(dataclasses.replace(calls[0], name=name, path=path or calls[0].path, layer=True))
                continue
            for call in calls:
                call.layer = bool(inner)
            rows = tuple(i for child in children for i in child.rows)
            nodes.append(_Node(name, path, rows, self.sums_of(rows), children, layer=not inner))
        return sorted(nodes, key=lambda n: -_ordered(n.sums.time))

    def _calls(self, indexes: Sequence[int], path: str) -> list[_Node]:
        """Rows with a module's own path: what it calls itself, of one name together (blocks folded in parts)."""
        found: dict[str, list[int]] = {}
        for i in indexes:
            row = self.pieces[i].row
            found.setdefault(call_of(row.name, row.path), []).append(i)
        return [_Node(name, f"{path}.{name}", tuple(rows), self.sums_of(rows)) for name, rows in found.items()]

    def sums_of(self, rows: Sequence[int]) -> Sums:
        result = Sums()
        for i in rows:
            result.add(self._sums[i])
        return result

    def unbound(self, node: _Node) -> tuple[float, str]:
        """Seconds of the node's kernels without what binds it, and what would bind most of them then."""
        time = 0.0
        left: dict[str, float] = {}
        bound = node.sums.bound
        for i in node.rows:
            piece = self.pieces[i]
            if piece.cost is None or piece.kernel is None:
                seconds, then = (0.0, "") if piece.row.bound == bound else (float(piece.row.time), piece.row.bound)
            else:
                relief = without(piece.kernel, piece.cost, bound)
                seconds, then = float(piece.over(relief.time)), relief.bound
            time += seconds
            left[then] = left.get(then, 0.0) + seconds
        return time, max(left, key=lambda name: left[name], default="")


def _sums(piece: Piece) -> Sums:
    row, cost = piece.row, piece.cost
    sums = Sums(
        time=float(row.time), spent={row.bound: float(row.time)}, flops=float(row.flops), bytes=float(row.bytes)
    )
    if cost is None:
        sums.waiting = sums.time
        return sums
    sums.kernels = float(row.count)
    sums.latency = float(piece.over(cost.latency))
    sums.busy = {name: float(piece.over(seconds)) for name, seconds in cost.busy.items()}
    sums.least = {name: float(piece.over(seconds)) for name, seconds in cost.least.items()}
    return sums


def _flat(nodes: Sequence[_Node], depth: int, section: str, several: bool) -> Iterator[tuple[_Node, int, str]]:
    for node in nodes:
        here = node.name if several and depth == 0 else section
        yield node, depth, here
        yield from _flat(node.children, depth + 1, here, several)


def _entry(tree: _Tree, node: _Node, depth: int, section: str, rank: int | None, total: float) -> Layer:
    sums = node.sums
    counts = {_number(tree.pieces[i].row.count) for i in node.rows}
    whole: float | None = sum(counts) if len(counts) == 1 else None
    if not node.children:
        whole = math.fsum(_number(tree.pieces[i].row.count) for i in node.rows)
    unbound, then = tree.unbound(node)
    return Layer(
        path=node.path, name=node.name, section=section, depth=depth, rank=rank, count=whole, time=sums.time,
        share=sums.time / total if total else 0.0, limit=sums.limit, bound=sums.bound, why=reason(sums),
        if_unbound=min(unbound, sums.time), then=then, rows=node.rows,
    )  # fmt: skip


def _number(value: Value) -> float:
    return float(value)


def _ordered(time: Any) -> float:
    """Times that are no numbers come last."""
    return float(time) if math.isfinite(time) else -1.0
