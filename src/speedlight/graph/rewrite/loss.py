"""The loss in fp32: logits of 16 bit are widened before it, as most training loops do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.expr import const, ge, sym, where
from ..._foundation.formats import number_format
from ..builder import BlockBuilder
from ..ir import Graph, Op, Operand
from .edit import Edit, edited, with_reads
from .registry import REWRITES

SCRATCH = "scratch"  # the attribute of an op that holds so many more tensors of its first operand's size while it runs


@REWRITES.register("loss_in_fp32")
def loss_in_fp32(graph: Graph, local: bool = False) -> Graph:
    """A cast of what a cross entropy reads, and the copies that PyTorch makes of it on the way back.

    ``F.cross_entropy`` keeps the log-softmax; its backward pass fills one tensor with the loss's gradient and writes the logits'
    gradient into another: three fp32 tensors of the logits' size at once (ATen: nll_loss_backward, then _log_softmax_backward_data).
    Over a vocabulary in parts (``torch.distributed.tensor.parallel.loss_parallel``) exponentials are a fourth.

    Args:
        local: each rank computes the loss of its part of the vocabulary.
    """

    copies = where(ge(sym("tp"), 2), 2, 1) if local else const(1)

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "cross_entropy" or number_format(edit.tensor(op.reads[0].tensor).dtype).bits >= 32:
            return (op,)
        read = op.reads[0]
        size = edit.touched(read)
        tiled = bool(graph.attrs.get("tiled_loss"))  # a tile of rows at a time
        held = edit.tensor(read.tensor).elements if local or tiled else size
        wide = edit.activation(f"{read.tensor}.fp32", held, "fp32")
        cast = edit.op(
            f"{op.name}.cast",
            "copy",
            "cast",
            op,
            reads=(Operand(read.tensor),) if local and not tiled else (read,),
            writes=(Operand(wide, None if held is size or not tiled else size),),
            work=BlockBuilder.element_work("cast", size),
        )
        return cast, dataclasses.replace(with_reads(op, {0: wide}), attrs={**op.attrs, SCRATCH: copies})

    return edited(graph, visit)
