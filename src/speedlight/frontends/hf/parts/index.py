"""The sparse-attention indexer: scores of every cached token (or block of tokens), and the choice of the best."""

from __future__ import annotations

from ...._foundation.expr import group_sum
from ....graph.builder import CACHED, CACHING, COUNT, NEW, TOKENS, BlockBuilder, causal_pairs
from ....graph.ir import Operand, Work
from ..arch import Index
from . import Context, linear, plain_linear
from .masks import mask_of


def score_format(ctx: Context, path: str) -> str:
    """What scores are multiplied in: fp8 where the checkpoint's linear layers are ("DeepSeek-V3.2-Exp" §1), else dtype."""
    return "fp8" if ctx.formats.activation(path) in ("fp8", "fp8_block", "mxfp8") else ctx.formats.dtype


def score_index(ctx: Context, b: BlockBuilder, i: Index, x: str, query: str, query_width: int) -> list[Operand]:
    """I[t,s] = Σ_j w[t,j] · ReLU(q[t,j] · k[s]) over index heads j, then the top k ("DeepSeek-V3.2-Exp" eq. 1).

    Every query scores every cached key, whatever attention then skips: cheap per pair, quadratic all the same.

    Args:
        x: hidden state, of which the key and the head weights are made.
        query: what the index queries are projected from, of width ``query_width``.

    Returns:
        the operands attention reads: the chosen positions.
    """
    if i.shared:
        return []
    heads = i.heads
    q = linear(ctx, b, "self_attn.indexer.wq_b", query, heads * i.dim, query_width)
    k = linear(ctx, b, "self_attn.indexer.wk", x, i.dim, ctx.hidden)
    k = b.norm("self_attn.indexer.k_norm", i.key_norm, k, TOKENS, i.dim, bias=i.key_norm == "layer_norm")
    if i.query_norm:
        q = b.norm("self_attn.indexer.q_norm", i.key_norm, q, TOKENS * heads, i.dim)
    reads = [Operand(q), Operand(k)]
    if i.head_weights:
        reads.append(Operand(plain_linear(ctx, b, "self_attn.indexer.weights_proj", x, heads, ctx.hidden)))
    kept = mask_of()
    cache = b.cache("self_attn.indexer.cache", CACHING * kept.all_kept * i.dim, ctx.formats.cache)
    b.kv_write("self_attn.indexer.write", [k], cache, TOKENS * i.dim)
    pairs = group_sum(COUNT * causal_pairs())
    dense = group_sum(COUNT * NEW * (CACHED + NEW))
    scores = b.activation("self_attn.indexer.scores.out", pairs / i.block, "fp32")
    b.op(
        "self_attn.indexer.scores", "attention", "index_scores",
        reads=(*reads, Operand(cache, kept.all_span * i.dim)), writes=(Operand(scores),),
        work=(
            Work("matmul", 2 * heads * i.dim * pairs, score_format(ctx, f"{b.path}.self_attn.indexer.wq_b"),
                 dense=2 * heads * i.dim * dense),
            Work("vector", 3 * heads * pairs, "fp32"),
        ),
        attrs={"causal": True, "window": None},
    )  # fmt: skip
    chosen = b.elementwise(
        "self_attn.indexer.topk", "topk", [scores], TOKENS * (i.topk // i.block), kind="sort", dtype="int32",
        work_elements=pairs / i.block,
    )  # fmt: skip
    return [Operand(chosen)]
