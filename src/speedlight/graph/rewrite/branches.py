"""What a network trained with more than it needs drops when it is deployed: parallel branches, norms.

Convolutions of one input that are added up are one convolution, whose kernel is the largest of theirs; a batch norm of the
input beside them, or the input itself, is a kernel with a single one in it (RepVGG, arXiv 2101.03697 §3.3).
"""

from __future__ import annotations

import dataclasses

from ..._foundation.expr import Expr
from ..ir import Block, Graph, Op
from .norms import fold_batch_norm
from .registry import REWRITES
from .resized import without_unread


@REWRITES.register("merged_branches")
def merged_branches(graph: Graph) -> Graph:
    """Batch norms folded, then sums of convolutions of one input (and of that input) as their largest convolution."""
    graph = fold_batch_norm(graph)
    blocks = tuple(_merged(block) if block.phase == "forward" else block for block in graph.blocks)
    if all(a is b for a, b in zip(blocks, graph.blocks, strict=True)):
        return graph
    return without_unread(graph.replace(blocks=blocks))


def _merged(block: Block) -> Block:
    """Sums walked in order, so that a sum of sums merges step by step."""
    changed = block
    while (found := _one(changed)) is not None:
        changed = found
    return changed


def _one(block: Block) -> Block | None:
    """The block with its first sum of branches as one convolution; None where there is none."""
    makers = {w.tensor: op for op in block.ops for w in op.writes}
    readers: dict[str, int] = {}
    for op in block.ops:
        for r in op.reads:
            readers[r.tensor] = readers.get(r.tensor, 0) + 1
    for output in block.outputs:
        readers[output] = readers.get(output, 0) + 1
    for position, op in enumerate(block.ops):
        if op.fn != "add" or len(op.reads) != 2:
            continue
        sides = [_branch(makers, readers, r.tensor) for r in op.reads]
        names = [r.tensor for r in op.reads]
        convs = [s for s in sides if s is not None and s.kind == "conv"]
        if not convs:
            continue
        source = convs[0].reads[0].tensor
        same = all(
            s.reads[0].tensor == source if s is not None else name == source
            for s, name in zip(sides, names, strict=True)
        )
        if not same or (len(convs) == 2 and not _alike(*convs)) or (len(convs) == 1 and not _square(convs[0])):
            continue
        largest = max(convs, key=lambda c: _size(c.dims["k"]))
        gone = {s.name for s in sides if s is not None} | {op.name}
        kept = dataclasses.replace(largest, writes=(*op.writes[:1], *largest.writes[1:]))
        ops = [o for o in block.ops[:position] if o.name not in gone]
        return dataclasses.replace(block, ops=(*ops, kept, *(o for o in block.ops[position + 1 :])))
    return None


def _branch(makers: dict[str, Op], readers: dict[str, int], tensor: str) -> Op | None:
    """The convolution or norm that makes a tensor only a sum reads; None for anything else."""
    op = makers.get(tensor)
    if op is None or readers.get(tensor, 0) != 1:
        return None
    return op if op.kind == "conv" or (op.fn == "batch_norm" and not op.attrs.get("training")) else None


def _alike(a: Op, b: Op) -> bool:
    names = ("in_channels", "out_channels", "groups", "out_h", "out_w")
    return all(a.dims.get(n) == b.dims.get(n) for n in names) and a.attrs.get("stride") == b.attrs.get("stride")


def _square(conv: Op) -> bool:
    """The input fits beside its result: as many channels, as many pixels."""
    return conv.dims["in_channels"] == conv.dims["out_channels"] and conv.attrs.get("stride", (1, 1)) == (1, 1)


def _size(e: Expr) -> float:
    return float(e.constant or 0.0)


@REWRITES.register("folded_layer_norms")
def folded_layer_norms(graph: Graph, fns: tuple[str, ...] | list[str] = ("layer_norm", "rms_norm")) -> Graph:
    """Norms over the features replaced by batch norms, whose scale and shift go into the product behind them: no pass is left.

    What progressive re-parameterised batch normalisation ends in (arXiv 2405.11582 §3.2).
    """
    blocks = tuple(_without(graph, block, frozenset(fns)) for block in graph.blocks)
    if all(a is b for a, b in zip(blocks, graph.blocks, strict=True)):
        return graph
    return without_unread(graph.replace(blocks=blocks))


def _without(graph: Graph, block: Block, fns: frozenset[str]) -> Block:
    """Readers of a norm that are products read its input instead."""
    instead: dict[str, str] = {}
    ops: list[Op] = []
    by_reader: dict[str, list[Op]] = {}
    for op in block.ops:
        for r in op.reads:
            by_reader.setdefault(r.tensor, []).append(op)
    for op in block.ops:
        made = op.writes[0].tensor if op.writes else ""
        behind = by_reader.get(made, [])
        if op.fn in fns and block.phase == "forward" and behind and made not in block.outputs and all(
            o.kind in ("matmul", "conv", "moe") for o in behind
        ):  # fmt: skip
            source = op.reads[0]
            if source.elements is None or source.elements == graph.tensor(block, source.tensor).elements:
                instead[made] = instead.get(source.tensor, source.tensor)
                continue
        reads = tuple(dataclasses.replace(r, tensor=instead.get(r.tensor, r.tensor)) for r in op.reads)
        ops.append(dataclasses.replace(op, reads=reads) if any(r.tensor in instead for r in op.reads) else op)
    return dataclasses.replace(block, ops=tuple(ops)) if instead else block


__all__ = ["folded_layer_norms", "merged_branches"]
