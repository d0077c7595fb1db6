"""Experts with a fixed capacity: each computes as many rows as it has slots, full or not (GShard, Switch, Tutel)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..ir import Graph, Op
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("expert_capacity")
def expert_capacity(graph: Graph, factor: float = 1.0) -> Graph:
    """Routed experts' products at ``factor`` times the even share of rows.

    Args:
        factor: slots of an expert over the even share of tokens; 1 pads nothing and drops what is uneven.
    """
    if factor < 1:
        raise BadInput(f"a capacity factor of {factor:g}", expected="at least 1")
    if factor == 1:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "grouped_linear" or "capacity" in op.attrs:
            return (op,)
        work = tuple(dataclasses.replace(w, flops=w.flops * factor) for w in op.work)
        reads, writes = (
            tuple(
                dataclasses.replace(o, elements=edit.touched(o) * factor)
                if edit.tensor(o.tensor).cls == "activation"
                else o
                for o in own
            )
            for own in (op.reads, op.writes)
        )
        dims = {k: e * factor if k == "m" else e for k, e in op.dims.items()}
        attrs = {**op.attrs, "capacity": factor}
        return (dataclasses.replace(op, work=work, reads=reads, writes=writes, dims=dims, attrs=attrs),)

    return edited(graph, visit)


__all__ = ["expert_capacity"]
