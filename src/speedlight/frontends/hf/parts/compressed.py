"""DeepSeek-V4's compressed attention: a window of exact tokens and a compressed far context."""

from __future__ import annotations

from ...._foundation.expr import Expr, const, group_sum, minimum
from ...._foundation.formats import multiply_format
from ....graph.builder import CACHED, CACHING, COUNT, NEW, SEQS, TOKENS, BlockBuilder, causal_pairs
from ....graph.ir import Operand, Work
from ..arch import CompressedAttention
from . import Context, linear, part, plain_linear
from .index import score_format
from .masks import mask_of
from .recurrence import CONTINUED


@part(CompressedAttention)
def compressed_attention(ctx: Context, b: BlockBuilder, a: CompressedAttention, x: str) -> str:
    """ "DeepSeek-V4" (2026) §2.3: one shared key-value head, q from a latent, grouped low-rank output.

    A query sees the window and, of the ⌊context/rate⌋ compressed entries, all (HCA) or the best ``topk`` (CSA). Entries
    are counted as context/rate, without the rounding.
    """
    hidden, d = ctx.hidden, a.head_dim
    h, h_name = ctx.dim("heads", a.heads, "heads")
    low = linear(ctx, b, "self_attn.q_a_proj", x, a.q_rank, hidden)
    low = b.norm("self_attn.q_a_norm", "rms_norm", low, TOKENS, a.q_rank)
    q = linear(ctx, b, "self_attn.q_b_proj", low, h * d, a.q_rank)
    q = b.norm("self_attn.q_b_norm", "rms_norm", q, TOKENS * h, d, weight=False)
    kv = linear(ctx, b, "self_attn.kv_proj", x, d, hidden)
    kv = b.norm("self_attn.kv_norm", "rms_norm", kv, TOKENS, d)
    q = b.elementwise("self_attn.rope_q", "rope", [q], TOKENS * h * d, work_elements=TOKENS * h * a.rope_dim)
    kv = b.elementwise("self_attn.rope_k", "rope", [kv], TOKENS * d, work_elements=TOKENS * a.rope_dim)
    near = mask_of(a.window)
    cache = b.cache("self_attn.kv_cache", CACHING * near.all_kept * d, ctx.formats.cache)
    b.kv_write("self_attn.kv_write", [kv], cache, TOKENS * d)
    pairs, span, reads = near.pairs, near.span, [Operand(b.weight("self_attn.sinks", h))]
    if a.rate:
        entries = _compress(ctx, b, "self_attn.compressor", x, d, a)
        far_pairs, far_span = causal_pairs() / a.rate, CACHED / a.rate
        access: tuple[str, Expr | None] = ("streamed", None)
        if a.topk:
            reads.append(_pick(ctx, b, a, x, low))
            far_pairs, far_span = causal_pairs(a.topk * a.rate) / a.rate, minimum(CACHED / a.rate, NEW * a.topk)
            access = ("random", const(d))
        pairs, span = pairs + far_pairs, span + far_span
        reads.append(Operand(entries, group_sum(COUNT * far_span) * d, *access))
    out = b.attention(
        "self_attn.attn", q, kv, None, heads=h, kv_heads=1, qk_dim=d, v_dim=d, pairs=pairs, span=span,
        kv=Operand(cache, near.all_span * d), window=a.window, extra_reads=reads,
        attrs={"rate": a.rate, "topk": a.topk or None},
    )  # fmt: skip
    out = b.elementwise("self_attn.unrope", "rope", [out], TOKENS * h * d, work_elements=TOKENS * h * a.rope_dim)
    return _output(ctx, b, a, out, h, h_name)


