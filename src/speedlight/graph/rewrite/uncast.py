"""Functions that a mixed-precision region leaves in the format they come in: the model's own code turns casting off for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..ir import Graph, Op
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("uncast")
def uncast(graph: Graph, fns: Sequence[str] = ("group_norm",)) -> Graph:
    """Marks functions for :mod:`.autocast`; without a region around them nothing changes.

    Args:
        fns: their names.
    """
    wanted = frozenset(fns)

    def visit(edit: Edit, op: Op) -> tuple[Op, ...]:
        if op.fn not in wanted or op.attrs.get("uncast"):
            return (op,)
        return (dataclasses.replace(op, attrs={**op.attrs, "uncast": True}),)

    return edited(graph, visit)
