"""Which of an op's reads is the matrix it multiplies by, and which ops' matrices a rewrite is about."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ..._foundation.expr import Expr, symbols
from ..ir import Block, Graph, Op, Tensor
from .edit import Edit

PRODUCTS = ("matmul", "moe", "conv")
LEFT_ALONE = ("lm_head", "classifier", "head")  # what recipes leave as it is unless they name it


def matrix_of(graph: Graph, block: Block, op: Op) -> int | None:
    """The position among an op's reads of the weights it multiplies by; None where it has none of its own."""
    if op.kind not in PRODUCTS or op.phase != "forward":
        return None
    for position, read in enumerate(op.reads):
        if graph.tensor(block, read.tensor).cls == "weight":
            return position
    return None


def chosen(op: Op, of: str, left: tuple[str, ...] = LEFT_ALONE) -> bool:
    """A rewrite is about the op: its name or path matches one of the comma-separated patterns; all but ``left`` where none is given."""
    name = op.name.rpartition(".")[2]
    if not of:
        return name not in left
    patterns = [p.strip() for p in of.split(",") if p.strip()]
    return any(fnmatchcase(text, p) for p in patterns for text in (name, op.name, op.path))


def matrices(graph: Graph, block: Block, of: str = "") -> Iterator[tuple[Op, int, Tensor]]:
    """(op, position, weights) of the block's own matrices that a rewrite is about; those several blocks share are left alone."""
    for op in block.ops:
        position = matrix_of(graph, block, op)
        if position is not None and chosen(op, of) and op.reads[position].tensor in block.tensors:
            yield op, position, block.tensors[op.reads[position].tensor]


def as_it_was(edit: Edit, name: str) -> Tensor | None:
    """A block's own weights before the rewrite, however many of its ops read them; None of what several blocks share."""
    return edit.block.tensors.get(name)


def spans(graph: Graph, size: Expr | None, role: str) -> bool:
    """A size counts a dimension of this role (``ffn``, ``heads``)."""
    return size is not None and any(graph.dims[name].role == role for name in symbols(size) if name in graph.dims)
