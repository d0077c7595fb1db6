"""Multi-head latent attention: one small latent per token is cached instead of keys and values."""

from __future__ import annotations

from ...._foundation.expr import const, ge, group_sum, minimum, sym, where
from ...._foundation.formats import multiply_format
from ....graph.builder import CACHED, CACHING, COUNT, NEW, TOKENS, BlockBuilder, attention_format
from ....graph.ir import Operand, Work
from ..arch import Mla
from . import Context, linear, part
from .index import score_index
from .masks import mask_of


@part(Mla)
def latent_attention(ctx: Context, b: BlockBuilder, a: Mla, x: str) -> str:
    """DeepSeek-V2, arXiv 2405.04434 §2.1 eq. 9–19.

    Per sequence group, whichever of two equal computations takes fewer FLOPs (both are in use: arXiv 2412.19437 §2.1):

    *expanded*: up-project every key and value, then ordinary attention over ``nope + rope`` and ``v`` dimensions;
    *absorbed*: fold the up-projections into the query and the output, then attend to the latent itself.
    """
    hidden, qk = ctx.hidden, a.nope_dim + a.rope_dim
    latent = a.kv_rank + a.rope_dim
    h, h_name = ctx.dim("heads", a.heads, "heads")
    query, query_width = x, hidden
    if a.q_rank:
        q = linear(ctx, b, "self_attn.q_a_proj", x, a.q_rank, hidden, bias=a.bias)
        query, query_width = b.norm("self_attn.q_a_layernorm", a.norm_fn, q, TOKENS, a.q_rank), a.q_rank
        q = linear(ctx, b, "self_attn.q_b_proj", query, h * qk, a.q_rank)
    else:
        q = linear(ctx, b, "self_attn.q_proj", x, h * qk, hidden)
    kv_a = linear(ctx, b, "self_attn.kv_a_proj_with_mqa", x, latent, hidden, bias=a.bias)
    c = b.norm("self_attn.kv_a_layernorm", a.norm_fn, kv_a, TOKENS, a.kv_rank)
    k_rope = Operand(kv_a, TOKENS * a.rope_dim)
    if a.rope and a.rope_dim:
        q = b.elementwise("self_attn.rope_q", "rope", [q], TOKENS * h * qk, work_elements=TOKENS * h * a.rope_dim)
        k_rope = Operand(b.elementwise("self_attn.rope_k", "rope", [k_rope], TOKENS * a.rope_dim))
    mask = mask_of(a.window, topk=a.index.topk if a.index else None)
    kv = b.cache("self_attn.kv_cache", CACHING * mask.all_kept * latent, ctx.formats.cache)
    b.kv_write("self_attn.kv_write", [c, k_rope.tensor], kv, TOKENS * latent)
    chosen = score_index(ctx, b, a.index, x, query, query_width) if a.index else []

    pairs, span = mask.pairs, mask.span
    # FLOPs per head of both forms, for one sequence of a group
    expanded = (span + NEW) * a.kv_rank * (a.nope_dim + a.v_dim) + pairs * (qk + a.v_dim)
    absorbed = NEW * a.kv_rank * (a.nope_dim + a.v_dim) + pairs * (latent + a.kv_rank)
    expand = where(ge(absorbed, expanded), 1, 0)
    seen = group_sum(COUNT * (span + NEW) * expand)  # tokens up-projected
    folded = group_sum(COUNT * NEW * (1 - expand))  # query tokens that use the absorbed form
    used = a.kv_rank * (a.nope_dim + a.v_dim)
    path = f"{b.path}.self_attn.kv_b_proj"
    weight = b.weight("self_attn.kv_b_proj.weight", h * used, ctx.formats.weight(path))
    number = multiply_format(ctx.formats.weight(path), ctx.formats.activation(path))
    access = ("random", const(latent)) if mask.scattered else ("streamed", None)

    wide = b.activation("self_attn.kv_b_proj.out", seen * h * (a.nope_dim + a.v_dim))
    b.op(
        "self_attn.kv_b_proj", "matmul", "linear",
        reads=(Operand(c), Operand(weight, h * used * minimum(1, seen)),
               Operand(kv, group_sum(COUNT * span * expand) * latent, *access)),
        writes=(Operand(wide),), work=(Work("matmul", 2 * seen * h * used, number),),
        dims={"m": seen, "n": h * (a.nope_dim + a.v_dim), "k": const(a.kv_rank), "batch": const(1)},
        count=minimum(1, seen),
    )  # fmt: skip
    absorb_q = b.activation("self_attn.absorb_q.out", folded * h * latent)
    b.op(
        "self_attn.absorb_q", "matmul", "bmm",
        reads=(Operand(q, folded * h * qk), Operand(weight, h * a.kv_rank * a.nope_dim * minimum(1, folded))),
        writes=(Operand(absorb_q),),
        work=(Work("matmul", 2 * folded * h * a.kv_rank * a.nope_dim, b.dtype),),
        dims={"m": folded, "n": const(a.kv_rank), "k": const(a.nope_dim), "batch": h}, count=minimum(1, folded),
    )  # fmt: skip
    number_of_pairs = group_sum(COUNT * pairs * (expand * (qk + a.v_dim) + (1 - expand) * (latent + a.kv_rank)))
    dense = group_sum(COUNT * NEW * (CACHED + NEW) * (expand * (qk + a.v_dim) + (1 - expand) * (latent + a.kv_rank)))
    plain = group_sum(COUNT * pairs)
    out = b.activation("self_attn.attn.out", TOKENS * h * a.v_dim)
    b.op(
        "self_attn.attn", "attention", "mla",
        reads=(Operand(q, TOKENS * h * qk - folded * h * qk), Operand(wide), Operand(absorb_q), Operand(c), k_rope,
               *chosen, Operand(kv, group_sum(COUNT * span * (1 - expand)) * latent, *access)),
        writes=(Operand(out),),
        work=(
            Work("matmul", 2 * h * number_of_pairs, attention_format(b.dtype, ctx.formats.cache), dense=2 * h * dense),
            Work("vector", 4 * h * plain, "fp32"), Work("transcendental", h * plain, "fp32"),
        ),
        dims={"heads": h, "kv_heads": const(1), "qk_dim": const(latent), "v_dim": const(a.kv_rank),
              "seqs": sym("seqs"), "rows": TOKENS, "keys": group_sum(COUNT * (span + NEW))},
        attrs={
            "causal": True, "window": a.window, "topk": a.index.topk if a.index else None, "stored": ctx.formats.cache,
            "kv_rank": a.kv_rank, "rope_dim": a.rope_dim, "nope_dim": a.nope_dim, "v_head_dim": a.v_dim,
        },
    )  # fmt: skip
    absorb_v = b.activation("self_attn.absorb_v.out", TOKENS * h * a.v_dim)
    b.op(
        "self_attn.absorb_v", "matmul", "bmm",
        reads=(Operand(out), Operand(weight, h * a.kv_rank * a.v_dim * minimum(1, folded))),
        writes=(Operand(absorb_v),), work=(Work("matmul", 2 * folded * h * a.kv_rank * a.v_dim, b.dtype),),
        dims={"m": folded, "n": const(a.v_dim), "k": const(a.kv_rank), "batch": h}, count=minimum(1, folded),
    )  # fmt: skip
    if a.gate:
        gate = linear(ctx, b, "self_attn.g_proj", x, h * a.v_dim, hidden)
        absorb_v = b.elementwise("self_attn.out_gate", "sigmoid", [absorb_v, gate], TOKENS * h * a.v_dim)
    return linear(
        ctx, b, "self_attn.o_proj", absorb_v, hidden, h * a.v_dim, bias=a.bias, exchanges=[("reduce", (h_name,))]
    )
