"""Fourier transforms as chains of matrix products: more operations on a much faster unit, and fewer passes through memory.

A transform of n points in p steps of n^(1/p): each step multiplies by a dense matrix of that side, 8 real operations for a complex
multiply-add (Monarch decomposition; FlashFFTConv, arXiv 2311.05908, §3.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..ir import Graph, Op, Work
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("monarch_fft")
def monarch_fft(graph: Graph, order: int = 2, format: str = "fp16", passes: int = 1) -> Graph:
    """Every one-dimensional transform as ``order`` products with dense matrices on the matrix unit.

    Args:
        order: steps.
        format: numbers are multiplied in it.
        passes: times the points go through memory.
    """
    if order < 1 or passes < 1:
        raise BadInput(f"{order} steps in {passes} passes", expected="at least 1 of each")

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "fft" or "width" not in op.dims:
            return (op,)
        side = op.dims["width"] ** (1 / order)
        points = edit.tensor(op.writes[0].tensor).elements  # complex ones, of all transforms
        work = (Work("matmul", 8 * order * side * points, format),)
        reads, writes = (
            tuple(dataclasses.replace(o, elements=edit.tensor(o.tensor).elements * passes) for o in own)
            for own in (op.reads, op.writes)
        )
        return (
            dataclasses.replace(
                op, fn="monarch_fft", work=work, reads=reads, writes=writes, span=const(passes * order)
            ),
        )

    return edited(graph, visit)


__all__ = ["monarch_fft"]
