"""Disentangled attention: scores of content and relative position are products of their own, gathered and added."""

from __future__ import annotations

from ...._foundation.expr import Expr, const, group_sum, minimum
from ....graph.builder import COUNT, NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import Disentangled
from . import Context, linear, part

RELATIVE = "relative_positions"  # the table, normed once, that all layers read


@part(Disentangled)
def disentangled(ctx: Context, b: BlockBuilder, a: Disentangled, x: str) -> str:
    """arXiv 2006.03654 eq. 3–4: Q·Kᵀ + gathered Q·K_rᵀ + gathered K·Q_rᵀ, then softmax and values."""
    h, h_name = ctx.dim("heads", a.heads, "heads")
    d, hidden = a.head_dim, ctx.hidden
    if a.fused:
        q, k, v = [linear(ctx, b, f"self_attn.in_proj.{p}", x, h * d, hidden) for p in "qkv"]
        q, v = [
            b.elementwise(f"self_attn.{p}_bias.add", "add", [t], TOKENS * h * d, weights=[b.weight(f"self_attn.{p}_bias", h * d)])
            for p, t in (("q", q), ("v", v))
        ]  # fmt: skip
    else:
        q, k, v = [linear(ctx, b, f"self_attn.{p}_proj", x, h * d, hidden, bias=True) for p in "qkv"]
    length = TOKENS / SEQS
    rows: Expr = 2 * (minimum(length, a.span) if a.clipped else const(a.span))
    extra = []
    for name, there, content, own, bias in (("c2p", a.c2p, q, "k", not a.fused), ("p2c", a.p2c, k, "q", True)):
        if not there:
            continue
        if a.shared:
            weight = f"self_attn.{own}_proj.weight"
            position = b.linear(f"self_attn.pos_{own}_proj", RELATIVE, h * d, hidden, rows=rows, weight=weight)
        else:
            position = linear(ctx, b, f"self_attn.pos_{own}_proj", RELATIVE, h * d, hidden, rows=rows, bias=bias)
        extra.append(Operand(_scores(b, f"self_attn.{name}", content, position, h, d, rows)))
    out = b.attention(
        "self_attn.attn", q, k, v, heads=h, kv_heads=h, qk_dim=d, v_dim=d, causal=False, extra_reads=extra
    )  # fmt: skip
    return linear(ctx, b, "self_attn.o_proj", out, hidden, h * d, bias=True, exchanges=[("reduce", (h_name,))])


def _scores(b: BlockBuilder, name: str, content: str, position: str, h: Expr, d: int, rows: Expr) -> str:
    """Every token against every relative position, then for each pair of tokens the one that applies."""
    scores = b.activation(f"{name}.out", TOKENS * h * rows)
    b.op(
        name, "matmul", "bmm", reads=(Operand(content), Operand(position)), writes=(Operand(scores),),
        work=(Work("matmul", 2 * TOKENS * h * rows * d, b.dtype),),
        dims={"m": TOKENS / SEQS, "n": rows, "k": const(d), "batch": SEQS * h},
    )  # fmt: skip
    pairs = group_sum(COUNT * NEW * NEW) * h
    return b.elementwise(f"{name}.gather", "gather", [Operand(scores, pairs, "random", const(1))], pairs, kind="gather")
