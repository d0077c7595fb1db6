"""Some layers of each folded block keep their weights: no weight gradients, no optimizer states, nothing saved for them."""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..._foundation.expr import const, evaluate
from ..ir import Block, Graph, Tensor, named_apart
from ..stats import unsharded
from .registry import REWRITES


@REWRITES.register("still_layers")
def still_layers(graph: Graph, share: float = 0.5) -> Graph:
    """The graph with a share of every repeated block's layers frozen, rounded down to whole layers.

    Gradients still run back through frozen layers to those that train (SlimFit, arXiv 2305.18513 §3: layers are frozen wherever
    they contribute least, not only at the bottom).

    Raises:
        BadInput: for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"a share of {share} of the layers", expected="0 to 1")
    if not share or graph.attrs.get("still_layers"):
        return graph
    sizes = unsharded(graph)
    made: list[Block] = []
    for block in graph.blocks:
        count = float(evaluate(block.count, sizes))
        frozen = float(int(count * share))
        if count < 2 or not frozen:
            made.append(block)
            continue
        still = {n: _still(t) for n, t in block.tensors.items()}
        made.append(dataclasses.replace(block, count=const(frozen), tensors=still, layers=()))
        if frozen < count:
            made.append(dataclasses.replace(block, count=const(count - frozen), layers=()))
    return graph.replace(blocks=tuple(named_apart(made)), attrs={**graph.attrs, "still_layers": share})


def _still(tensor: Tensor) -> Tensor:
    return dataclasses.replace(tensor, needs_grad=False) if tensor.cls == "weight" else tensor
