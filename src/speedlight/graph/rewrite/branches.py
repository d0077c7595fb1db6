"""What a network trained with more than it needs drops when it is deployed: parallel branches, norms.

Convolutions of one input that are added up are one convolution, whose kernel is the largest of theirs; a batch norm of the
input beside them, or the input itself, is a kernel with a single one in it (RepVGG, arXiv 2101.03697 §3.3).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr
from ..ir import Block, Graph, Op
from .norms import fold_batch_norm
from .registry import REWRITES
from .resized import without_unread


@REWRITES.register("merged_branches")
def merged_branches(graph: Graph, norms: str = "all") -> Graph:
    """Sums of convolutions of one input (and of that input) as their largest convolution.

    Args:
        norms: which batch norms become part of the weights before them: ``all``, as a compiler of a finished network has it, or
            those of the ``branches`` alone, as the model's own re-parameterisation leaves it.

    Raises:
        BadInput: for other norms.
    """
    if norms not in ("all", "branches"):
        raise BadInput(f"norms {norms!r} of merged branches", expected="all or branches")
    if norms == "all":
        graph = fold_batch_norm(graph)
    blocks = tuple(_merged(block) if block.phase == "forward" else block for block in graph.blocks)
    if all(a is b for a, b in zip(blocks, graph.blocks, strict=True)):
        return graph
    return without_unread(graph.replace(blocks=blocks))


@dataclass(frozen=True, slots=True)
class _Branch:
    """What makes one side of a sum.

    Attributes:
        op: the convolution, or the last scale or norm of the input itself.
        gone: names of the ops that the merged convolution replaces.
        source: the tensor it reads.
    """

    op: Op
    gone: frozenset[str]
    source: str


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
        if op.fn not in ("add", "sub") or not 1 <= len(op.reads) <= 2:
            continue
        names = [r.tensor for r in op.reads]
        sides = [_branch(block, makers, readers, name) for name in names]
        convs = [s for s in sides if s is not None and s.op.kind == "conv"]
        if not convs:
            continue
        source = convs[0].source
        same = all(
            s.source == source if s is not None else name == source for s, name in zip(sides, names, strict=True)
        )
        if not same or (len(convs) == 2 and not _alike(convs[0].op, convs[1].op)):
            continue
        bare = len(names) == 2 and None in sides
        if bare and not (len(convs[0].gone) > 1 or convs[0].op.attrs.get("merged")):
            continue  # an input added to a lone convolution of it is the network's own, as position encodings are
        if len(names) == 2 and len(convs) == 1 and not _square(convs[0].op):
            continue
        largest = max((c.op for c in convs), key=lambda c: _size(c.dims["k"]))
        gone = {name for s in sides if s is not None for name in s.gone} | {op.name}
        kept = dataclasses.replace(
            largest, writes=(*op.writes[:1], *largest.writes[1:]), attrs={**largest.attrs, "merged": True}
        )  # fmt: skip
        ops = [o for o in block.ops[:position] if o.name not in gone]
        return dataclasses.replace(block, ops=(*ops, kept, *(o for o in block.ops[position + 1 :])))
    return None


def _branch(block: Block, makers: dict[str, Op], readers: dict[str, int], tensor: str) -> _Branch | None:
    """The convolution, or the input itself, that makes a tensor only a sum reads, with the scales and shifts per channel between
    them; None for anything else."""
    gone: list[Op] = []
    at = tensor
    while (op := makers.get(at)) is not None and readers.get(at, 0) == 1:
        if op.kind == "conv":
            return _Branch(op, frozenset(o.name for o in (*gone, op)), op.reads[0].tensor)
        if not _per_channel(block, op):
            break
        gone.append(op)
        at = op.reads[0].tensor
    return _Branch(gone[-1], frozenset(o.name for o in gone), at) if gone else None


def _per_channel(block: Block, op: Op) -> bool:
    """A norm by known statistics, a product with a learned vector, a plain number added: what goes into a kernel before it."""
    if op.fn == "batch_norm":
        return not op.attrs.get("training")
    if op.fn == "mul" and len(op.reads) == 2:
        other = block.tensors.get(op.reads[1].tensor)
        return other is not None and other.cls == "weight"
    return op.fn == "add" and len(op.reads) == 1


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
