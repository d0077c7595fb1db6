"""What fused kernels of a training step do not leave behind, so that nothing of it waits for the backward pass.

A kernel that applies an activation and multiplies keeps the activation's result inside; its backward kernel makes it again from the
operands that are kept anyway (Megatron-Core ``fused_bias_swiglu``: ``SwiGLUFunction.forward`` saves its input alone). Where
routing weights scale the activation of an expert (``weighted_bias_swiglu``), their gradient needs no result of the expert's last
product, and none is kept. This says what is *kept*; what the kernels read and write is the graph's and the stack's.
"""

from __future__ import annotations

from ..graph.ir import Block, Graph, Op
from ..stacks.record import Stack

WEIGHED = "weighs_activations"  # the stack's attribute: routing weights scale experts' activations, not their results


def remade(graph: Graph, stack: Stack) -> dict[str, frozenset[str]]:
    """Forward block → tensors that fused kernels of the stack make again, or never need."""
    found = {}
    for block in graph.blocks:
        if block.phase == "forward":
            names = {*_inside(block, stack), *(_results(block) if stack.attrs.get(WEIGHED) else ())}
            if names:
                found[block.name] = frozenset(names)
    return found


def _inside(block: Block, stack: Stack) -> list[str]:
    """Activations whose only reader is the product they are fused with."""
    readers = _readers(block)
    made = []
    for op in block.ops:
        if op.kind != "elementwise" or len(op.writes) != 1 or op.writes[0].tensor in block.outputs:
            continue
        after = readers.get(op.writes[0].tensor, [])
        if len(after) == 1 and after[0].fn == "mul" and any(r.matches((op.fn, after[0].fn)) for r in stack.fuse):
            made.append(op.writes[0].tensor)
    return made


def _results(block: Block) -> list[str]:
    """Results of experts' products that only the sum over a token's picks reads."""
    readers = _readers(block)
    made = []
    for op in block.ops:
        if op.fn != "grouped_linear":
            continue
        after = readers.get(op.writes[0].tensor, [])
        if after and all(reader.kind == "reduction" for reader in after):
            made.append(op.writes[0].tensor)
    return made


def _readers(block: Block) -> dict[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in block.ops:
        for read in op.reads:
            found.setdefault(read.tensor, []).append(op)
    return found


__all__ = ["WEIGHED", "remade"]
