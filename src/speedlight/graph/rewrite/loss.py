"""The loss in fp32: logits of 16 bit are widened before it, as most training loops do."""

from __future__ import annotations

from collections.abc import Iterable

from ..._foundation.formats import number_format
from ..builder import BlockBuilder
from ..ir import Graph, Op, Operand
from .edit import Edit, edited, with_reads
from .registry import REWRITES


@REWRITES.register("loss_in_fp32")
def loss_in_fp32(graph: Graph) -> Graph:
    """A cast of what a cross entropy reads: 4 bytes a logit and their gradient's 4 are what a step holds at its peak."""

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "cross_entropy" or number_format(edit.tensor(op.reads[0].tensor).dtype).bits >= 32:
            return (op,)
        read = op.reads[0]
        size = edit.touched(read)
        held = edit.tensor(read.tensor).elements if graph.attrs.get("tiled_loss") else size  # a tile of rows at a time
        wide = edit.activation(f"{read.tensor}.fp32", held, "fp32")
        cast = edit.op(
            f"{op.name}.cast",
            "copy",
            "cast",
            op,
            reads=(read,),
            writes=(Operand(wide, None if held is size else size),),
            work=BlockBuilder.element_work("cast", size),
        )
        return cast, with_reads(op, {0: wide})

    return edited(graph, visit)
