"""Fused attention written out: the scores pass through memory, as in code from before fused kernels existed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.expr import Expr
from ..builder import BlockBuilder
from ..ir import Graph, Op, Operand, Work
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("written_out_attention")
def written_out_attention(graph: Graph, copies: bool = True, safe: bool = False, dropped: bool = False) -> Graph:
    """``sdpa`` → scale, q·kᵀ, mask, softmax, scores·v; every query·key pair is computed, masked or not.

    Attention over a cache (of keys kept from earlier steps) stays as it is.

    Args:
        copies: heads lie scattered in the projections' results, so each operand of the batched products is gathered into
            a tensor of its own before it, and their result goes back to rows of tokens (``reshape`` of ``transpose``).
        safe: as PyTorch's own fallback runs it (``SDPBackend.MATH``, from 2.5 on): queries and keys are scaled by the root each,
            and rows of scores that are masked from end to end are looked for (``_safe_softmax``).
        dropped: only attention that drops scores at random, which not every library's fused kernels do.
    """

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "sdpa" or op.phase != "forward" or any(edit.tensor(r.tensor).persistent for r in op.reads):
            return (op,)
        if dropped and not op.attrs.get("dropout"):
            return (op,)
        return _parts(edit, op, copies, safe)

    return edited(graph, visit, lambda block: block.phase == "forward")


def _parts(edit: Edit, op: Op, copies: bool, safe: bool) -> list[Op]:
    d = op.dims
    heads, kv_heads, width, v_width = d["heads"], d["kv_heads"], d["qk_dim"], d["v_dim"]
    rows, keys = d["rows"], d["keys"]
    (product,) = [w for w in op.work if w.unit == "matmul"]
    pairs = (product.flops if product.dense is None else product.dense) / (2 * (width + v_width))  # of all heads
    given = [r for r in op.reads if r.elements is None or r.elements.constant != 0]
    mask = given.pop() if op.attrs.get("mask") and len(given) > 1 else None
    dtype = edit.tensor(given[0].tensor).dtype
    sizes = (rows * heads * width, keys * kv_heads * width, keys * kv_heads * v_width)
    # q, k and v may be parts of one projection, whose reads the capture joined.
    sources = [given[min(i, len(given) - 1)].tensor for i in range(3)]
    parts = [Operand(s, size, "strided") for s, size in zip(sources, sizes, strict=True)]
    if len(given) == 3:
        parts = [Operand(r.tensor, r.elements, r.access, r.granule) for r in given]
    ops: list[Op] = []

    def add(name: str, kind: str, fn: str, reads: tuple[Operand, ...], size: Expr, work: tuple[Work, ...] = (),
            dtype: str = dtype, **fields: object) -> Operand:  # fmt: skip
        made = edit.activation(f"{op.name}.{name}.out", size, dtype)
        ops.append(
            edit.op(f"{op.name}.{name}", kind, fn, op, reads=reads, writes=(Operand(made),), work=work, **fields)
        )
        return Operand(made)

    query = add(
        "scale", "elementwise", "mul", (parts[0],), sizes[0], BlockBuilder.element_work("mul", sizes[0])
    )  # fmt: skip
    key, value = parts[1], parts[2]
    if safe:
        key = add("scale_k", "elementwise", "mul", (key,), sizes[1], BlockBuilder.element_work("mul", sizes[1]))
    if copies:
        query = add("q", "copy", "copy", (query,), sizes[0])
        key = add("k", "copy", "copy", (key,), sizes[1])
        value = add("v", "copy", "copy", (value,), sizes[2])
    batch = d["seqs"] * heads
    tall, long = rows / d["seqs"], keys / d["seqs"]
    work = Work("matmul", pairs * 2 * width, product.format, product.accumulate)
    scores = add(
        "scores", "matmul", "bmm", (query, key), pairs, (work,), dims={"m": tall, "n": long, "k": width, "batch": batch}
    )
    if mask is not None:
        scores = add("mask", "elementwise", "add", (scores, mask), pairs, BlockBuilder.element_work("add", pairs))
    weights = add(
        "softmax", "softmax", "softmax", (scores,), pairs, BlockBuilder.element_work("softmax", pairs),
        dims={"rows": rows * heads, "width": long},
    )  # fmt: skip
    if safe:
        lost = add(
            "isneginf",
            "elementwise",
            "isneginf",
            (scores,),
            pairs,
            BlockBuilder.element_work("eq", pairs),
            dtype="bool",
        )
        lost = add(
            "all", "reduction", "all", (lost,), rows * heads, BlockBuilder.element_work("eq", pairs), dtype="bool"
        )
        weights = add(
            "where", "elementwise", "where", (lost, weights), pairs, BlockBuilder.element_work("where", pairs)
        )
    if op.attrs.get("dropout"):
        weights = add(
            "dropout", "elementwise", "dropout", (weights,), pairs, BlockBuilder.element_work("dropout", pairs)
        )
    work = Work("matmul", pairs * 2 * v_width, product.format, product.accumulate)
    dims = {"m": tall, "n": v_width, "k": long, "batch": batch}
    last = edit.op(
        f"{op.name}.values", "matmul", "bmm", op, reads=(weights, value), work=(work,), dims=dims, writes=op.writes
    )
    if not copies:
        return [*ops, last]
    made = edit.activation(f"{op.name}.values.out", edit.touched(op.writes[0]), dtype)
    back = edit.op(f"{op.name}.rows", "copy", "copy", op, reads=(Operand(made),), writes=op.writes)
    return [*ops, dataclasses.replace(last, writes=(Operand(made),)), back]


__all__ = ["written_out_attention"]
