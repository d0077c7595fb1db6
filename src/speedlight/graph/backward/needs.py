"""Which tensors a gradient flows to: those that depend on a weight that trains, through floating-point results."""

from __future__ import annotations

from collections.abc import Sequence

from ..._foundation.formats import number_format
from ..ir import Block, Graph, Op, Tensor


def trains(tensor: Tensor) -> bool:
    """Weights in integer formats (4-bit, 8-bit) are frozen: nobody updates them in place."""
    return tensor.cls == "weight" and tensor.needs_grad and number_format(tensor.dtype).kind == "float"


def passes(tensor: Tensor, op: Op) -> bool:
    """May a gradient flow to this result? Quantisers are differentiated straight through, to whatever format."""
    if tensor.cls != "activation" or not tensor.needs_grad:
        return False
    return op.fn == "quantize" or number_format(tensor.dtype).kind == "float"


def needs(graph: Graph, blocks: Sequence[Block]) -> dict[str, frozenset[str]]:
    """For each forward block the names of its activations and weights that a gradient flows to."""
    found: dict[str, frozenset[str]] = {}
    handed: list[bool] = []
    everywhere: set[str] = set()  # shared activations
    for block in blocks:
        taken = [position < len(handed) and handed[position] for position in range(len(block.inputs))]
        while True:
            start = {n for n, flag in zip(block.inputs, taken, strict=True) if flag}
            names = _inside(graph, block, start | everywhere)
            handed = [name in names for name in block.outputs]
            if block.count.constant == 1 or len(block.inputs) != len(block.outputs):
                break
            both = [a or b for a, b in zip(taken, handed, strict=True)]  # what it hands on, it takes again
            if both == taken:
                break
            taken = both
        found[block.name] = names
        everywhere |= {n for n in names if n in graph.shared and graph.shared[n].cls == "activation"}
    return found


def _inside(graph: Graph, block: Block, start: set[str]) -> frozenset[str]:
    names = set(start)
    for op in block.ops:
        read = [graph.tensor(block, r.tensor) for r in op.reads]
        for tensor in read:
            if trains(tensor):
                names.add(tensor.name)
        if any(t.name in names for t in read):
            for write in op.writes:
                if passes(graph.tensor(block, write.tensor), op):
                    names.add(write.tensor)
    return frozenset(names)


def layers(graph: Graph) -> set[str]:
    """Blocks that full recomputation runs again.

    Of a transformer built from its configuration the layers, as Megatron and transformers do. Of a captured module every
    block but a lone last one, whose activations are still there when the backward pass starts.
    """
    if graph.attrs.get("kind") == "module":
        lone = len(graph.blocks) > 1 and graph.blocks[-1].count.constant == 1
        return {b.name for b in (graph.blocks[:-1] if lone else graph.blocks)}
    found = {b.name for b in graph.blocks if b.layers or b.count.constant != 1}
    return found or {b.name for b in graph.blocks}


def mirror(name: str) -> str:
    """The backward block of a forward block."""
    return f"{name}.backward"


__all__ = ["layers", "mirror", "needs", "passes", "trains"]
