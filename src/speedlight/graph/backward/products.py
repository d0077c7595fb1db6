"""Backward rules of matrix products, convolutions and attention."""

from __future__ import annotations

from ..._foundation.expr import const
from ..builder import BlockBuilder
from ..ir import Op, Operand, Work
from .accumulate import Gradients
from .emit import dys, elements, emit, facts, sum_to, times


def product(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """y = a · b: da = dy · bᵀ (contracts over n), db = aᵀ · dy (contracts over m); biases are sums of dy."""
    dy = dys(op, arrived)
    left, right = op.reads[0], op.reads[1] if len(op.reads) > 1 else op.reads[0]
    m, n, k = op.dims.get("m", const(1)), op.dims.get("n", const(1)), op.dims.get("k", const(1))
    batch = op.dims.get("batch", const(1)) if op.kind != "conv" else const(1)
    work = tuple(w for w in op.work if w.unit == "matmul")
    one = left.tensor == right.tensor  # both operands are parts of one tensor
    y, x, w = _orders(op)
    if g.wants(left):
        dims = {**op.dims, "n": k, "k": n}
        several = left.elements is not None and g.samples.less(g.forward_only(left.tensor).elements, left.elements)
        if several:  # rows that went to several experts
            written = [Operand(g.make(f"d.{left.tensor}.rows", elements(g, left), g.held(dy[0].tensor).dtype))]
        else:
            written = g.target(left, (*dy, right), batch * m * k if one else None)
        emit(
            g,
            f"{op.name}.dgrad",
            op.kind,
            f"{op.fn}_dgrad",
            op,
            (*dy, right),
            written,
            work,
            dims=dims,
            pass_name="dgrad",
            orders=(y, w, x),
        )
        if several:
            summed = BlockBuilder.element_work("add", elements(g, left))
            whole = g.target(Operand(left.tensor), (*dy, right, *written))
            emit(g, f"{op.name}.combine_grad", "reduction", "grad_sum", op, written, whole, summed)
    if g.wants(right):
        written = g.target(right, (*dy, left), batch * k * n if one else None)
        dims = {**op.dims, "m": n, "n": k, "k": m}
        emit(
            g,
            f"{op.name}.wgrad",
            op.kind,
            f"{op.fn}_wgrad",
            op,
            (*dy, left),
            written,
            work,
            dims=dims,
            pass_name="wgrad",
            orders=(y, x, w),
        )
    for extra in op.reads[2:]:
        if g.wants(extra):
            sum_to(g, op, extra, dy, f"{op.name}.bias_grad", "bias_grad")


def _orders(op: Op) -> tuple[str, str, str]:
    """How y, a and b lie in memory; gradients lie as what they belong to."""
    reads = (*op.attrs.get("orders", ()), "", "")
    return (*op.attrs.get("out_orders", ()), "")[0], reads[0], reads[1]


def attention(g: Gradients, op: Op, arrived: dict[str, str]) -> None:
    """One fused op: reads q, k, v, out, d.out and the rows' log-sum-exp, writes the gradients of q, k, v.

    Matmul work is 5/2 of the forward pass (scores again, then dv, dp, dq, dk), exponentials once again, other vector
    work twice.
    """
    reads = [*op.reads, *[Operand(name) for name in arrived], *dys(op, arrived)]
    statistic = f"{op.name}.lse"
    if statistic in g.block.tensors:
        reads.append(Operand(statistic))
    writes: list[Operand] = []
    extra: list[Operand] = []
    for read in op.reads:
        if g.wants(read):
            written = g.target(read, reads)
            writes.append(written[0])
            extra += written[1:]
    work: list[Work] = []
    for w in op.work:
        factor = {"matmul": 2.5, "vector": 2.0}.get(w.unit, 1.0)
        work += times((w,), factor)
    g.op(
        f"{op.name}.backward", "attention", f"{op.fn}_backward", op, reads=(*reads, *extra), writes=tuple(writes),
        work=tuple(work), dims=op.dims, attrs=facts(op),
    )  # fmt: skip
    g.settle()
