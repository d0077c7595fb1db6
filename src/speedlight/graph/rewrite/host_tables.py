"""Tables in the host's memory: how a device comes by their rows, and rows it keeps because they are wanted often."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..._foundation.errors import BadInput
from ..ir import Graph, Operand, Tensor
from .registry import REWRITES

PATHS = ("copied", "zero-copy", "demand-paged")


@REWRITES.register("host_path")
def host_path(graph: Graph, path: str = "zero-copy") -> Graph:
    """Every read of what lies in the host's memory by one path (:class:`..ir.Operand`).

    Raises:
        BadInput: for a path there is not.
    """
    if path not in PATHS:
        raise BadInput(f"the path {path!r}", expected=", ".join(PATHS))

    def change(operand: Operand, tensor: Tensor) -> Operand:
        return operand if operand.path == path else dataclasses.replace(operand, path=path)

    return _reads(graph, change)


@REWRITES.register("host_hits")
def host_hits(graph: Graph, hit: float = 0.0) -> Graph:
    """A share of the look-ups in tables of the host's memory that rows kept on the device serve; those cross no link.

    Raises:
        BadInput: for a share outside 0 to 1.
    """
    if not 0.0 <= hit <= 1.0:
        raise BadInput(f"a hit rate of {hit!r}", expected="0 to 1")
    if not hit or graph.attrs.get("host_hits"):
        return graph

    def change(operand: Operand, tensor: Tensor) -> Operand:
        whole = tensor.elements if operand.elements is None else operand.elements
        return dataclasses.replace(operand, elements=whole * (1.0 - hit)) if operand.access == "random" else operand

    found = _reads(graph, change)
    return graph if found is graph else found.replace(attrs={**graph.attrs, "host_hits": hit})


def _reads(graph: Graph, change: Callable[[Operand, Tensor], Operand]) -> Graph:
    """The graph with reads of the host's tensors changed; itself where there are none."""
    blocks = []
    for block in graph.blocks:
        ops = []
        for op in block.ops:
            tensors = [graph.tensor(block, r.tensor) for r in op.reads]
            away = [t.persistent is not None and any(r == "host" and s for r, s in t.persistent.homes) for t in tensors]
            reads = tuple(change(r, t) if far else r for r, t, far in zip(op.reads, tensors, away, strict=True))
            same = all(a is b for a, b in zip(reads, op.reads, strict=True))
            ops.append(op if same else dataclasses.replace(op, reads=reads))
        same = all(a is b for a, b in zip(ops, block.ops, strict=True))
        blocks.append(block if same else dataclasses.replace(block, ops=tuple(ops)))
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=tuple(blocks))
