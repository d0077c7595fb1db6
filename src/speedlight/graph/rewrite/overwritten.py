"""What a call overwrites although the backward pass reads it: a framework copies it first.

PyTorch's functions in place save their argument for the backward pass where the derivative is computed from it. One that then
overwrites it saves a clone (tools/autograd/gen_variable_type.py); one whose derivative is computed from its result (ReLU, leaky
ReLU) does not. Which are of the first sort follows from PyTorch's derivatives.yaml, so functions come as a parameter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from ..ir import Graph, Op, Operand
from .edit import Edit, edited
from .expand import LIBRARY, order_of
from .registry import REWRITES


@REWRITES.register("keep_overwritten")
def keep_overwritten(graph: Graph, functions: Sequence[str] = ()) -> Graph:
    """Copies of what calls in place overwrite and the backward pass reads.

    The copy is what is overwritten then, since the two are the same and what is saved keeps its name; nothing of a graph that
    does not train.

    Args:
        functions: those whose derivative is computed from their argument.
    """
    saved = {block: frozenset(names) for block, names in graph.attrs.get("saved", {}).items()}
    copying = frozenset(functions)

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn not in copying or op.phase != "forward" or not op.attrs.get("in_place"):
            return (op,)
        first = op.reads[0]
        if first.tensor not in saved.get(edit.block.name, ()):
            return (op,)
        tensor, order = edit.tensor(first.tensor), order_of(op, 0)
        name = edit.activation(f"{first.tensor}.copy", edit.touched(first), tensor.dtype, tensor.needs_grad)
        orders = {"orders": (order,), "out_orders": (order,)} if order else {}
        copy = edit.op(
            f"{op.name}.copy", "copy", "copy", op, reads=(first,), writes=(Operand(name),), attrs={**orders, LIBRARY: True}
        )  # fmt: skip
        return copy, dataclasses.replace(op, reads=(Operand(name), *op.reads[1:]))

    return edited(graph, visit, lambda block: bool(saved.get(block.name)))


__all__ = ["keep_overwritten"]
