"""Multi-head, grouped-query and multi-query attention with a KV cache."""

from __future__ import annotations

from ...._foundation.expr import Expr, const
from ....graph.builder import CACHED, CACHING, NEW, TOKENS, BlockBuilder
from ....graph.ir import Operand
from ..arch import Attention
from . import Context, linear, part, plain_linear
from .index import score_index
from .masks import mask_of


@part(Attention)
def attention(ctx: Context, b: BlockBuilder, a: Attention, x: str) -> str:
    """softmax(q·kᵀ/√d)·v; grouped-query: arXiv 2305.13245 §2.2, rotary positions: arXiv 2104.09864 eq. 34."""
    hidden, dk = ctx.hidden, a.head_dim
    dv = a.v_dim or dk
    h, h_name = ctx.dim("heads", a.heads, "heads")
    g, _ = ctx.dim("kv_heads", a.kv_heads, "kv_heads")
    q = linear(ctx, b, "self_attn.q_proj", x, h * dk * (2 if a.gate == "query" else 1), hidden, bias=a.q_bias)
    k = v = None
    v_bias = a.kv_bias if a.v_bias is None else a.v_bias
    if not a.shared_kv:
        k = linear(ctx, b, "self_attn.k_proj", x, g * dk, hidden, bias=a.kv_bias)
        v = k if a.k_eq_v else linear(ctx, b, "self_attn.v_proj", x, g * dv, hidden, bias=v_bias)
    gate = None
    if a.gate == "query":
        gate = Operand(q, TOKENS * h * dk)
        q = b.elementwise("self_attn.gate_split", "copy", [Operand(q, TOKENS * h * dk)], TOKENS * h * dk, kind="copy")
    elif a.gate == "head":
        gate = Operand(plain_linear(ctx, b, "self_attn.g_proj", x, h, hidden))
    if a.qk_norm != "none":
        q = _norm(b, a, "q", q, h)
        k = _norm(b, a, "k", k, g) if k is not None else None
    if a.v_norm and v is not None:
        v = b.norm("self_attn.v_norm", a.norm_fn, v, TOKENS * g, dv, weight=False)
    if a.rope:
        q = b.elementwise("self_attn.rope_q", "rope", [q], TOKENS * h * dk, work_elements=TOKENS * h * dk * a.rope)
        if k is not None:
            k = b.elementwise("self_attn.rope_k", "rope", [k], TOKENS * g * dk, work_elements=TOKENS * g * dk * a.rope)
    extra = []
    if a.sinks:
        extra.append(Operand(b.weight("self_attn.sinks", h)))
    if a.relative_bias:
        extra.append(Operand(b.weight("self_attn.relative_bias", h * a.relative_bias)))
    one = a.k_eq_v and not a.v_norm
    per_token = g * dk if one else g * (dk + dv)
    mask = mask_of(a.window, a.chunk, a.index.topk if a.index else None)
    kv: str | Operand | None = None
    if a.causal:
        # A layer that shares another's keys and values keeps none, yet reads as many bytes.
        kept = const(0) if a.shared_kv else CACHING * mask.all_kept * per_token
        cache = b.cache("self_attn.kv_cache", kept, ctx.formats.cache)
        if k is not None:
            b.kv_write("self_attn.kv_write", [k] if one or v is None else [k, v], cache, TOKENS * per_token)
        if a.index is not None:
            extra += score_index(ctx, b, a.index, x, x, ctx.hidden)
        access = ("random", per_token) if mask.scattered else ("streamed", None)
        read = mask.all_span + TOKENS if a.shared_kv else mask.all_span  # its new tokens' keys come from there too
        kv = Operand(cache, read * per_token, *access)
    out = b.attention(
        "self_attn.attn", q, k, None if one else v, heads=h, kv_heads=g, qk_dim=dk, v_dim=dv, kv=kv, causal=a.causal,
        window=a.window, pairs=mask.pairs if a.causal else None, span=mask.span if a.causal else None,
        dense_pairs=NEW * (CACHED + NEW), extra_reads=extra, attrs={"chunk": a.chunk, "topk": a.index.topk if a.index else None},
    )  # fmt: skip
    if gate is not None:
        out = b.elementwise("self_attn.out_gate", "sigmoid", [out, gate], TOKENS * h * dv)
    return linear(ctx, b, "self_attn.o_proj", out, hidden, h * dv, bias=a.out_bias, exchanges=[("reduce", (h_name,))])


def _norm(b: BlockBuilder, a: Attention, which: str, source: str, heads: Expr) -> str:
    dk = a.head_dim
    rows, width, learned = TOKENS * heads, const(dk), const(dk)
    if a.qk_norm == "full":
        rows, width = TOKENS, heads * dk
    if a.qk_norm in ("full", "heads"):
        learned = heads * dk
    return b.norm(
        f"self_attn.{which}_norm", a.norm_fn, source, rows, width, bias=a.qk_norm_bias, weight=a.qk_norm != "plain",
        weight_elements=learned,
    )  # fmt: skip
