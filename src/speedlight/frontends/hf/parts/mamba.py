"""Selective state spaces: Mamba and Mamba-2 mixers.

Legend: I inner channels, H state heads of P channels, G groups of B and C, N state size, Q chunk, T tokens.
"""

from __future__ import annotations

from ...._foundation.expr import const, group_sum, minimum
from ....graph.builder import COUNT, NEW, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import Mamba1, Mamba2
from . import Context, linear, part, plain_linear
from .recurrence import chunk_steps, keep_state, short_conv, stepwise

_SCAN_CHUNK = 2048  # tokens one thread block of the published selective-scan kernel takes at a time


@part(Mamba1)
def mamba1(ctx: Context, b: BlockBuilder, m: Mamba1, x: str) -> str:
    """Mamba (arXiv 2312.00752): eq. 2 with the zero-order hold of eq. 4, scanned as in Algorithm 2.

    Per token, channel and state: a product and an exponential for exp(ΔA), one product for (Δu)·B, a multiply-add for
    the state, one for y; all vector work.
    """
    hidden, n = ctx.hidden, m.state
    inner, inner_name = ctx.dim("state_width", m.inner, "state_heads")
    xz = linear(ctx, b, "mixer.in_proj", x, 2 * inner, hidden, bias=m.bias)
    half = TOKENS * inner
    u = short_conv(ctx, b, "mixer.conv1d", [Operand(xz, half)], inner, m.conv, bias=m.conv_bias)
    dbc = plain_linear(ctx, b, "mixer.x_proj", u, m.rank + 2 * n, inner, exchanges=[("reduce", (inner_name,))])
    parts = {"dt": Operand(dbc, TOKENS * m.rank), "b": Operand(dbc, TOKENS * n), "c": Operand(dbc, TOKENS * n)}
    if m.bc_norm != "none":
        for name, width in (("dt", m.rank), ("b", n), ("c", n)):
            learned = [b.weight(f"mixer.{name}_layernorm.weight", width)] if m.bc_norm == "learned" else []
            parts[name] = Operand(
                b.elementwise(f"mixer.{name}_layernorm", "rms_norm", [parts[name]], TOKENS * width, kind="norm",
                              weights=learned)
            )  # fmt: skip
    delta = plain_linear(ctx, b, "mixer.dt_proj", parts["dt"].tensor, inner, m.rank, bias=True)
    weights = [b.weight("mixer.A_log", inner * n), b.weight("mixer.D", inner)]
    read, write = keep_state(b, "mixer.ssm_state", inner * n, m.state_dtype or ctx.formats.dtype)
    out = b.activation("mixer.scan.out", half)
    b.op(
        "mixer.scan", "scan", "mamba1_scan",
        reads=(Operand(u), Operand(delta), parts["b"], parts["c"], Operand(xz, half), *[Operand(w) for w in weights], read),
        writes=(Operand(out), write),
        work=(Work("vector", half * (6 * n + 8), "fp32"), Work("transcendental", half * (n + 3), "fp32")),
        span=chunk_steps(_SCAN_CHUNK), dims={"rows": TOKENS, "width": inner, "state": const(n)},
    )  # fmt: skip
    return linear(ctx, b, "mixer.out_proj", out, hidden, inner, bias=m.bias, exchanges=[("reduce", (inner_name,))])


@part(Mamba2)
def mamba2(ctx: Context, b: BlockBuilder, m: Mamba2, x: str) -> str:
    """Mamba-2 (arXiv 2405.21060): the block decomposition of §6 for prompts, the recurrence (eq. 1) for single tokens.

    Per token in chunks of q = min(Q, new), on matrix units, masked halves left out: C·Bᵀ (q+1)·N·G, times X
    (q+1)·P·H, chunk states 2·N·P·H, their outputs 2·N·P·H; between chunks and for the decay masks vector work. A single
    token: 5·N·P·H vector FLOPs.
    """
    hidden, n, p = ctx.hidden, m.state, m.head_dim
    h, h_name = ctx.dim("state_heads", m.heads, "state_heads")
    g, _ = ctx.dim("state_groups", m.groups, "kv_heads")  # groups are copied where ranks outnumber them, like KV heads
    inner, bc = h * p, 2 * g * n
    zxbcdt = linear(ctx, b, "mixer.in_proj", x, 2 * inner + bc + h, hidden, bias=m.bias)
    u = short_conv(
        ctx, b, "mixer.conv1d", [Operand(zxbcdt, TOKENS * (inner + bc))], inner + bc, m.conv, bias=m.conv_bias
    )
    weights = [b.weight("mixer.A_log", h), b.weight("mixer.D", h), b.weight("mixer.dt_bias", h)]
    read, write = keep_state(b, "mixer.ssm_state", inner * n, m.state_dtype or ctx.formats.dtype)
    out = b.activation("mixer.scan.out", TOKENS * inner)
    q, one = minimum(NEW, m.chunk), stepwise()
    tokens = COUNT * NEW
    blocks = group_sum(tokens * (1 - one) * ((q + 1) * (n * g + inner) + 4 * n * inner))
    dense = group_sum(tokens * (1 - one) * (2 * q * (n * g + inner) + 4 * n * inner))
    vector = group_sum(tokens * (one * 5 * n * inner + (1 - one) * (2 * n * inner / q + (q + 1) * h) + 6 * inner))
    exps = group_sum(tokens * h * (one + (1 - one) * (q + 1) / 2 + 2))
    b.op(
        "mixer.scan", "scan", "mamba2_scan",
        reads=(Operand(u), Operand(zxbcdt, TOKENS * h), *[Operand(w) for w in weights], read),
        writes=(Operand(out), write),
        work=(Work("matmul", blocks, b.dtype, dense=dense), Work("vector", vector, "fp32"),
              Work("transcendental", exps, "fp32")),
        span=chunk_steps(m.chunk),
        dims={"rows": TOKENS, "heads": h, "head_dim": const(p), "state": const(n)}, attrs={"chunk": m.chunk},
    )  # fmt: skip
    z = Operand(zxbcdt, TOKENS * inner)
    out = b.elementwise("mixer.gate", "silu", [out, z], TOKENS * inner)
    if m.norm:
        out = b.norm("mixer.norm", "rms_norm", out, TOKENS, inner)
    return linear(ctx, b, "mixer.out_proj", out, hidden, inner, bias=m.bias, exchanges=[("reduce", (h_name,))])
