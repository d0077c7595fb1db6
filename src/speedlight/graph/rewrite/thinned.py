"""Weights in fewer bits than their values have: zeros left out, codes of varying length. Nothing is lost but what was pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..._foundation.formats import PATTERN, dense_of, is_sparse, number_format, packed
from ..builder import product_work
from ..ir import Block, Graph, Op, Operand, Tensor, Work
from .edit import Edit, edited
from .held import as_it_was, chosen, matrices, matrix_of
from .registry import REWRITES, remodel


@REWRITES.register("two_of_four")
def two_of_four(graph: Graph, of: str = "") -> Graph:
    """Two of every four weights left out, so that matrix units that can skip do half the products.

    Args:
        of: which layers, as comma-separated patterns; all but the head by default.
    """

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        held = None if position is None else as_it_was(edit, op.reads[position].tensor)
        if held is None or not chosen(op, of):
            return (op,)
        multiplied = [w.format for w in op.work if w.unit == "matmul"]
        if is_sparse(held.dtype) or not multiplied:
            return (op,)
        dtype = thin(held.dtype, multiplied[0])
        edit.tensors[held.name] = dataclasses.replace(held, dtype=dtype)
        attrs = {**op.attrs, "weights": dtype} if "weights" in op.attrs else dict(op.attrs)
        return (dataclasses.replace(op, work=tuple(_skipping(w) for w in op.work), attrs=attrs),)

    return edited(graph, visit, _forward)


def thin(dtype: str, multiplied: str) -> str:
    """The format with two of every four left out. The places are those of the format that is multiplied: of single values, or
    (in 4 bits) of pairs; weights widened on the way keep those of single values."""
    found = number_format(dense_of(dtype))
    name = found.name + PATTERN
    bits = number_format(name).bits
    if number_format(dense_of(multiplied)).native_bits >= 8 > found.native_bits:
        bits += 0.5
    return packed(name, bits)


def _skipping(work: Work) -> Work:
    return product_work(work.flops, work.format + PATTERN) if work.unit == "matmul" else work


@remodel("packed_weights")
def packed_weights(
    graph: Graph, bits: float | None = None, density: float = 1.0, places: float = 0.0, every: bool = False,
    unpack: float = 0.0, of: str = "",
) -> Graph:  # fmt: skip
    """Weights kept in fewer bits and widened before they are multiplied, so that all products are done still.

    Args:
        bits: of a weight as kept; by default ``density`` of its format's bits.
        density: share of the weights that are not zero.
        places: bits a weight that say where those are (1 for a bitmap; the density times an index's width for lists).
        every: tables and heads too; else the weights of products alone.
        unpack: vector operations a weight that widen it in a kernel of its own, which writes the block's weights out before they
            are used; 0 where they are widened inside the product's kernel.
        of: which layers, as comma-separated patterns; all but the head by default.

    Raises:
        BadInput: for a density outside 0 … 1, or bits that are not positive.
    """
    if not 0 < density <= 1 or (bits is not None and bits <= 0) or places < 0 or unpack < 0:
        raise BadInput(f"weights of density {density!r} in {bits!r} bits", expected="a density in 0 … 1, positive bits")

    def shrunk(t: Tensor) -> Tensor:
        own = number_format(t.dtype).bits
        size = (bits if bits is not None else own * density) + places
        return dataclasses.replace(t, dtype=packed(t.dtype, size)) if size < own else t

    def block(b: Block) -> Block:
        names = (
            {r.tensor for op in b.ops for r in op.reads} if every else {t.name for _, _, t in matrices(graph, b, of)}
        )
        tensors = {n: shrunk(t) if n in names and t.cls == "weight" else t for n, t in b.tensors.items()}
        ops = tuple(_told(op, tensors) for op in b.ops)
        return dataclasses.replace(b, tensors=tensors, ops=ops)

    shared = {n: shrunk(t) if every and t.cls == "weight" else t for n, t in graph.shared.items()}
    made = graph.replace(blocks=tuple(block(b) if _forward(b) else b for b in graph.blocks), shared=shared)
    return _unpacked_first(made, unpack) if unpack else made


def _told(op: Op, tensors: dict[str, Tensor]) -> Op:
    """A layer's note of its weights' format follows them."""
    held = next(
        (tensors[r.tensor] for r in op.reads if r.tensor in tensors and tensors[r.tensor].cls == "weight"), None
    )
    if held is None or "weights" not in op.attrs or held.dtype == op.attrs["weights"]:
        return op
    return dataclasses.replace(op, attrs={**op.attrs, "weights": held.dtype})


def _unpacked_first(graph: Graph, operations: float) -> Graph:
    """Before each product a kernel that writes its weights out in their own format."""

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        if position is None or "~" not in edit.tensor(op.reads[position].tensor).dtype:
            return (op,)
        read = op.reads[position]
        held = edit.tensor(read.tensor)
        size = edit.touched(read)
        wide = edit.activation(f"{op.name}.unpacked", size, dense_of(held.dtype), needs_grad=False)
        before = edit.op(
            f"{op.name}.unpack", "quantize", "unpack", op, reads=(read,), writes=(Operand(wide),),
            work=(Work("vector", size * const(operations), "fp32"),), dims={},
        )  # fmt: skip
        reads = tuple(Operand(wide) if i == position else r for i, r in enumerate(op.reads))
        attrs = {**op.attrs, "weights": dense_of(held.dtype)} if "weights" in op.attrs else dict(op.attrs)
        return (before, dataclasses.replace(op, reads=reads, attrs=attrs))

    return edited(graph, visit, _forward)


def _forward(block: Block) -> bool:
    return block.phase == "forward"
