"""Experts that are not chosen equally often: products at the rows of the rank that has most, weights of the experts it touches.

Two symbols a selection (E experts, k picks): ``expert_rows_E_k``, rows of the busiest rank over the mean rank's, and
``expert_touched_E_k``, distinct experts it touches over those of equal chance. 1 for both is the graph as it was. Who binds them
knows the ranks (:mod:`speedlight.engine.steps.expert_ranks`); the message that brings the rows to the rank grows with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.expr import Expr, sym
from ..ir import Graph, Op, Operand
from .edit import Edit, edited
from .registry import REWRITES

ROWS, TOUCHED = "expert_rows", "expert_touched"
UNEVEN = "uneven"  # the attribute of ops that run at the busiest rank's rows: E and k


@REWRITES.register("uneven_experts")
def uneven_experts(graph: Graph) -> Graph:
    """Every routed expert's ops at the busiest rank's rows."""
    names: dict[str, None] = {}
    inside: dict[tuple[str, str], str] = {}  # (block, tensor) made by an expert → E and k

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        block = edit.block.name
        if UNEVEN in op.attrs:
            return (op,)
        key = next((inside[block, r.tensor] for r in op.reads if (block, r.tensor) in inside), "")
        if op.fn == "grouped_linear" and op.selection is not None and op.selection.items.constant is not None:
            key = f"{op.selection.items.constant:g}_{op.selection.picks.constant:g}"
        elif not key or op.kind != "elementwise":
            return (op,)  # the sum over a token's picks is over its own tokens again
        names[key] = None
        rows, touched = sym(f"{ROWS}_{key}"), sym(f"{TOUCHED}_{key}")
        for write in op.writes:
            inside[block, write.tensor] = key
            made = edit.tensors[write.tensor]
            edit.tensors[write.tensor] = dataclasses.replace(made, elements=made.elements * rows)
        return (_at(edit, op, rows, touched, key, inside),)

    found = edited(graph, visit)
    if found is graph:
        return graph
    new = {f"{what}_{key}": 1.0 for key in names for what in (ROWS, TOUCHED)}
    return found.replace(symbols={**found.symbols, **new})


def _at(edit: Edit, op: Op, rows: Expr, touched: Expr, key: str, inside: dict[tuple[str, str], str]) -> Op:
    def operand(o: Operand) -> Operand:
        if o.elements is None:
            return o  # the whole tensor, which has grown where an expert made it
        cls = edit.tensor(o.tensor).cls
        return dataclasses.replace(o, elements=o.elements * (touched if cls == "weight" else rows))

    dims = {
        name: e * touched if name == "batch" else e * rows / touched if name == "m" else e
        for name, e in op.dims.items()
    }
    grouped = op.fn == "grouped_linear"
    selection = op.selection
    return dataclasses.replace(
        op, reads=tuple(operand(r) for r in op.reads), writes=tuple(operand(w) for w in op.writes),
        work=tuple(dataclasses.replace(w, flops=w.flops * rows, dense=None if w.dense is None else w.dense * rows) for w in op.work),
        dims=dims if grouped else {name: e * rows if name == "rows" else e for name, e in op.dims.items()},
        selection=selection if selection is None else dataclasses.replace(selection, busiest=rows),
        attrs={**op.attrs, UNEVEN: key},
    )  # fmt: skip


__all__ = ["ROWS", "TOUCHED", "UNEVEN", "uneven_experts"]
