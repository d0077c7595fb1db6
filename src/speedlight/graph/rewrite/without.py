"""A model with parts left out: some layers, or the attention or feed-forward half of some layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..._foundation.errors import BadInput
from ..ir import Block, Graph, Op
from .held import spans
from .layers import closed_up, cut, in_layers, repeated
from .registry import remodel


@remodel("without")
def without(graph: Graph, share: float = 0.5, what: str = "attention") -> Graph:
    """Some of the repeated layers, or a half of them, are not there: neither weights nor caches, work nor messages.

    What is left out is what only feeds the residual sum that the half ends in; the sum's other operand takes its place.

    Args:
        share: of the repeated layers that lose it; of whole layers one of each sort always stays.
        what: ``attention``, ``feed_forward`` or ``layer``.

    Raises:
        BadInput: for a share outside 0 … 1, another part, or layers that have no such part.
    """
    if what == "layer":
        return _shallower(graph, share)
    if what not in ("attention", "feed_forward"):
        raise BadInput(f"layers without {what!r}", expected="attention, feed_forward or layer")
    marks = _markers(graph, what)

    def has_half(graph: Graph, block: Block) -> bool:
        return repeated(graph, block) and _half(block, marks) is not None

    if share > 0 and not any(_half(block, marks) for block in graph.blocks):
        raise BadInput(
            f"no layer of {graph.name} has a {what.replace('_', ' ')} part of its own", expected="a transformer"
        )
    return in_layers(graph, share, has_half, lambda _, block: _half(block, marks) or block)


@remodel("keep_layers")
def keep_layers(graph: Graph, share: float = 0.5) -> Graph:
    """The model with a share of its repeated layers, at least one of each sort; embeddings and head stay.

    What a draft that skips layers runs (arXiv 2309.08168), and a fixed set of layers left out for all tokens (arXiv 2404.06954).

    Args:
        share: of layers that stay.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share:g} of the layers kept", expected="above 0, up to 1")
    return _shallower(graph, 1 - share)


def _shallower(graph: Graph, share: float) -> Graph:
    """The graph without a share of its repeated layers."""
    parts = list(cut(graph, share, least=1))
    gone = sum(int(lost.count.constant or 0) for _, lost in parts if lost is not None)
    if not gone:
        return graph
    attrs = dict(graph.attrs)
    if isinstance(attrs.get("n_layers"), int):
        attrs["n_layers"] = attrs["n_layers"] - gone
    return graph.replace(blocks=closed_up(stays for stays, _ in parts if stays is not None), attrs=attrs)


def _markers(graph: Graph, what: str) -> Callable[[Op], bool]:
    """What tells the half."""
    if what == "attention":
        return lambda op: op.kind == "attention"
    return lambda op: op.kind == "moe" or (op.kind == "matmul" and (_wide(graph, op) or ".mlp." in f".{op.name}."))


def _wide(graph: Graph, op: Op) -> bool:
    return any(spans(graph, op.dims.get(name), "ffn") for name in ("n", "k"))


def _half(block: Block, marks: Callable[[Op], bool]) -> Block | None:
    """The block without the half; None where it has none that ends in a sum."""
    downstream: set[str] = set()
    for place, op in enumerate(block.ops):
        fed = [r.tensor for r in op.reads if r.tensor in downstream]
        if op.fn == "add" and op.kind == "elementwise" and len(op.reads) == 2 and len(fed) == 1:
            other = next(r.tensor for r in op.reads if r.tensor not in downstream)
            return _bypassed(block, place, other)
        if fed or marks(op):
            downstream.update(w.tensor for w in op.writes)
    return None


def _bypassed(block: Block, place: int, instead: str) -> Block:
    gone = block.ops[place].writes[0].tensor
    ops = [_renamed(op, gone, instead) for i, op in enumerate(block.ops) if i != place]
    outputs = tuple(instead if name == gone else name for name in block.outputs)
    read_before = {r.tensor for op in block.ops for r in op.reads} | {gone}
    while True:
        wanted = {r.tensor for op in ops for r in op.reads} | set(outputs)
        kept = [
            op
            for op in ops
            if not op.writes or any(w.tensor in wanted or w.tensor not in read_before for w in op.writes)
        ]
        if len(kept) == len(ops):
            break
        ops = kept
    touched = {o.tensor for op in ops for o in (*op.reads, *op.writes)} | set(block.inputs) | set(outputs)
    tensors = {name: tensor for name, tensor in block.tensors.items() if name in touched}
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors, outputs=outputs)


def _renamed(op: Op, old: str, new: str) -> Op:
    if not any(r.tensor == old for r in op.reads):
        return op
    reads = tuple(dataclasses.replace(r, tensor=new) if r.tensor == old else r for r in op.reads)
    return dataclasses.replace(op, reads=reads)
