"""Fewer tokens in layers of a captured module, whose sizes are numbers and no symbols: each layer's own counts are scaled.

Only layers with one fused attention operator are known: there every activation is so many tokens wide, products grow with the
tokens and attention with the tokens' pairs. What comes behind the stack of layers keeps its size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..._foundation.expr import Expr, ExprLike, const, evaluate
from ..ir import Block, Graph, Op, Operand, Tensor, Work
from .resized import in_turns

METRIC = 64  # width of what tokens are matched by
COUNTED = ("m", "rows", "keys")  # sizes of an op that count tokens


def attending_layers(graph: Graph) -> list[Block]:
    """Repeated layers of a captured module with one attention operator each."""
    if graph.attrs.get("kind") != "module":
        return []
    return [
        b for b in graph.blocks
        if b.phase == "forward" and b.layers and b.inputs and b.outputs and b.count.constant is not None
        and sum(op.kind == "attention" for op in b.ops) == 1
    ]  # fmt: skip


def thinned_layers(graph: Graph, shares: Sequence[float], match: bool) -> Graph:
    """The module with a share of the tokens in each part of its stack of layers; see :func:`.tokens.thinned_tokens`."""
    first = {s: i for i, s in reversed(list(enumerate(shares)))}

    def change(block: Block, share: float) -> Block:
        if share == 1:
            return block
        attention = next(op for op in block.ops if op.kind == "attention")
        sizes = dict.fromkeys(graph.symbols, 1.0)
        tokens = float(evaluate(attention.dims["rows"], sizes)) / float(evaluate(attention.dims["seqs"], sizes))

        def left(of: float) -> float:
            return (1 + (tokens - 1) * of) / tokens

        thin = _scaled(block, left(share))
        before = shares[first[share] - 1] if first[share] else 1.0
        if not match or share >= before:
            return thin
        return _matched(block, thin, attention.dims["seqs"], tokens * left(before), left(before))

    return in_turns(graph, shares, change, attending_layers(graph))


def _scaled(block: Block, by: float) -> Block:
    own = {name for name, t in block.tensors.items() if t.cls == "activation"}

    def operand(o: Operand) -> Operand:
        if o.elements is None or o.tensor not in own:
            return o
        return dataclasses.replace(o, elements=o.elements * by)

    def scaled(op: Op) -> Op:
        more = by * by if op.kind == "attention" else by
        return dataclasses.replace(
            op, reads=tuple(map(operand, op.reads)), writes=tuple(map(operand, op.writes)),
            work=tuple(dataclasses.replace(w, flops=w.flops * more, dense=None if w.dense is None else w.dense * more) for w in op.work),
            dims={name: e * by if name in COUNTED else e for name, e in op.dims.items()},
        )  # fmt: skip

    tensors = {n: dataclasses.replace(t, elements=t.elements * by) if n in own else t for n, t in block.tensors.items()}
    return dataclasses.replace(block, ops=tuple(map(scaled, block.ops)), tensors=tensors)


def _matched(whole: Block, thin: Block, seqs: Expr, tokens: float, before: float) -> Block:
    """The first of some thinned layers merges: half of its tokens are scored against the other half, the best pairs become means.

    ToMe (arXiv 2210.09461 §3), call by call: normalise, score, look for the best partner, sort, gather, add up, join.
    """
    source = whole.inputs[0]
    x = whole.tensors[source]
    all_of = x.elements * before
    half = tokens / 2
    pairs = seqs * (half * half)
    once = const(1) / whole.count
    scores = Tensor("merge.scores.out", pairs, x.dtype)
    metric = Tensor("merge.metric.out", seqs * (tokens * METRIC), x.dtype)

    def op(
        name: str, kind: str, fn: str, reads: tuple[Operand, ...], writes: tuple[Operand, ...], flops: ExprLike
    ) -> Op:
        work = (Work("vector", const(0) + flops, "fp32"),)
        return Op(
            name=f"merge.{name}", kind=kind, fn=fn, path="merge", reads=reads, writes=writes, work=work, count=once
        )

    everything = Operand(source, all_of)
    ops = (
        op("metric", "reduction", "mean", (everything,), (Operand(metric.name),), all_of),
        op("length", "elementwise", "div", (Operand(metric.name),), (Operand(metric.name),), metric.elements * 3),
        Op(
            name="merge.scores", kind="matmul", fn="bmm", path="merge", reads=(Operand(metric.name),), writes=(Operand(scores.name),),
            work=(Work("matmul", 2 * pairs * METRIC, x.dtype),), dims={"m": const(half), "n": const(half), "k": const(METRIC), "batch": seqs},
            count=once,
        ),
        op("best", "reduction", "max", (Operand(scores.name),), (), pairs),
        op("order", "sort", "sort", (Operand(scores.name, seqs * half),), (), seqs * (half * 8)),
        op("apart", "gather", "gather", (everything,), (everything,), 0),
        op("add", "gather", "scatter_add", (everything,), (Operand(source, all_of / 2),), all_of / 2),
        op("join", "copy", "cat", (everything,), (everything,), 0),
    )  # fmt: skip
    return dataclasses.replace(
        thin, ops=(*ops, *thin.ops), tensors={**thin.tensors, scores.name: scores, metric.name: metric}
    )


__all__ = ["attending_layers", "thinned_layers"]
