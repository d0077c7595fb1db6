"""Gated delta rule mixers: gated DeltaNet (Qwen3-Next, Qwen3.5) and Kimi delta attention.

Legend: H value heads, K key heads, d_k and d_v their widths, C chunk, T tokens.
"""

from __future__ import annotations

from ...._foundation.expr import Expr, const, group_sum, minimum
from ....graph.builder import COUNT, NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import DeltaNet
from . import Context, linear, part, plain_linear
from .recurrence import chunk_steps, keep_state, short_conv, stepwise


@part(DeltaNet)
def delta_net(ctx: Context, b: BlockBuilder, m: DeltaNet, x: str) -> str:
    """S_t = S_{t−1}·α_t(I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ, o_t = S_t q_t (arXiv 2412.06464 eq. 10; KDA: 2510.26692 eq. 1)."""
    hidden, dk, dv = ctx.hidden, m.key_dim, m.value_dim
    h, h_name = ctx.dim("state_heads", m.value_heads, "state_heads")
    k, _ = ctx.dim("state_key_heads", m.key_heads, "kv_heads")
    keys, values = k * dk, h * dv
    qkv = linear(ctx, b, "linear_attn.in_proj_qkv", x, 2 * keys + values, hidden)
    mixed = short_conv(ctx, b, "linear_attn.conv1d", [Operand(qkv)], 2 * keys + values, m.conv, bias=False)
    gates = _gates(ctx, b, m, x, h, k)
    weights = [b.weight("linear_attn.A_log", h), b.weight("linear_attn.dt_bias", keys if m.channel_gate else h)]
    normed = b.elementwise(
        "linear_attn.qk_norm", "l2_norm", [Operand(mixed, TOKENS * 2 * keys)], TOKENS * 2 * keys, kind="norm"
    )
    out = _scan(b, m, [Operand(normed), Operand(mixed, TOKENS * values), *gates, *[Operand(w) for w in weights]], h, k)
    z = _output_gate(ctx, b, m, x, values)
    out = b.norm("linear_attn.norm", "rms_norm", out, TOKENS * h, dv)
    out = b.elementwise("linear_attn.gate", "sigmoid" if m.channel_gate else "silu", [out, z], TOKENS * values)
    return linear(ctx, b, "linear_attn.out_proj", out, hidden, values, exchanges=[("reduce", (h_name,))])


def _gates(ctx: Context, b: BlockBuilder, m: DeltaNet, x: str, h: Expr, k: Expr) -> list[Operand]:
    """The write strength β per head and the decay α per head, or per key channel through a low-rank projection."""
    if not m.channel_gate:
        return [Operand(plain_linear(ctx, b, "linear_attn.in_proj_ba", x, 2 * h, ctx.hidden))]
    beta = plain_linear(ctx, b, "linear_attn.b_proj", x, h, ctx.hidden)
    low = plain_linear(ctx, b, "linear_attn.f_a_proj", x, m.gate_rank, ctx.hidden)
    decay = plain_linear(ctx, b, "linear_attn.f_b_proj", low, k * m.key_dim, m.gate_rank)
    return [Operand(beta), Operand(decay)]


def _output_gate(ctx: Context, b: BlockBuilder, m: DeltaNet, x: str, values: Expr) -> str:
    if not m.out_gate_rank:
        return linear(ctx, b, "linear_attn.in_proj_z", x, values, ctx.hidden)
    low = plain_linear(ctx, b, "linear_attn.g_a_proj", x, m.out_gate_rank, ctx.hidden)
    return plain_linear(ctx, b, "linear_attn.g_b_proj", low, values, m.out_gate_rank)


def _scan(b: BlockBuilder, m: DeltaNet, reads: list[Operand], h: Expr, k: Expr) -> str:
    """The recurrence itself.

    Chunk-wise (arXiv 2412.06464 §3.3 eq. 15–17, the WY form), per token and head with c = min(C, new), triangular halves
    left out: K·Kᵀ, T·K, Q·Kᵀ (c+1)·d_k each; T·V and the intra-chunk output (c+1)·d_v each; inverting the unit triangle
    c²/3; W·S, Q·S and the state update 2·d_k·d_v each. A single token: decay, Sᵀk, the rank-one update and Sᵀq, 7·d_k·d_v.
    """
    dk, dv = m.key_dim, m.value_dim
    read, write = keep_state(b, "linear_attn.state", h * dk * dv, m.state_dtype or b.dtype)
    out = b.activation("linear_attn.scan.out", TOKENS * h * dv)
    c, one = minimum(NEW, m.chunk), stepwise()
    tokens = COUNT * NEW
    inside = 3 * dk + 2 * dv
    blocks = group_sum(tokens * (1 - one) * h * ((c + 1) * inside + c * c / 3 + 6 * dk * dv))
    dense = group_sum(tokens * (1 - one) * h * (2 * c * inside + c * c / 3 + 6 * dk * dv))
    vector = group_sum(tokens * h * (one * 7 * dk * dv + (1 - one) * ((c + 1) / 2 + dk * dv / c) + 4 * (dk + dv)))
    decays = const(dk) if m.channel_gate else (one + (1 - one) * (c + 1) / 2)
    b.op(
        "linear_attn.scan", "scan", "kimi_delta" if m.channel_gate else "gated_delta", reads=(*reads, read),
        writes=(Operand(out), write),
        work=(Work("matmul", blocks, b.dtype, dense=dense), Work("vector", vector, "fp32"),
              Work("transcendental", group_sum(tokens * h * (decays + 2)), "fp32")),
        span=chunk_steps(m.chunk),
        dims={
            "rows": TOKENS, "seqs": SEQS, "heads": h, "key_heads": k, "head_dim": const(dv), "state": const(dk),
        },
        attrs={"chunk": m.chunk},
    )  # fmt: skip
    return out
