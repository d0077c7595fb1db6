"""Several fine-tunes of one model served together: whole copies of its weights, or one base and a narrow delta for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import const, maximum
from ..._foundation.formats import number_format
from ..builder import SEQS, BlockBuilder
from ..ir import Graph, Op, Operand, Persistent, Selection, Tensor
from .edit import Edit, edited
from .held import as_it_was, chosen, matrix_of
from .registry import REWRITES


@REWRITES.register("fine_tunes")
def fine_tunes(graph: Graph, count: int = 8, delta: str = "") -> Graph:
    """Each sequence of a step is served by one of ``count`` fine-tunes, all alike; tables and heads are shared.

    Whole copies: a step reads the copies that its sequences meet, and multiplies each on its own. Deltas: it reads the base
    once, and of each fine-tune it meets the delta, whose products are added (BitDelta, arXiv 2402.10193 §3.3).

    Args:
        count: fine-tunes.
        delta: the deltas' number format; empty for whole copies.

    Raises:
        BadInput: for a count below 1.
    """
    if count < 1:
        raise BadInput(f"{count!r} fine-tunes", expected="at least 1")
    selection = Selection(const(float(count)), const(1.0))
    met = selection.distinct(SEQS)
    fmt = number_format(delta).name if delta else ""

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        held = None if position is None else as_it_was(edit, op.reads[position].tensor)
        if held is None or op.fn != "linear" or not chosen(op, ""):
            return (op,)
        whole = held.elements * float(count)
        if not fmt:
            edit.tensors[held.name] = dataclasses.replace(held, elements=whole, persistent=Persistent(whole))
            reads = tuple(
                dataclasses.replace(r, elements=met * held.elements) if i == position else r for i, r in enumerate(op.reads)
            )  # fmt: skip
            dims = {**op.dims, "m": op.dims["m"] / maximum(met, 1.0), "batch": met}
            return (
                dataclasses.replace(op, kind="moe", fn="grouped_linear", reads=reads, dims=dims, selection=selection),
            )
        name = f"{op.name}.delta"
        edit.tensors[name] = Tensor(name, whole, fmt, "weight", Persistent(whole))
        result = edit.tensor(op.writes[0].tensor)
        base, part = (edit.activation(f"{op.name}.{n}.out", result.elements, result.dtype) for n in ("base", "delta"))
        product = edit.op(
            name, "moe", "delta_linear", op, reads=(op.reads[0], Operand(name, met * held.elements)), writes=(Operand(part),),
            work=op.work, dims={**op.dims, "m": op.dims["m"] / maximum(met, 1.0), "batch": met}, selection=selection,
        )  # fmt: skip
        added = edit.op(
            f"{op.name}.add", "elementwise", "add", op, reads=(Operand(base), Operand(part)), writes=op.writes,
            work=BlockBuilder.element_work("add", result.elements), exchanges=op.exchanges,
        )  # fmt: skip
        return (dataclasses.replace(op, writes=(Operand(base), *op.writes[1:]), exchanges=()), product, added)

    return edited(graph, visit, lambda b: b.phase == "forward")
