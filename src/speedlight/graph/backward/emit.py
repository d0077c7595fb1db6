"""Helpers that backward rules share: gradients that arrived, scaled work, ops with one result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..._foundation.expr import Expr
from ..builder import BlockBuilder
from ..ir import Op, Operand, Work
from .accumulate import Gradients


def emit(
    g: Gradients, name: str, kind: str, fn: str, op: Op, reads: Sequence[Operand], written: list[Operand],
    work: tuple[Work, ...], **fields: object,
) -> None:  # fmt: skip
    """Add an op that writes ``written[0]`` (and accumulates into ``written[1]`` if there is one).

    Fields may name its pass (``pass_name``) and how its reads and its result lie in memory (``orders``: the result last).
    """
    attrs = facts(op, str(fields.pop("pass_name", "backward")))
    orders = fields.pop("orders", None)
    if isinstance(orders, tuple):
        attrs = {**{k: v for k, v in attrs.items() if k not in LIES}, **_lying(orders)}
    g.op(
        name, kind, fn, op, reads=(*reads, *written[1:]), writes=(written[0],), work=work, attrs=attrs, **fields
    )  # fmt: skip
    g.settle()


LIES = ("orders", "out_orders")


def _lying(orders: tuple[str, ...]) -> dict[str, object]:
    """Orders of reads and of the result, where any is another than row by row."""
    found = {"orders": orders[:-1], "out_orders": orders[-1:]}
    return {name: own for name, own in found.items() if any(own)}


def facts(op: Op, which: str = "backward") -> dict[str, object]:
    """The forward op's plain facts, and which pass this is (``backward``, ``dgrad``, ``wgrad``)."""
    return {**{k: v for k, v in op.attrs.items() if k not in ("in_place", "square")}, "pass": which}


def dys(op: Op, arrived: dict[str, str]) -> tuple[Operand, ...]:
    """The gradients of what the op wrote; of a tensor it wrote in part, that part."""
    return tuple(Operand(arrived[w.tensor], w.elements) for w in op.writes if w.tensor in arrived)


def times(work: Sequence[Work], factor: float, unit: str | None = None) -> tuple[Work, ...]:
    """Work scaled by a factor (only of one unit, the rest as it is)."""
    made = []
    for w in work:
        f = factor if unit in (None, w.unit) else 1
        made.append(dataclasses.replace(w, flops=w.flops * f, dense=None if w.dense is None else w.dense * f))
    return tuple(made)


def twice(op: Op) -> tuple[Work, ...]:
    return times(op.work, 2)


def elements(g: Gradients, read: Operand) -> Expr:
    return read.elements if read.elements is not None else g.forward_only(read.tensor).elements


def sum_to(g: Gradients, op: Op, read: Operand, dy: Sequence[Operand], name: str, fn: str) -> None:
    """A broadcast operand's gradient: the sum of dy over what it was broadcast over."""
    tensor = g.forward_only(read.tensor)
    size = tensor.elements if read.elements is None else read.elements
    summed = dy[0].elements if dy[0].elements is not None else g.held(dy[0].tensor).elements
    if tensor.cls != "weight" and g.samples.equal(size, summed):
        g.alias(read, dy[0].tensor)
        return
    written = g.target(read, dy[:1])
    emit(g, name, "reduction", fn, op, dy[:1], written, BlockBuilder.element_work("add", summed))
