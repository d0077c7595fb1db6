"""Pictures in strips: a denoiser of convolutions over the ranks that divide its context.

Every rank has 1/cp of the rows of each picture (DistriFusion, arXiv 2402.19481 §4): all its work and activations shrink so. What
looks further than a rank's own rows needs a message:

* self-attention takes the keys and values of all strips, gathered over cp;
* a convolution taller than one row takes the rows beyond its strip's edges from its neighbours;
* a norm over groups of channels sums its statistics over the strips.

Weights, text and time stay whole. Everything is written over cp, so that one graph serves all degrees.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from .._foundation.expr import Expr, const, ge, substitute, sym, symbols, where
from .._foundation.formats import bytes_per_element
from ..graph.grammar import check
from ..graph.ir import Block, Graph, Message, Op, Operand
from .mesh import CP, SPANS

ROWS = "height"
STATISTICS = 2.0  # sums of a norm: of values and of their squares
SUM_BYTES = 4.0


def strips(graph: Graph) -> bool:
    """Whether it works on pictures whose rows can be dealt out: a denoiser written over its height."""
    return graph.attrs.get("kind") == "diffusion" and ROWS in graph.symbols and not graph.dims


@lru_cache(maxsize=16)
def in_strips(graph: Graph) -> Graph:
    """The graph on a rank with its strip, messages inserted."""
    return check(graph.replace(blocks=tuple(_block(graph, block) for block in graph.blocks)))


def _block(graph: Graph, block: Block) -> Block:
    own = {ROWS: sym(ROWS) / CP}
    ops: list[Op] = []
    for op in block.ops:
        ops += _op(graph, block, op, own)
    tensors = {
        name: t
        if t.cls not in ("activation", "input")
        else dataclasses.replace(t, elements=substitute(t.elements, own))
        for name, t in block.tensors.items()
    }
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _op(graph: Graph, block: Block, op: Op, own: dict[str, Expr]) -> list[Op]:
    crossing = op.fn == "sdpa" and ROWS in symbols(op.dims["keys"])

    def of(expr: Expr) -> Expr:
        return substitute(expr, own)

    def operand(o: Operand, whole: bool) -> Operand:
        elements = graph.tensor(block, o.tensor).elements if o.elements is None and whole else o.elements
        return o if elements is None else dataclasses.replace(o, elements=elements if whole else of(elements))

    reads = tuple(operand(o, crossing and at in (1, 2)) for at, o in enumerate(op.reads))
    # Self-attention's work is of its rows by all keys: 1/cp of the whole, where both written over the height would give 1/cp².
    work = tuple(
        dataclasses.replace(
            w, flops=w.flops / CP if crossing else of(w.flops), dense=None if w.dense is None else w.dense / CP if crossing else of(w.dense),
        )
        for w in op.work
    )  # fmt: skip
    dims = {name: e if crossing and name in ("keys", "pairs") else of(e) for name, e in op.dims.items()}
    made = dataclasses.replace(
        op, reads=reads, writes=tuple(operand(o, False) for o in op.writes), work=work, dims=dims, span=of(op.span)
    )
    message = _message(graph, block, op, crossing)
    return [made] if message is None else [message, made]


def _message(graph: Graph, block: Block, op: Op, crossing: bool) -> Op | None:
    """What the op needs of other strips."""
    read = op.reads[0].tensor if op.reads else ""
    if crossing:
        size: Expr = const(0)
        for operand in op.reads[1:3]:
            tensor = graph.tensor(block, operand.tensor)
            size = size + tensor.elements * bytes_per_element(tensor.dtype)
        return _sent(op, "all_gather", f"{op.name}.keys", op.reads[1].tensor, size)
    if op.kind == "conv" and "kernel_h" in op.dims and ROWS in symbols(op.dims["in_h"]):
        if op.dims["kernel_h"].constant == 1:
            return None
        tensor = graph.tensor(block, read)
        beyond = (op.dims["kernel_h"] - 1) / op.dims["in_h"]  # rows of neighbours over those of the picture
        return _sent(
            op, "send_recv", f"{op.name}.edges", read, tensor.elements * beyond * bytes_per_element(tensor.dtype)
        )
    if op.fn == "group_norm" and ROWS in symbols(op.dims["rows"]):
        groups = float(op.attrs.get("groups", 32))
        return _sent(op, "all_reduce", f"{op.name}.sums", read, sym("seqs") * groups * STATISTICS * SUM_BYTES)
    return None


def _sent(op: Op, collective: str, name: str, tensor: str, size: Expr) -> Op:
    ranks, stride = SPANS["cp"]
    present = where(ge(CP, 2), const(1), const(0))
    return Op(
        name=name, kind="collective", fn=collective, path=op.path, reads=(Operand(tensor),),
        message=Message(collective, ("cp",), ranks, size * sym("wire_context"), ((ranks, stride),)), count=op.count * present,
        phase=op.phase,
    )  # fmt: skip