def _compress(ctx: Context, b: BlockBuilder, name: str, x: str, d: int, a: CompressedAttention) -> str:
    """Every ``rate`` tokens into one entry, by a softmax over their gates (§2.3.1 eq. 9–12, §2.3.2 eq. 20–23).

    Tokens of a window not yet full wait in a small state.
    """
    width = 2 * d if a.overlap else d
    values = plain_linear(ctx, b, f"{name}.kv_proj", x, width, ctx.hidden)
    gates = plain_linear(ctx, b, f"{name}.gate_proj", x, width, ctx.hidden)
    learned = b.weight(f"{name}.position_bias", a.rate * width)
    pending = b.cache(f"{name}.pending", CACHING * SEQS * a.rate * 2 * width, ctx.formats.dtype, cls="state")
    pooled = b.activation(f"{name}.out", TOKENS * d / a.rate)
    b.op(
        name, "reduction", "compress",
        reads=(Operand(values), Operand(gates), Operand(learned),
               Operand(pending, CACHING * CONTINUED * a.rate * width)),
        writes=(Operand(pooled), Operand(pending, CACHING * TOKENS * 2 * width)),
        work=(Work("vector", TOKENS * width * 6, "fp32"), Work("transcendental", TOKENS * width, "fp32")),
    )  # fmt: skip
    entries = b.norm(f"{name}.kv_norm", "rms_norm", pooled, TOKENS / a.rate, d)
    kept = group_sum(COUNT * (CACHED + NEW)) / a.rate
    cache = b.cache(f"{name}.cache", CACHING * kept * d, ctx.formats.cache)
    b.kv_write(f"{name}.write", [entries], cache, TOKENS * d / a.rate)
    return cache


def _pick(ctx: Context, b: BlockBuilder, a: CompressedAttention, x: str, low: str) -> Operand:
    """The lightning indexer over compressed entries (§2.3.1 eq. 13–17): every query scores every entry, keeps ``topk``."""
    name = "self_attn.compressor.indexer"
    keys = _compress(ctx, b, name, x, a.index_dim, a)
    q = linear(ctx, b, f"{name}.q_b_proj", low, a.index_heads * a.index_dim, a.q_rank)
    q = b.elementwise(f"{name}.rope", "rope", [q], TOKENS * a.index_heads * a.index_dim,
                      work_elements=TOKENS * a.index_heads * a.rope_dim)  # fmt: skip
    weigh = plain_linear(ctx, b, f"{name}.weights_proj", x, a.index_heads, ctx.hidden)
    pairs = group_sum(COUNT * causal_pairs()) / a.rate
    dense = group_sum(COUNT * NEW * (CACHED + NEW)) / a.rate
    scores = b.activation(f"{name}.scores.out", pairs, "fp32")
    read = group_sum(COUNT * CACHED) / a.rate * a.index_dim
    b.op(
        f"{name}.scores", "attention", "index_scores", reads=(Operand(q), Operand(weigh), Operand(keys, read)),
        writes=(Operand(scores),),
        work=(
            Work("matmul", 2 * a.index_heads * a.index_dim * pairs, score_format(ctx, f"{b.path}.{name}.q_b_proj"),
                 dense=2 * a.index_heads * a.index_dim * dense),
            Work("vector", 3 * a.index_heads * pairs, "fp32"),
        ),
        attrs={"causal": True, "window": None},
    )  # fmt: skip
    chosen = b.elementwise(
        f"{name}.topk", "topk", [scores], TOKENS * a.topk, kind="sort", dtype="int32", work_elements=pairs
    )
    return Operand(chosen)


def _output(ctx: Context, b: BlockBuilder, a: CompressedAttention, out: str, h: Expr, h_name: str) -> str:
    """Heads in groups, each group to ``out_rank`` features, then all of those to the hidden size (§2.3.3)."""
    groups, groups_name = ctx.dim("out_groups", a.out_groups, "heads")
    inside = a.heads * a.head_dim // a.out_groups
    path = f"{b.path}.self_attn.o_a_proj"
    weight = b.weight("self_attn.o_a_proj.weight", groups * a.out_rank * inside, ctx.formats.weight(path))
    mixed = b.activation("self_attn.o_a_proj.out", TOKENS * groups * a.out_rank)
    b.op(
        "self_attn.o_a_proj", "matmul", "bmm", reads=(Operand(out), Operand(weight)), writes=(Operand(mixed),),
        work=(Work("matmul", 2 * TOKENS * groups * a.out_rank * inside, multiply_format(ctx.formats.weight(path), ctx.formats.activation(path))),),
        dims={"m": TOKENS, "n": const(a.out_rank), "k": const(inside), "batch": groups},
    )  # fmt: skip
    return linear(ctx, b, "self_attn.o_b_proj", mixed, ctx.hidden, groups * a.out_rank,
                  exchanges=[("reduce", (h_name, groups_name))])  # fmt: skip
