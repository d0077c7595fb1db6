"""A stretch of a network between two places that symbols name, so that all places a network can be cut at are one sweep.

Places are numbered along the unfolded network: place p stands before op p, and a block of n ops repeated L times spans n · L of
them. What lies outside the stretch stays in the graph with a count of 0 (DESIGN decision 1: presence is multiplicity). Of a
repeated block three pieces are made: the rest of the instance that the stretch begins in, whole instances, and the beginning
of the one it ends in::

    place      first = s + i·n + r                  last = s + k·n + q
    instances  … │····rrrrrr│ n │ n │ … │ n │qqqq····│ …
                     head       whole        tail

Legend: s the block's first place, i and k instances, r and q ops into them.

Laws: stretches that meet hold every op, every weight and every cached token once; the stretch from 0 to the end is the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from ..._foundation.expr import Expr, const, ge, maximum, minimum, sym, total, where
from ..ir import ONE, ZERO, Block, Graph, Tensor
from .registry import REWRITES

Joints = Mapping[str, tuple[tuple[int, int], ...]]


@REWRITES.register("stretch")
def stretch(
    graph: Graph, start: str = "", stop: str = "", joined: Iterable[tuple[str, Sequence[Sequence[int]]]] = ()
) -> Graph:
    """The ops from one place to another.

    Args:
        start, stop: symbols that hold the places; empty for the network's beginning and its end.
        joined: by block, ops (first, behind the last) that a stack makes one kernel of, which no place divides: they belong to
            the stretch that has the first of them.

    A network that is a stretch already, or wanted whole, stays as it is.
    """
    if graph.attrs.get("stretch") or not (start or stop):
        return graph
    whole = places(graph)
    first = sym(start) if start else const(0)
    last = sym(stop) if stop else whole
    hulls: Joints = {block: tuple((int(a), int(b)) for a, b in spans) for block, spans in joined}
    blocks: list[Block] = []
    there: dict[str, Expr] = {}  # shared tensor → instances of ops in the stretch that use it
    at: Expr = ZERO
    for block in graph.blocks:
        for piece in _pieces(block, at, first, last, hulls.get(block.name, ())):
            blocks.append(piece)
            for op in piece.ops:
                for operand in (*op.reads, *op.writes):
                    if operand.tensor in graph.shared:
                        there[operand.tensor] = there.get(operand.tensor, ZERO) + op.count * piece.count
        at = at + block.count * len(block.ops)
    shared = {
        name: _kept(tensor, _some(there[name])) if name in there else tensor for name, tensor in graph.shared.items()
    }
    names = [name for name in (start, stop) if name]
    return graph.replace(
        blocks=tuple(blocks), shared=shared, symbols={**graph.symbols, **dict.fromkeys(names)},
        attrs={**graph.attrs, "stretch": (start, stop), "optional": (*graph.attrs.get("optional", ()), *names)},
    )  # fmt: skip


def places(graph: Graph) -> Expr:
    """The number of the place behind the last op."""
    return total(block.count * len(block.ops) for block in graph.blocks)


def _pieces(block: Block, at: Expr, first: Expr, last: Expr, hulls: Sequence[tuple[int, int]]) -> list[Block]:
    """The block's pieces in order; see the module docstring."""
    n = len(block.ops)
    if not n:
        return [block]
    span = block.count * n
    begin, end = (_within(place - at, span) for place in (first, last))
    i, r = _divided(begin, n)
    k, q = _divided(end, n)
    leading = list(range(n))
    for a, b in hulls:
        leading[a:b] = [a] * (b - a)
    same = _flag(ge(i, k))  # both places lie in one instance
    if block.count.constant == 1:
        counts = [_flag(ge(place, begin)) * _flag(ge(end, place + 1)) for place in leading]
        return [_piece(block, "", ONE, counts)]
    from_r = [_flag(ge(place, r)) for place in leading]
    to_q = [_flag(ge(q, place + 1)) for place in leading]
    starts, ends = _flag(ge(r, 1)), _flag(ge(q, 1))
    found = []
    if first.constant != 0:
        found.append(
            _piece(block, "head", starts, [a * where(ge(i, k), b, 1) for a, b in zip(from_r, to_q, strict=True)])
        )
    found.append(_piece(block, "", maximum(k - i - starts, 0), [ONE] * n))
    found.append(_piece(block, "tail", ends * (1 - same * starts), to_q))
    return found


def _within(place: Expr, span: Expr) -> Expr:
    return minimum(maximum(place, 0), span)


def _divided(place: Expr, n: int) -> tuple[Expr, Expr]:
    """(instance, ops into it)."""
    whole = place // n
    return whole, place - whole * n


def _flag(truth: Expr) -> Expr:
    """1 or 0 for a truth value."""
    return where(truth, 1, 0)


def _some(count: Expr) -> Expr:
    return _flag(ge(count, 1))


def _piece(block: Block, suffix: str, count: Expr, counts: Sequence[Expr]) -> Block:
    """Some of a block's ops: ``counts`` says which, 1 or 0 each."""
    if all(c.constant == 1 for c in counts):
        return dataclasses.replace(block, count=count, layers=())
    ops = tuple(dataclasses.replace(op, count=op.count * c) for op, c in zip(block.ops, counts, strict=True))
    users: dict[str, Expr] = {}
    for op, here in zip(block.ops, counts, strict=True):
        for operand in (*op.reads, *op.writes):
            before = users.get(operand.tensor)
            users[operand.tensor] = here if before is None or before == here else maximum(before, here)
    tensors = {name: _kept(tensor, users.get(name, counts[0])) for name, tensor in block.tensors.items()}
    name = f"{block.name}.{suffix}" if suffix else block.name
    return dataclasses.replace(block, name=name, ops=ops, tensors=tensors, count=count, layers=())


def _kept(tensor: Tensor, present: Expr) -> Tensor:
    """The tensor, kept where an op of the stretch uses it."""
    if tensor.persistent is None:
        return tensor
    return dataclasses.replace(tensor, persistent=dataclasses.replace(tensor.persistent, present=present))


__all__ = ["places", "stretch"]
