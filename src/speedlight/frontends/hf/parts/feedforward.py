"""Dense feed-forwards."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ....graph.builder import TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import Mlp
from . import Context, linear, part


@part(Mlp)
def mlp(
    ctx: Context, b: BlockBuilder, m: Mlp, x: str, *, name: str = "mlp", rows: Expr = TOKENS, reduced: bool = True
) -> str:
    """act(x·U)·D, or gated (act(x·G) ⊙ x·U)·D (arXiv 2002.05202 eq. 6).

    Args:
        rows: token rows it runs on.
        reduced: False leaves partial sums to a later op (shared experts join the routed ones first).
    """
    f, f_name = ctx.dim("ffn" if name == "mlp" else name.split(".")[-1] + "_ffn", m.width, "ffn")
    up = linear(ctx, b, f"{name}.up_proj", x, f, ctx.hidden, bias=m.bias, rows=rows)
    if m.conv:
        return _mix(ctx, b, m, name, rows, x, up)
    if m.gated:
        gate = linear(ctx, b, f"{name}.gate_proj", x, f, ctx.hidden, bias=m.bias, rows=rows)
        active = b.elementwise(f"{name}.act_fn", m.act, [gate], rows * f)
        inner = b.elementwise(f"{name}.mul", "mul", [active, up], rows * f)
    else:
        inner = b.elementwise(f"{name}.act_fn", m.act, [up], rows * f)
    exchanges = [("reduce", (f_name,))] if reduced else []
    return linear(ctx, b, f"{name}.down_proj", inner, ctx.hidden, f, bias=m.bias, rows=rows, exchanges=exchanges)


def _mix(ctx: Context, b: BlockBuilder, m: Mlp, name: str, rows: Expr, x: str, up: str) -> str:
    """SANA's mix-FFN (arXiv 2410.10629 §2.2): to 2·F features, a 3 × 3 depthwise convolution over them, a gate, back."""
    f, f_name = ctx.dim("ffn", m.width, "ffn")
    gate = linear(ctx, b, f"{name}.gate_proj", x, f, ctx.hidden, bias=m.bias, rows=rows)
    taps = m.conv * m.conv
    weights = [b.weight(f"{name}.conv.weight", 2 * f * taps), b.weight(f"{name}.conv.bias", 2 * f)]
    mixed = b.activation(f"{name}.conv.out", rows * 2 * f)
    b.op(
        f"{name}.conv", "conv", "conv2d_depthwise", reads=tuple(Operand(t) for t in (up, gate, *weights)),
        writes=(Operand(mixed),), work=(Work("vector", 2 * rows * 2 * f * taps, "fp32"),),
        attrs={"kernel": m.conv, "groups": 2 * m.width},
    )  # fmt: skip
    inner = b.elementwise(f"{name}.act_fn", m.act, [mixed], rows * f)
    return linear(ctx, b, f"{name}.down_proj", inner, ctx.hidden, f, rows=rows, exchanges=[("reduce", (f_name,))])
