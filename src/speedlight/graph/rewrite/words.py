"""Tables and head of a language model for another number of words."""

from __future__ import annotations

from ..._foundation.expr import ExprLike, sym
from ..ir import Graph
from .registry import REWRITES
from .resized import graph_with


@REWRITES.register("vocabulary")
def vocabulary(graph: Graph, size: int = 0, multiple: int = 1) -> Graph:
    """Tables and head of a language model for another number of words.

    Args:
        size: of the vocabulary; 0 for the model's own.
        multiple: rounded up to a multiple of it.
    """
    values: dict[str, ExprLike] = {}
    for name, dim in graph.dims.items():
        if dim.role == "vocab":
            wanted = -(-(size or dim.size) // multiple) * multiple
            if wanted != dim.size:
                values[name] = sym(name) * (wanted / dim.size)
    return graph_with(graph, values) if values else graph


__all__ = ["vocabulary"]
