"""Blocks of diffusion transformers: two-stream, one-stream and cross-attending ones.

Legend: T image tokens, W text tokens of all sequences, D hidden, H heads of d. Streams are pairs (name, rows).
"""

from __future__ import annotations

from ...._foundation.expr import Expr, const, group_sum
from ....graph.builder import COUNT, NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import Diffusion
from . import Context, linear
from .feedforward import mlp as feed_forward

_LOW = 512  # width of CogVideoX's time embedding


def text_rows(spec: Diffusion) -> Expr:
    return SEQS * spec.text_tokens


def joint_block(ctx: Context, b: BlockBuilder, spec: Diffusion, x: str, text: str, *, dual: bool) -> tuple[str, str]:
    """Image and text with weights of their own, attention over both (MMDiT, arXiv 2403.03206 Fig. 2b)."""
    streams = (("img", x, TOKENS), ("txt", text, text_rows(spec)))
    projected = []
    for name, source, rows in streams:
        by = _modulation(ctx, b, f"{name}.norm1.linear", 6 + (3 if dual and name == "img" else 0))
        normed = _modulated(ctx, b, f"{name}.norm1", source, rows, by)
        projected.append(_qkv(ctx, b, f"{name}.attn", spec, normed, rows))
        if dual and name == "img":
            dual_in = normed
    out = _attention(ctx, b, "attn", spec, projected[0], [Operand(t) for t in projected[1]], spec.text_tokens)
    results = []
    for name, source, rows in streams:
        mixed = _output(ctx, b, f"{name}.attn.out", spec, out, rows)
        source = _gated_add(ctx, b, f"{name}.attn_residual", mixed, source, rows)
        if dual and name == "img":
            again = _attention(ctx, b, "attn2", spec, _qkv(ctx, b, "img.attn2", spec, dual_in, rows), [], 0)
            again = _output(ctx, b, "img.attn2.out", spec, again, rows)
            source = _gated_add(ctx, b, "img.attn2_residual", again, source, rows)
        fed = _modulated(ctx, b, f"{name}.norm2", source, rows, f"{name}.norm1.linear.out")
        fed = feed_forward(ctx, b, spec.mlp, fed, name=f"{name}.mlp", rows=rows)
        results.append(_gated_add(ctx, b, f"{name}.mlp_residual", fed, source, rows))
    return results[0], results[1]


def single_block(ctx: Context, b: BlockBuilder, spec: Diffusion, x: str, text: str) -> tuple[str, str]:
    """One stream of image and text; attention and feed-forward read the same input and share the way out (FLUX)."""
    rows, hidden = TOKENS + text_rows(spec), ctx.hidden
    by = _modulation(ctx, b, "norm.linear", 3)
    normed = b.elementwise("norm", "layer_norm", [x, text], rows * hidden, kind="norm")
    normed = b.elementwise("norm.modulate", "scale", [normed, by], rows * hidden)
    qkv = _qkv(ctx, b, "attn", spec, normed, rows)
    f, f_name = ctx.dim("ffn", spec.mlp.width, "ffn")
    up = linear(ctx, b, "proj_mlp", normed, f, hidden, bias=True, rows=rows)
    up = b.elementwise("act_mlp", spec.mlp.act, [up], rows * f)
    h, h_name = ctx.dim("heads", spec.heads, "heads")
    out = _attention(ctx, b, "attn", spec, qkv, [], spec.text_tokens, rows)
    both = b.elementwise("concat", "copy", [out, up], rows * (h * spec.head_dim + f), kind="copy")
    joined = linear(ctx, b, "proj_out", both, hidden, h * spec.head_dim + f, bias=True, rows=rows,
                    exchanges=[("reduce", (h_name, f_name))])  # fmt: skip
    first = b.elementwise("img_residual", "add", [Operand(joined, TOKENS * hidden), x], TOKENS * hidden)
    second = text_rows(spec) * hidden
    return first, b.elementwise("txt_residual", "add", [Operand(joined, second), text], second)


def plain_block(ctx: Context, b: BlockBuilder, spec: Diffusion, x: str, text: str) -> tuple[str, str]:
    """Cross-attending blocks (PixArt, Wan, SANA), or one sequence of text and image (CogVideoX)."""
    if not spec.cross:
        return _sequence_block(ctx, b, spec, x, text)
    by = b.elementwise("modulation", "add", ["modulation.in"], SEQS * 6 * ctx.hidden,
                  weights=[b.weight("scale_shift_table", 6 * ctx.hidden)])  # fmt: skip
    normed = _modulated(ctx, b, "norm1", x, TOKENS, by)
    out = _attention(ctx, b, "attn1", spec, _qkv(ctx, b, "attn1", spec, normed, TOKENS), [], 0)
    x = _gated_add(ctx, b, "attn1_residual", _output(ctx, b, "attn1.out", spec, out, TOKENS), x, TOKENS)
    out = _cross_attention(ctx, b, spec, x, text)
    x = b.elementwise(
        "attn2_residual", "add", [_output(ctx, b, "attn2.out", spec, out, TOKENS), x], TOKENS * ctx.hidden
    )
    fed = feed_forward(ctx, b, spec.mlp, _modulated(ctx, b, "norm2", x, TOKENS, by), name="mlp")
    return _gated_add(ctx, b, "mlp_residual", fed, x, TOKENS), text


