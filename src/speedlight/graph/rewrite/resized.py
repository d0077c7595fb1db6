"""Ops and blocks with other sizes in the place of their symbols: what rewrites that change counts share."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from ..._foundation.expr import Expr, ExprLike, const, substitute, symbols
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, named_apart
from .layers import nearest

Values = Mapping[str, ExprLike]


def op_with(op: Op, values: Values) -> Op:
    """The op with symbols replaced in everything it counts."""

    def sized(e: Expr) -> Expr:
        return substitute(e, values)

    def operand(o: Operand) -> Operand:
        if o.elements is None and o.granule is None and o.reuse.constant is not None:
            return o
        part = None if o.elements is None else sized(o.elements)
        return dataclasses.replace(
            o, elements=part, granule=None if o.granule is None else sized(o.granule), reuse=sized(o.reuse)
        )

    selection = op.selection
    if selection is not None:
        selection = dataclasses.replace(selection, items=sized(selection.items), picks=sized(selection.picks))
    return dataclasses.replace(
        op, reads=tuple(operand(o) for o in op.reads), writes=tuple(operand(o) for o in op.writes),
        work=tuple(
            dataclasses.replace(w, flops=sized(w.flops), dense=None if w.dense is None else sized(w.dense)) for w in op.work
        ),
        dims={name: sized(e) for name, e in op.dims.items()}, count=sized(op.count), span=sized(op.span), selection=selection,
    )  # fmt: skip


def tensor_with(tensor: Tensor, values: Values) -> Tensor:
    """The tensor with symbols replaced in its size and in what is kept of it."""
    kept = tensor.persistent
    if kept is not None:
        kept = Persistent(substitute(kept.kept, values), kept.lifetime, kept.homes, kept.rebuild)
    return dataclasses.replace(tensor, elements=substitute(tensor.elements, values), persistent=kept)


def block_with(block: Block, values: Values) -> Block:
    """The whole block with symbols replaced."""
    return dataclasses.replace(
        block, ops=tuple(op_with(op, values) for op in block.ops),
        tensors={name: tensor_with(t, values) for name, t in block.tensors.items()},
    )  # fmt: skip


def graph_with(graph: Graph, values: Values) -> Graph:
    """All blocks and shared tensors with symbols replaced."""
    return graph.replace(
        blocks=tuple(block_with(b, values) for b in graph.blocks),
        shared={name: tensor_with(t, values) for name, t in graph.shared.items()},
    )  # fmt: skip


def without_unread(graph: Graph) -> Graph:
    """The graph without tensors that no op touches any more: weights of ops that a rewrite took away."""
    blocks = []
    for block in graph.blocks:
        touched = (
            {o.tensor for op in block.ops for o in (*op.reads, *op.writes)} | set(block.inputs) | set(block.outputs)
        )
        tensors = {name: t for name, t in block.tensors.items() if name in touched}
        blocks.append(block if len(tensors) == len(block.tensors) else dataclasses.replace(block, tensors=tensors))
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=tuple(blocks))


def token_layers(graph: Graph) -> list[Block]:
    """Repeated layers whose work grows with the step's tokens: a model's own, not those of a tower before it."""
    found = []
    for block in graph.blocks:
        repeated = block.phase == "forward" and block.inputs and block.outputs and block.count.constant is not None
        if repeated and block.layers and any("tokens" in symbols(w.flops) for op in block.ops for w in op.work):
            found.append(block)
    return found


def in_turns(
    graph: Graph,
    shares: Sequence[float],
    change: Callable[[Block, float], Block],
    chosen: Sequence[Block] | None = None,
) -> Graph:
    """Layers changed by how deep they lie: the first part of them by the first share, and so on; neighbours alike stay folded.

    Args:
        shares: one a part of the stack of layers, parts as equal as whole layers allow.
        change: (a block of layers of one part, its share) → the changed block.
        chosen: the layers; those of :func:`token_layers` where none are named.
    """
    chosen = token_layers(graph) if chosen is None else chosen
    of_all = sorted({layer for block in chosen for layer in block.layers})
    share_of = {layer: shares[min(i * len(shares) // len(of_all), len(shares) - 1)] for i, layer in enumerate(of_all)}
    blocks: list[Block] = []
    for block in graph.blocks:
        if block not in chosen:
            blocks.append(block)
            continue
        for share, mine in itertools.groupby(block.layers, share_of.__getitem__):
            layers = tuple(mine)
            blocks.append(change(dataclasses.replace(block, count=const(len(layers)), layers=layers), share))
    return graph.replace(blocks=tuple(named_apart(blocks)))


def in_last(graph: Graph, share: float, change: Callable[[Block], Block]) -> Graph:
    """The last layers of the stack changed, so many of them as come nearest to the share."""
    of_all = len({layer for block in token_layers(graph) for layer in block.layers})
    last = nearest(share, of_all)
    if not last:
        return graph
    shares = (0.0,) * (of_all - last) + (1.0,) * last
    return in_turns(graph, shares, lambda block, chosen: change(block) if chosen else block)


__all__ = [
    "block_with",
    "graph_with",
    "in_last",
    "in_turns",
    "op_with",
    "tensor_with",
    "token_layers",
    "without_unread",
]
