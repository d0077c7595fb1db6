"""Each forward op → its backward ops. Read with :mod:`.accumulate`: rules say who contributes what to whose gradient.

FLOP conventions: a matrix product costs its forward FLOPs once for each operand that needs a gradient; fused attention
5 products where the forward pass has 2, the scores being computed again (FlashAttention-2, arXiv 2307.08691 section 3);
streaming functions twice their forward vector work. Linear functions save nothing, others what :data:`SAVES` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..builder import BlockBuilder
from ..ir import ZERO, Op, Operand
from .accumulate import Gradients
from .emit import dys, elements, emit, facts, twice
from .products import attention, product

Rule = Callable[[Gradients, Op, "dict[str, str]"], None]

# What the derivative of a function is computed from: its inputs, its outputs, or nothing (linear functions). PyTorch keeps the
# inputs of pools, of which its backward kernels read the shape only ("kept").
SAVES: dict[str, str] = {
    "add": "none", "sub": "none", "neg": "none", "scale": "none", "rope": "none", "copy": "none", "cast": "none",
    "lerp": "none", "mean": "none", "sum": "none", "avg_pool": "kept", "interpolate": "none", "cumsum": "none",
    "relu": "out", "sigmoid": "out", "tanh": "out", "exp": "out", "sqrt": "out", "rsqrt": "out", "reciprocal": "out",
    "softmax": "out", "log_softmax": "out", "logsumexp": "both", "topk": "out", "amax": "both", "amin": "both",
    "max": "both", "min": "both", "dropout": "indices", "max_pool": "kept", "where": "masks", "sort": "indices",
    "norm": "both", "linalg_vector_norm": "both", "prod": "both", "clamp": "in", "pow": "in",
}  # fmt: skip

_ALIASES = frozenset({"add", "sub"})


def backward(g: Gradients, op: Op) -> None:
    """Add the backward ops of one forward op, if a gradient reaches it and something behind it needs one."""
    arrived = {w.tensor: d for w in op.writes if w.tensor in g.needed and (d := g.total(w.tensor)) is not None}
    if not arrived or not any(g.wants(r) for r in op.reads):
        return
    _rule(op)(g, op, arrived)


def loss(g: Gradients, op: Op) -> None:
    """A loss starts the backward pass: the gradient of its first input is computed from what it read."""
    source = op.reads[0]
    if g.wants(source):
        written = g.target(Operand(source.tensor), op.reads)
        emit(g, f"{op.name}.backward", op.kind, f"{op.fn}_backward", op, op.reads, written, twice(op))


def _rule(op: Op) -> Rule:
    if op.fn == "quantize":
        return straight_through
    if op.kind == "attention":
        return attention
    if op.kind in ("matmul", "conv", "moe"):
        return product
    if op.kind == "embedding":
        return embedding
    if op.kind == "gather" and op.fn not in ("interpolate", "grid_sample"):
        return gather
    if op.kind == "copy":
        return copy
    if op.fn in _ALIASES and op.kind == "elementwise":
        return addition
    if op.fn in ("mul", "div") and op.kind == "elementwise" and len(op.writes) == 1:
        return factors
    return streaming


# streaming functions ---------------------------------------------------------------------------------------------------


def saved_reads(g: Gradients, op: Op, arrived: dict[str, str]) -> list[Operand]:
    """Forward tensors the derivative needs."""
    outs = [Operand(w.tensor, w.elements) for w in op.writes if w.tensor in arrived]
    rest = [Operand(w.tensor, w.elements) for w in op.writes if w.tensor not in arrived]
    how = "indices" if op.kind == "sort" else SAVES.get(op.fn, "in")
    if op.kind == "norm":
        return [*op.reads, *rest]  # the input, the scale and the rows' statistics where the forward pass wrote them
    if how == "none" and not (op.kind == "reduction" and len(op.reads) > 1):  # a weighted sum is a product
        return []
    if how == "kept":
        return [*rest, *(dataclasses.replace(r, elements=ZERO) for r in op.reads)]
    if how == "out":
        return outs
    if how == "indices":
        return rest
    if how == "masks":
        return [r for r in op.reads if g.forward_only(r.tensor).dtype == "bool"]
    if op.fn in ("mul", "div") and len(op.reads) == 1 and not op.attrs.get("square"):
        return []  # by a number
    if op.kind == "scan":
        return [*op.reads, *outs, *rest]  # an LSTM's cell states with them
    return [*op.reads, *outs] if how == "both" or op.kind == "other" else list(op.reads)


def streaming(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """One op that reads dy and what was saved, and writes the gradient of every operand that needs one."""
    dy = dys(op, arrived)
    saved = [r for r in saved_reads(g, op, arrived) if g.forward_only(r.tensor).cls not in ("kv", "state")]
    wanted = [r for r in op.reads if g.wants(r)]
    if op.fn == "mul" and len(wanted) == 1 and len(op.reads) == 2:
        saved = [r for r in op.reads if r.tensor != wanted[0].tensor]  # da = dy · b needs b only
    reads = [*dy, *saved]
    if op.fn == "batch_norm" and op.attrs.get("training"):  # sums over the batch, then dx: dy is read twice, as x is
        reads[0] = dataclasses.replace(dy[0], reuse=dy[0].reuse * 2)
    writes: list[Operand] = []
    extra: list[Operand] = []
    for read in wanted:
        written = g.target(read, reads)
        writes.append(written[0])
        extra += written[1:]
    work = op.work if SAVES.get(op.fn) == "none" else twice(op)
    g.op(
        f"{op.name}.backward", op.kind, f"{op.fn}_backward", op, reads=(*reads, *extra), writes=tuple(writes), work=work,
        dims=op.dims, span=op.span, attrs=facts(op),
    )  # fmt: skip
    g.settle()


def factors(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """y = a · b or a / b: the gradient of a factor that was broadcast is a product of dy's size, then its sum.

    Where none was, one op reads dy and both factors and writes both gradients.
    """
    (dy,) = dys(op, arrived)
    whole = dy.elements if dy.elements is not None else g.held(dy.tensor).elements
    wanted = [r for r in op.reads if g.wants(r)]
    small = [r for r in wanted if g.samples.less(elements(g, r), whole)]
    if not small:
        streaming(g, op, arrived)
        return
    sums: list[tuple[Operand, str, list[Operand]]] = []
    for read in wanted:
        others = [dy, *(r for r in op.reads if op.fn == "div" or r.tensor != read.tensor)]
        if read in small:
            made = g.make(f"d.{read.tensor}.product", whole, g.held(dy.tensor).dtype)
            written = [Operand(made)]
            sums.append((read, made, others))
        else:
            written = g.target(read, others)
        work = BlockBuilder.element_work(op.fn, whole)
        emit(g, f"{op.name}.backward", op.kind, f"{op.fn}_backward", op, others, written, work)
    for read, made, others in sums:  # autograd hands all products on before the first of them is summed
        written = g.target(read, others)
        work = BlockBuilder.element_work("add", whole)
        emit(g, f"{op.name}.sum", "reduction", "grad_sum", op, (Operand(made),), written, work)


def addition(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """y = a + b: both gradients are dy itself; a broadcast operand's is its sum."""
    (dy,) = dys(op, arrived)
    for read in op.reads:
        if not g.wants(read):
            continue
        tensor = g.forward_only(read.tensor)
        size = tensor.elements if read.elements is None else read.elements
        if read.elements is not None and read.elements.constant == 0:
            g.alias(read, dy.tensor, whole=True)  # the untouched rest of an overwritten tensor
        elif tensor.cls != "weight" and g.samples.equal(size, g.held(dy.tensor).elements):
            g.alias(read, dy.tensor)
        elif tensor.cls != "weight" and read.elements is not None and op.attrs.get("in_place"):
            g.alias(read, dy.tensor, whole=True)
        else:
            written = g.target(read, (dy,))
            work = BlockBuilder.element_work("add", g.held(dy.tensor).elements)
            emit(g, f"{op.name}.sum", "reduction", "grad_sum", op, (dy,), written, work)


