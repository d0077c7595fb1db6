"""Some layers of each folded block keep their weights: no weight gradients, no optimizer states, nothing saved for them."""

from __future__ import annotations

import dataclasses

from ..ir import Block, Graph, Tensor
from .layers import in_layers, repeated
from .registry import REWRITES


@REWRITES.register("still_layers")
def still_layers(graph: Graph, share: float = 0.5) -> Graph:
    """The graph with a share of the repeated layers frozen.

    Gradients still run back through frozen layers to those that train (SlimFit, arXiv 2305.18513 §3: layers are frozen wherever
    they contribute least, not only at the bottom).

    Raises:
        BadInput: for a share outside 0 to 1.
    """
    if graph.attrs.get("still_layers"):
        return graph
    frozen = in_layers(graph, share, repeated, _still)
    return graph if frozen is graph else frozen.replace(attrs={**graph.attrs, "still_layers": share})


def _still(graph: Graph, block: Block) -> Block:
    return dataclasses.replace(block, tensors={n: _without_gradient(t) for n, t in block.tensors.items()})


def _without_gradient(tensor: Tensor) -> Tensor:
    return dataclasses.replace(tensor, needs_grad=False) if tensor.cls == "weight" else tensor
