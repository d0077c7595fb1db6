"""Number formats of a model's products, changed after it was built: whole layers, or part of each layer's inner dimension."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..._foundation.formats import is_sparse, multiply_format, number_format, packed
from ..builder import BlockBuilder, product_work
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from .edit import Edit, edited
from .held import as_it_was, chosen, matrix_of
from .registry import REWRITES, remodel


@remodel("numbers")
def numbers(
    graph: Graph, weights: str = "", activations: str = "", share: float = 1.0, rest: str = "",
    rest_activations: str = "", of: str = "", between: str = "",
) -> Graph:  # fmt: skip
    """Products over weights in other formats.

    Where activations are multiplied in fewer bits than they are kept in, a pass that quantises them comes before, once for all
    that read them. With a ``share`` below 1 the rest of each layer's inner dimension runs in other formats (outlier channels in
    16 or 8 bits): one kernel that does both products, whose weights are two tensors.

    Args:
        weights, activations: number formats; empty to leave them.
        share: of the inner dimension that these formats are about.
        rest, rest_activations: of the rest; empty to leave it.
        of: which layers, as comma-separated patterns of names or paths; all but the head by default.
        between: the format that activations are kept in between kernels, where it is narrower than theirs: what quantises them
            is then part of the kernels that make them (integer-only inference); empty to leave them.

    Raises:
        BadInput: for a share outside 0 … 1.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share!r} of a layer", expected="a share above 0, up to 1")
    stored, used = (number_format(f).name if f else "" for f in (weights, activations))
    rest, rest_activations = (number_format(f).name if f else "" for f in (rest, rest_activations))
    if between:
        graph = _kept_in(graph, number_format(between).name)
    quantised: dict[tuple[str, str, str], str] = {}

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        if position is None or not chosen(op, of):
            return (op,)
        held = as_it_was(edit, op.reads[position].tensor)
        if held is None:
            return (op,)
        before: list[Op] = []
        first = _first(edit, op, position)
        own = edit.tensor(op.reads[first].tensor).dtype if first is not None else held.dtype
        fmt, number = stored or held.dtype, used or own
        rest_fmt, rest_number = rest or held.dtype, rest_activations or own
        reads = list(op.reads)
        bits = share * number_format(number).bits + (1 - share) * number_format(rest_number).bits
        if first is not None and bits < number_format(own).bits:
            reads[first] = _quantised(edit, op, first, packed(number, bits), quantised, before)
        edit.tensors[held.name] = dataclasses.replace(
            held, dtype=fmt, elements=held.elements * share,
            persistent=held.persistent and dataclasses.replace(held.persistent, kept=held.persistent.kept * share),
        )  # fmt: skip
        touched = reads[position].elements
        if share < 1:
            other = f"{held.name}.rest"
            elements = held.elements * (1 - share)
            edit.tensors[other] = dataclasses.replace(
                held, name=other, elements=elements, dtype=rest_fmt, persistent=Persistent(elements)
            )
            reads.append(Operand(other, None if touched is None else touched * (1 - share)))
            reads[position] = dataclasses.replace(
                reads[position], elements=None if touched is None else touched * share
            )
        made = dataclasses.replace(
            op, reads=tuple(reads), work=tuple(_work(op, share, fmt, number, rest_fmt, rest_number)),
            attrs=_attrs(op, fmt, number, share, rest_fmt),
        )  # fmt: skip
        return (*before, made)

    return edited(graph, visit, lambda block: block.phase == "forward")


def _kept_in(graph: Graph, fmt: str) -> Graph:
    """Floating-point activations kept in a narrower format."""
    bits = number_format(fmt).bits

    def narrow(t: Tensor) -> Tensor:
        found = number_format(t.dtype)
        wide = t.cls == "activation" and found.kind == "float" and found.bits > bits
        return dataclasses.replace(t, dtype=fmt) if wide else t

    def block(b: Block) -> Block:
        tensors = {n: narrow(t) for n, t in b.tensors.items()}
        return dataclasses.replace(b, tensors=tensors, ops=tuple(_between(op, tensors, fmt) for op in b.ops))

    blocks = tuple(block(b) for b in graph.blocks)
    return graph.replace(blocks=blocks)


