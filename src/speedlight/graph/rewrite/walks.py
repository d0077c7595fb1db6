"""Kernels that give a channel to one block of threads: where channels are few, memory is not asked for enough at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.expr import const
from ..ir import Graph, Op
from .edit import Edit, edited
from .expand import channels_last, order_of
from .registry import REWRITES

FUNCTIONS = ("batch_norm", "batch_norm_backward")


@REWRITES.register("norm_by_channel")
def norm_by_channel(graph: Graph, in_flight: float = 4096.0) -> Graph:
    """Batch norms of an image that lies row by row note that they take it channel by channel.

    Over statistics of the batch they note with how many blocks they walk through it; where these are known, that another kernel runs
    than channels last (``attrs["planes"]``).

    Args:
        in_flight: bytes that a block asks of memory before it waits for the first of them.
    """

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn not in FUNCTIONS or "width" not in op.dims or "walks" in op.dims or "planes" in op.attrs:
            return (op,)
        if channels_last(order_of(op, 0)):
            return (op,)
        if not op.attrs.get("training"):
            known = op.fn == "batch_norm" and op.phase == "forward"
            return (dataclasses.replace(op, attrs={**op.attrs, "planes": True}),) if known else (op,)
        dims = {**op.dims, "walks": op.dims["width"], "in_flight": const(in_flight)}
        return (dataclasses.replace(op, dims=dims),)

    return edited(graph, visit)


__all__ = ["norm_by_channel"]
