"""Attention of a decoder to what its encoder made of the source.

Sequences enter a model in the step that has nothing cached of them: only in that step are they *fresh*, their source is
encoded and its keys and values projected. Steps of continued sequences have no such work, whatever the mix.
"""

from __future__ import annotations

from ...._foundation.expr import Expr, ge, group_sum, sym, where
from ....graph.builder import CACHED, CACHING, COUNT, NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Operand
from ..arch import CrossAttention
from . import Context, linear, part

SOURCE = sym("source")  # positions of the source, per sequence
STATES = "encoder.states"  # what the encoder hands to every layer of the decoder
FRESH_SHARE = where(ge(CACHED, 0.5), 0, 1)  # of one group: a growing context is integrated at fractions of a token
FRESH = group_sum(COUNT * FRESH_SHARE)
PRESENT = where(ge(FRESH, 0.5), 1, 0)


def source_rows() -> Expr:
    """Source positions the step encodes."""
    return FRESH * SOURCE


@part(CrossAttention)
def cross_attention(ctx: Context, b: BlockBuilder, a: CrossAttention, x: str) -> str:
    """softmax(q·kᵀ)·v with keys and values of the encoder's states (arXiv 1706.03762 §3.2.3)."""
    d, name = a.head_dim, "encoder_attn"
    h, h_name = ctx.dim("heads", a.heads, "heads")
    q = linear(ctx, b, f"{name}.q_proj", x, h * d, ctx.hidden, bias=a.q_bias)
    k, v = [
        linear(ctx, b, f"{name}.{p}_proj", STATES, h * d, a.source_width, bias=bias, rows=source_rows(), count=PRESENT)
        for p, bias in (("k", a.k_bias), ("v", a.v_bias))
    ]  # fmt: skip
    cache = b.cache(f"{name}.kv_cache", CACHING * SEQS * SOURCE * 2 * h * d, ctx.formats.cache)
    written = source_rows() * 2 * h * d
    b.op(f"{name}.kv_write", "copy", "kv_write", reads=(Operand(k), Operand(v)), work=(), count=CACHING * PRESENT,
         writes=(Operand(cache, written, access="strided"),))  # fmt: skip
    continued = (SEQS - FRESH) * SOURCE * 2 * h * d
    out = b.attention(
        f"{name}.attn", q, k, v, heads=h, kv_heads=h, qk_dim=d, v_dim=d, causal=False, pairs=NEW * SOURCE,
        dense_pairs=NEW * SOURCE, span=SOURCE - NEW, kv=Operand(cache, continued),
    )  # fmt: skip
    return linear(
        ctx, b, f"{name}.out_proj", out, ctx.hidden, h * d, bias=a.out_bias, exchanges=[("reduce", (h_name,))]
    )


__all__ = ["FRESH", "FRESH_SHARE", "NEW", "PRESENT", "SOURCE", "STATES", "TOKENS", "cross_attention", "source_rows"]
