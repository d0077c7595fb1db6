"""A model of which only small vectors train, as its adapters would: low-rank finetuning seen from the frozen weights."""

from __future__ import annotations

import dataclasses

from ..ir import Block, Graph, Tensor
from .registry import REWRITES

_LARGE = ("matmul", "moe", "conv", "embedding")


@REWRITES.register("frozen")
def frozen(graph: Graph) -> Graph:
    """Weights of products and tables do not train; those of norms do, so that gradients run back through every layer.

    What low-rank adapters (arXiv 2106.09685) add themselves, a hundredth of the products at rank 16, is left out.
    """
    if graph.attrs.get("frozen"):
        return graph
    large = {r.tensor for block in graph.blocks for op in block.ops if op.kind in _LARGE for r in op.reads}

    def still(tensor: Tensor) -> Tensor:
        fixed = tensor.cls == "weight" and tensor.name in large
        return dataclasses.replace(tensor, needs_grad=False) if fixed else tensor

    def part(block: Block) -> Block:
        return dataclasses.replace(block, tensors={n: still(t) for n, t in block.tensors.items()})

    shared = {n: still(t) for n, t in graph.shared.items()}
    return graph.replace(
        blocks=tuple(part(b) for b in graph.blocks), shared=shared, attrs={**graph.attrs, "frozen": True}
    )
