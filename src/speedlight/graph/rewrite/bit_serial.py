"""Products of few-bit integers as sums of one-bit products (APNN-TC, arXiv 2106.12169; arXiv 2409.17870).

A product of p-bit by q-bit integers is p · q binary ones, shifted and added. Binary matrix instructions run four times as many
multiply-adds a second as those of 4 bits (NVIDIA A100 whitepaper, table 3: 4992 against 1248 TOPS).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..ir import Graph, Op, Work
from .edit import Edit, edited
from .registry import REWRITES

BINARY_OVER_INT4 = 4.0


@REWRITES.register("bit_serial")
def bit_serial(graph: Graph, weights: int = 1, activations: int = 2) -> Graph:
    """Linear layers' products as ``weights · activations`` binary ones.

    Args:
        weights, activations: bits of each.
    """
    if weights < 1 or activations < 1:
        raise BadInput(f"{weights} by {activations} bits", expected="at least 1 of each")
    planes = weights * activations / BINARY_OVER_INT4

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn not in ("linear", "grouped_linear") or op.phase != "forward" or "bit_serial" in op.attrs:
            return (op,)
        work = tuple(Work("matmul", w.flops * planes, "int4") if w.unit == "matmul" else w for w in op.work)
        return (dataclasses.replace(op, work=work, attrs={**op.attrs, "bit_serial": (weights, activations)}),)

    return edited(graph, visit)


__all__ = ["bit_serial"]