def _sequence_block(ctx: Context, b: BlockBuilder, spec: Diffusion, x: str, text: str) -> tuple[str, str]:
    rows, hidden = TOKENS + text_rows(spec), ctx.hidden
    joined = b.elementwise("concat", "copy", [text, x], rows * hidden, kind="copy")
    by = _modulation(ctx, b, "norm1.linear", 6, _LOW)
    normed = _modulated(ctx, b, "norm1", joined, rows, by, weight=True)
    out = _attention(ctx, b, "attn1", spec, _qkv(ctx, b, "attn1", spec, normed, rows), [], spec.text_tokens, rows)
    joined = _gated_add(ctx, b, "attn1_residual", _output(ctx, b, "attn1.out", spec, out, rows), joined, rows)
    by = _modulation(ctx, b, "norm2.linear", 6, _LOW)
    fed = _modulated(ctx, b, "norm2", joined, rows, by, weight=True)
    fed = feed_forward(ctx, b, spec.mlp, fed, name="mlp", rows=rows)
    first = b.elementwise("mlp_residual", "add", [Operand(fed, TOKENS * hidden), Operand(joined, TOKENS * hidden)],
                          TOKENS * hidden)  # fmt: skip
    second = text_rows(spec) * hidden
    return first, b.elementwise("txt_residual", "add", [Operand(fed, second), Operand(joined, second)], second)


def _modulation(ctx: Context, b: BlockBuilder, name: str, parts: int, width: int | None = None) -> str:
    """Scales, shifts and gates of a block from the time embedding, once for each sequence (adaLN, arXiv 2212.09748 §3.2)."""
    return linear(ctx, b, name, "modulation.in", parts * ctx.hidden, width or ctx.hidden, bias=True, rows=SEQS)


def _modulated(ctx: Context, b: BlockBuilder, name: str, x: str, rows: Expr, by: str, *, weight: bool = False) -> str:
    normed = b.norm(name, "layer_norm", x, rows, ctx.hidden, weight=weight, bias=weight)
    return b.elementwise(
        f"{name}.modulate", "scale", [normed, by], rows * ctx.hidden, work_elements=2 * rows * ctx.hidden
    )


def _gated_add(ctx: Context, b: BlockBuilder, name: str, out: str, x: str, rows: Expr) -> str:
    return b.elementwise(name, "add", [out, x], rows * ctx.hidden, work_elements=2 * rows * ctx.hidden)


def _qkv(ctx: Context, b: BlockBuilder, name: str, spec: Diffusion, x: str, rows: Expr) -> tuple[str, str, str]:
    h, _ = ctx.dim("heads", spec.heads, "heads")
    d = spec.head_dim
    q, k, v = [linear(ctx, b, f"{name}.to_{p}", x, h * d, ctx.hidden, bias=True, rows=rows) for p in "qkv"]
    if spec.linear_attention:
        q, k = [b.elementwise(f"{name}.relu_{p}", "relu", [t], rows * h * d) for p, t in (("q", q), ("k", k))]
    else:
        q, k = [b.norm(f"{name}.norm_{p}", "rms_norm", t, rows * h, d) for p, t in (("q", q), ("k", k))]
    return q, k, v


def _attention(
    ctx: Context, b: BlockBuilder, name: str, spec: Diffusion, qkv: tuple[str, str, str], more: list[Operand], text: int,
    rows: Expr | None = None,
) -> str:  # fmt: skip
    """Full attention over new + ``text`` tokens of each sequence, or SANA's linear attention (arXiv 2410.10629 eq. 2)."""
    h, _ = ctx.dim("heads", spec.heads, "heads")
    d = spec.head_dim
    length = NEW + text
    total = rows if rows is not None else TOKENS + SEQS * text if text else TOKENS
    if spec.linear_attention:
        out = b.activation(f"{name}.out", total * h * d)
        b.op(
            name, "scan", "linear_attention", reads=tuple(Operand(t) for t in qkv), writes=(Operand(out),),
            work=(Work("matmul", 4 * total * h * d * d, b.dtype), Work("vector", 2 * total * h * d, "fp32")),
            dims={"rows": total, "heads": h, "head_dim": const(d)},
        )  # fmt: skip
        return out
    pairs = length * length
    return b.attention(
        name, *qkv, heads=h, kv_heads=h, qk_dim=d, v_dim=d, causal=False, pairs=pairs, dense_pairs=pairs, rows=total,
        span=const(text), extra_reads=more,
    )  # fmt: skip


def _cross_attention(ctx: Context, b: BlockBuilder, spec: Diffusion, x: str, text: str) -> str:
    """Image queries, text keys and values."""
    h, _ = ctx.dim("heads", spec.heads, "heads")
    d, rows = spec.head_dim, text_rows(spec)
    q = linear(ctx, b, "attn2.to_q", x, h * d, ctx.hidden, bias=True)
    k, v = [linear(ctx, b, f"attn2.to_{p}", text, h * d, ctx.hidden, bias=True, rows=rows) for p in "kv"]
    out = b.activation("attn2.out", TOKENS * h * d)
    pairs = group_sum(COUNT * NEW) * spec.text_tokens
    b.op(
        "attn2", "attention", "sdpa", reads=(Operand(q), Operand(k), Operand(v)), writes=(Operand(out),),
        work=(Work("matmul", 4 * h * d * pairs, b.dtype), Work("vector", 4 * h * pairs, "fp32"),
              Work("transcendental", h * pairs, "fp32")),
        dims={"heads": h, "kv_heads": h, "qk_dim": const(d), "v_dim": const(d), "seqs": SEQS, "rows": TOKENS, "keys": rows},
        attrs={"causal": False, "window": None},
    )  # fmt: skip
    return out


def _output(ctx: Context, b: BlockBuilder, name: str, spec: Diffusion, out: str, rows: Expr) -> str:
    h, h_name = ctx.dim("heads", spec.heads, "heads")
    return linear(ctx, b, f"{name}_proj", out, ctx.hidden, h * spec.head_dim, bias=True, rows=rows,
                  exchanges=[("reduce", (h_name,))])  # fmt: skip


__all__ = ["joint_block", "plain_block", "single_block", "text_rows"]