def _between(op: Op, tensors: Mapping[str, Tensor], fmt: str) -> Op:
    """Products of activations with each other (attention's) follow what they are kept in."""
    if op.kind not in ("attention", "matmul") or not op.reads:
        return op
    if not all(r.tensor in tensors and tensors[r.tensor].dtype == fmt for r in op.reads):
        return op
    work = tuple(dataclasses.replace(w, format=fmt) if w.unit == "matmul" else w for w in op.work)
    attrs = {k: fmt if k in ("format", "stored") else v for k, v in op.attrs.items()}
    return dataclasses.replace(op, work=work, attrs=attrs)


def _first(edit: Edit, op: Op, position: int) -> int | None:
    """The read that is multiplied by the weights."""
    for place, read in enumerate(op.reads):
        if place != position and edit.tensor(read.tensor).cls in ("activation", "input"):
            return place
    return None


def _quantised(
    edit: Edit, op: Op, first: int, target: str, known: dict[tuple[str, str, str], str], before: list[Op]
) -> Operand:
    source = op.reads[first]
    key = (edit.block.name, source.tensor, target)
    if key not in known:
        elements = edit.tensor(source.tensor).elements
        width = op.dims.get("k", const(1)) if op.kind != "conv" else op.dims.get("in_channels", const(1))
        name = edit.activation(f"{op.name}.in.{target.partition('~')[0]}", elements, target)
        known[key] = name
        before.append(
            edit.op(
                f"{op.name}.quantize", "quantize", "quantize", op, reads=(Operand(source.tensor),), writes=(Operand(name),),
                work=BlockBuilder.element_work("quantize", elements), dims={"rows": elements / width, "width": width},
                attrs={"target": target},
            )
        )  # fmt: skip
    return dataclasses.replace(source, tensor=known[key])


def _work(op: Op, share: float, fmt: str, number: str, rest: str, rest_number: str) -> Iterable[Work]:
    for work in op.work:
        if work.unit != "matmul":
            yield work
            continue
        whole = work.flops * 2 if is_sparse(work.format) else work.flops
        yield product_work(whole * share, multiply_format(fmt, number))
        if share < 1:
            yield product_work(whole * (1 - share), multiply_format(rest, rest_number))


def _attrs(op: Op, fmt: str, number: str, share: float, rest: str) -> dict[str, object]:
    """A layer that says what it runs in says so still; what a captured module runs in nobody asked."""
    found = dict(op.attrs)
    if "weights" in found:
        found |= {"weights": fmt, "activations": number}
        if share < 1:
            found["weight_bits"] = share * number_format(fmt).bits + (1 - share) * number_format(rest).bits
    return found


@REWRITES.register("rotated")
def rotated(graph: Graph, size: int = 16) -> Graph:
    """What is quantised is rotated before by a Hadamard matrix in blocks, which spreads outliers: log2(size) additions an element.

    Args:
        size: of a block; 1 for none.

    Raises:
        BadInput: for a size that is no power of two.
    """
    if size < 1 or size & (size - 1):
        raise BadInput(f"rotations in blocks of {size!r}", expected="a power of two")
    if size == 1 or graph.attrs.get("rotated"):
        return graph
    additions = float(size.bit_length() - 1)

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.kind != "quantize" or op.fn != "quantize" or op.phase != "forward":
            return (op,)
        return (
            dataclasses.replace(op, work=(*op.work, Work("vector", edit.touched(op.writes[0]) * additions, "fp32"))),
        )

    made = edited(graph, visit, lambda block: block.phase == "forward")
    return made if made is graph else made.replace(attrs={**graph.attrs, "rotated": size})
