"""A graph of a model in evaluation mode → the same in training mode, as far as the graph tells.

Batch norms compute the statistics of the batch in a pass of their own (so they read their input twice), hand mean and deviation to the
backward pass and update the running ones. Dropout has left no trace in such a graph, and comes not back: the answer says so. A module
that is captured for training needs none of this.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from ..._foundation.expr import const
from ..builder import BlockBuilder
from ..ir import ONE, Block, Graph, Op, Operand, Persistent, Tensor

NOTE = ("training mode", "batch norms compute statistics; dropout that evaluation leaves out is not there")


@lru_cache(maxsize=32)
def training_mode(graph: Graph) -> Graph:
    """The forward graph that a training step runs; the graph itself where it was captured for training or needs no change."""
    if graph.attrs.get("kind") != "module" or graph.attrs.get("train"):
        return graph
    blocks = tuple(_block(block) for block in graph.blocks)
    attrs = {**graph.attrs, "train": True, "assumptions": (*graph.attrs.get("assumptions", ()), NOTE)}
    return graph.replace(blocks=blocks, attrs=attrs)


def _block(block: Block) -> Block:
    if not any(_frozen(op) for op in block.ops):
        return block
    tensors = dict(block.tensors)
    ops = tuple(new for op in block.ops for new in (_counting(op, block, tensors) if _frozen(op) else (op,)))
    return dataclasses.replace(block, ops=ops, tensors=tensors)


def _frozen(op: Op) -> bool:
    return op.fn == "batch_norm" and not op.attrs.get("training") and "width" in op.dims


def _counting(op: Op, block: Block, tensors: dict[str, Tensor]) -> tuple[Op, ...]:
    """The batch norm with statistics of its own, behind the count of batches seen."""
    source, out = op.reads[0], op.writes[0]
    writes = [out]
    for number in (2, 3):  # mean and inverse deviation
        name = f"{out.tensor}{number}"
        tensors[name] = Tensor(name, op.dims["width"], "fp32", "activation", None, False)
        writes.append(Operand(name))
    size = source.elements if source.elements is not None else block.tensors[source.tensor].elements
    for read in op.reads[1:]:
        if read.tensor in tensors and tensors[read.tensor].cls == "constant":
            writes.append(Operand(read.tensor, op.dims["width"]))
    reads = (dataclasses.replace(source, reuse=const(2)), *op.reads[1:])
    made = dataclasses.replace(
        op, reads=reads, writes=tuple(writes), work=BlockBuilder.element_work("layer_norm", size),
        attrs={**op.attrs, "training": True},
    )  # fmt: skip
    if len(writes) == 3:
        return (made,)  # it keeps no running statistics
    name = f"{op.name}.num_batches_tracked"
    tensors[name] = Tensor(name, ONE, "int64", "constant", Persistent(ONE), False)
    seen = Op(
        name=f"{op.name}.add", kind="elementwise", fn="add", path=op.path, reads=(Operand(name),), writes=(Operand(name),),
        work=BlockBuilder.element_work("add", ONE), count=op.count, attrs={"in_place": True}, phase=op.phase,
    )  # fmt: skip
    return seen, made
