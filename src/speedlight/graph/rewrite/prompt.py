"""Layers that prompt tokens pass by: only their keys and values are made there, from what an earlier layer handed on.

A prompt token is never asked for more than its keys and values; the last one of each sequence runs on. A step of one new token a
sequence is as before (arXiv 2410.03960; arXiv 2405.05254 has the same saving from its second half).
"""

from __future__ import annotations

import dataclasses

from ..._foundation.expr import Expr, ExprLike, substitute
from ..builder import CACHED, NEW, SEQS
from ..ir import Block, Graph, Operand
from .kv_content import _made
from .kv_tokens import cached_reads, with_symbols
from .layers import in_layers
from .registry import REWRITES

# Of each sequence only the last new token: all others are cached by then.
LAST: dict[str, ExprLike] = {"tokens": SEQS, "cached": CACHED + NEW - 1, "new": 1}


@REWRITES.register("prompt_passes")
def prompt_passes(graph: Graph, layers: float = 0.5) -> Graph:
    """Prompt tokens skip a share of the layers, but for their keys and values."""
    return in_layers(graph, layers, _makes_keys, _passed)


def _makes_keys(graph: Graph, block: Block) -> bool:
    return any(_made(graph, block, op) for op in cached_reads(graph, block))


def _passed(graph: Graph, block: Block) -> Block:
    """All ops at the last token, but those on the way from the block's input to its keys and values."""
    kept = {name for op in cached_reads(graph, block) for name in _made(graph, block, op)}
    stays: set[str] = set()
    for op in reversed(block.ops):
        if any(w.tensor in kept for w in op.writes) or any(
            graph.tensor(block, w.tensor).cls == "kv" for w in op.writes
        ):
            stays.add(op.name)
            kept.update(r.tensor for r in op.reads if graph.tensor(block, r.tensor).cls == "activation")
    ops = []
    for op in block.ops:
        if op.name in stays:
            ops.append(op)
            continue
        changed = with_symbols(op, LAST)
        reads = tuple(_part(graph, block, r, kept) for r in changed.reads)
        ops.append(dataclasses.replace(changed, reads=reads))
    tensors = {
        n: t if n in kept or t.persistent else dataclasses.replace(t, elements=_last(t.elements))
        for n, t in block.tensors.items()
    }
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _part(graph: Graph, block: Block, read: Operand, kept: set[str]) -> Operand:
    """Of what all tokens have, an op of the last token reads its own part, unless it says what it reads."""
    if read.tensor not in kept or read.elements is not None:
        return read
    return dataclasses.replace(read, elements=_last(graph.tensor(block, read.tensor).elements))


def _last(size: Expr) -> Expr:
    return substitute(size, LAST)


__all__ = ["prompt_passes"]
