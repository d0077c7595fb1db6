"""Batch norms: folded into the weights before them, as compilers of frozen models do; or computing statistics, as training does."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

from ..builder import BlockBuilder
from ..ir import Block, Graph, Op, Operand
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("fold_batch_norm")
def fold_batch_norm(
    graph: Graph, into: tuple[str, ...] | list[str] = ("conv", "matmul"), frozen: bool = False
) -> Graph:  # fmt: skip
    """A batch norm in evaluation is a scale and a shift per channel: it goes where only it reads the result of weights.

    The shift stays as the producer's bias. Parameters and their memory stay as they were.

    Args:
        into: kinds of ops that take it.
        frozen: norms of a network in training too, whose statistics stand still (fine-tuning): the norm is part of the weights
            in every step.
    """
    kinds = frozenset(into)
    blocks = tuple(_folded(block, kinds, frozen) if block.phase == "forward" else block for block in graph.blocks)
    same = all(a is b for a, b in zip(blocks, graph.blocks, strict=True))
    return graph if same else graph.replace(blocks=blocks)


def _folded(block: Block, kinds: frozenset[str], frozen: bool) -> Block:
    readers = Counter(r.tensor for op in block.ops for r in op.reads)
    readers.update(block.outputs)
    made: dict[str, int] = {}
    ops: list[Op | None] = []
    found = False
    for op in block.ops:
        source = made.get(op.reads[0].tensor) if op.reads else None
        producer = ops[source] if source is not None else None
        if (
            op.fn == "batch_norm"
            and (frozen or not op.attrs.get("training"))
            and producer is not None
            and producer.kind in kinds
            and any(block.tensors[r.tensor].cls == "weight" for r in producer.reads if r.tensor in block.tensors)
            and readers[op.reads[0].tensor] == 1
        ):
            assert source is not None
            reads = producer.reads if len(producer.reads) > 2 else (*producer.reads, *_shift(block, op))
            writes = (*op.writes[:1], *producer.writes[1:])
            ops[source] = dataclasses.replace(producer, reads=reads, writes=writes)
            made[op.writes[0].tensor] = source
            found = True
            continue
        for write in op.writes:
            made[write.tensor] = len(ops)
        ops.append(op)
    return dataclasses.replace(block, ops=tuple(op for op in ops if op is not None)) if found else block


def _shift(block: Block, op: Op) -> tuple[Operand, ...]:
    """The norm's own shift becomes the bias where the producer had none."""
    learned = [r for r in op.reads[1:] if r.tensor in block.tensors and block.tensors[r.tensor].cls == "weight"]
    return tuple(learned[1:2])


@REWRITES.register("batch_statistics")
def batch_statistics(graph: Graph) -> Graph:
    """Batch norms captured in evaluation as training runs them: a pass over x for its statistics, then one that normalises.

    Each channel's mean and variance are kept for the backward pass, and move the running ones.
    """

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "batch_norm" or op.attrs.get("training") or op.phase != "forward":
            return (op,)
        x, *learned = op.reads
        size = edit.touched(x)
        running = [r for r in learned if edit.tensor(r.tensor).cls == "constant"]
        kept = [
            Operand(edit.activation(f"{op.name}.{name}", op.dims["width"], "fp32", False)) for name in ("mean", "scale")
        ]
        return (
            dataclasses.replace(
                op, reads=(dataclasses.replace(x, reuse=x.reuse * 2), *learned), attrs={**op.attrs, "training": True},
                writes=(*op.writes[:1], *kept, *running), work=BlockBuilder.element_work("layer_norm", size),
            ),
        )  # fmt: skip

    return edited(graph, visit)


__all__ = ["batch_statistics", "fold_batch_norm"]