def straight_through(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """A quantiser's gradient passes unchanged."""
    for read in op.reads:
        if g.wants(read):
            g.alias(read, next(iter(arrived.values())))


def copy(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """The mirrored traffic: each source's gradient is its part of dy, copied (and cast) back."""
    (dy,) = dys(op, arrived)
    whole = dy.elements if dy.elements is not None else g.held(dy.tensor).elements
    for read in op.reads:
        if not g.wants(read):
            continue
        if read.elements is not None and read.elements.constant == 0:
            g.alias(read, dy.tensor, whole=True)
            continue
        tensor = g.forward_only(read.tensor)
        size = tensor.elements if read.elements is None else read.elements
        source = dy if not g.samples.less(size, whole) else Operand(dy.tensor, size)
        written = g.target(read, (dy,))
        kind, fn = ("copy", f"{op.fn}_backward") if op.fn != "repeat" else ("reduction", "grad_sum")
        work = BlockBuilder.element_work("cast" if op.fn == "cast" else "copy", size)
        emit(g, f"{op.name}.backward", kind, fn, op, (source,), written, work)


# tables and indices ----------------------------------------------------------------------------------------------------


def embedding(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """Adds each looked-up row's gradient into the dense gradient of the table, which is zero before."""
    table, rest = op.reads[0], list(op.reads[1:])
    if not g.wants(table):
        return
    dy = dys(op, arrived)
    written = g.target(table, dy)
    hit = dataclasses.replace(written[0], elements=table.elements, access="random", granule=table.granule)
    if len(written) == 1:
        g.op(f"{op.name}.grad_fill", "copy", "grad_fill", op, writes=(Operand(hit.tensor),))
    g.op(
        f"{op.name}.backward", "embedding", "embedding_backward", op, reads=(*dy, *rest, hit), writes=(hit,),
        work=BlockBuilder.element_work("add", elements(g, table)), dims=op.dims, attrs={"pass": "backward"},
    )  # fmt: skip
    g.settle()


def gather(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """Scatter-add what was gathered, gather what was scattered; what was never touched is zero."""
    dy = dys(op, arrived)
    indices = [r for r in op.reads if not g.wants(r)]
    for read in op.reads:
        if not g.wants(read):
            continue
        moved = elements(g, read)
        written = g.target(Operand(read.tensor), dy)
        work = BlockBuilder.element_work("add", moved)
        if read.access == "random":
            g.op(f"{op.name}.grad_fill", "copy", "grad_fill", op, writes=(Operand(written[0].tensor),))
            hit = Operand(written[0].tensor, moved, "random", read.granule)
            g.op(
                f"{op.name}.backward",
                "gather",
                f"{op.fn}_backward",
                op,
                reads=(*dy, *indices, hit),
                writes=(hit,),
                work=work,
            )
        else:
            emit(g, f"{op.name}.backward", "gather", f"{op.fn}_backward", op, (*dy, *indices), written, work)
        g.settle()
