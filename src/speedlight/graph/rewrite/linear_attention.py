"""Softmax attention replaced by linear attention: a matrix state a head instead of all keys and values.

The chunk-wise form (GLA, arXiv 2312.06635, §3; RetNet, arXiv 2307.08621, §2.3): inside a chunk queries meet keys, between chunks
a state of qk_dim × v_dim numbers a head is handed on. Cost is linear in tokens, and a step reads its state, not its context.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, group_sum, maximum, minimum
from ..builder import CACHING, COUNT, NEW, SEQS
from ..ir import ZERO, Block, Graph, Op, Operand, Persistent, Tensor, Work
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("linear_attention")
def linear_attention(graph: Graph, chunk: int = 64) -> Graph:
    """Every softmax attention as a chunk-wise linear one; caches of keys and values become states in fp32.

    Args:
        chunk: tokens that meet each other before the state is handed on.
    """
    if chunk < 1:
        raise BadInput(f"chunks of {chunk}", expected="at least 1")

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn == "kv_write":
            return (dataclasses.replace(op, count=ZERO, writes=()),)
        return (_linear(edit, op, chunk),) if op.fn == "sdpa" else (op,)

    changed = edited(graph, visit)
    if changed is graph:
        return graph
    return changed.replace(blocks=tuple(_without_caches(b) for b in changed.blocks))


def _linear(edit: Edit, op: Op, chunk: int) -> Op:
    d = op.dims
    heads, qk, v = d["heads"], d["qk_dim"], d["v_dim"]
    if d["seqs"] == SEQS:
        met = group_sum(COUNT * NEW * minimum(NEW, chunk))
    else:
        met = d["rows"] * minimum(d["rows"] / maximum(d["seqs"], 1), chunk)
    met = met / 2 if op.attrs.get("causal") else met
    (product,) = [w for w in op.work if w.unit == "matmul"]
    flops = heads * (2 * (qk + v) * met + 4 * qk * v * d["rows"])
    work = (Work("matmul", flops, product.format, product.accumulate), Work("vector", 4 * heads * met, "fp32"))
    reads = tuple(r for r in op.reads if not edit.tensor(r.tensor).persistent)
    kept = [r for r in op.reads if edit.tensor(r.tensor).cls == "kv"]
    writes = op.writes
    if kept:
        name = f"{op.name}.state"
        size = d["seqs"] * heads * qk * v
        held = size * CACHING  # training keeps none between steps
        edit.tensors[name] = Tensor(name, held, "fp32", "state", Persistent(held, "sequence"), needs_grad=False)
        reads, writes = (*reads, Operand(name)), (*writes, Operand(name))
    span: Expr = maximum(1, d["rows"] / maximum(d["seqs"], 1) / chunk)
    return dataclasses.replace(op, kind="scan", fn="linear_attention", work=work, reads=reads, writes=writes, span=span)


def _without_caches(block: Block) -> Block:
    """Nobody reads the caches any more."""
    used = {o.tensor for op in block.ops for o in (*op.reads, *op.writes)}
    tensors = {n: t for n, t in block.tensors.items() if t.cls != "kv" or n in used}
    return dataclasses.replace(block, tensors=tensors)


__all__ = ["linear_attention"]
