"""Mixtures of experts: router, grouped linear layers, shared experts."""

from __future__ import annotations

from typing import Any

from ...._foundation.expr import const
from ....graph.builder import TOKENS, BlockBuilder
from ....graph.ir import Operand, Selection, Tensor
from ..arch import DenseAndMoe, Mlp, Moe
from . import Context, linear, part, plain_linear
from .feedforward import mlp


@part(Moe)
def experts(ctx: Context, b: BlockBuilder, m: Moe, x: str, *, name: str = "mlp", routed_by: str | None = None) -> str:
    """Σ over a token's picks of p_e · expert_e(x), plus the shared expert (arXiv 2401.06066 eq. 9).

    Args:
        routed_by: what the router reads, where it is not ``x``.
    """
    e, e_name = ctx.dim("experts", m.experts, "experts")
    f, f_name = ctx.dim("expert_ffn", m.width, "expert_ffn")
    width = m.latent or ctx.hidden
    path = f"{b.path}.{name}"
    chosen = Selection(items=const(m.experts), picks=const(m.picks), distribution=m.distribution)
    logits = plain_linear(ctx, b, f"{name}.gate", routed_by or x, m.experts, ctx.hidden, bias=m.router_bias)
    reads = [logits]
    if m.balance_bias:
        offset = b.tensors[f"{name}.gate.balance"] = Tensor(f"{name}.gate.balance", const(m.experts), "fp32", "constant",
                                                        needs_grad=False)  # fmt: skip
        reads.append(offset.name)
    if m.router_scale:
        reads.append(b.weight(f"{name}.gate.per_expert_scale", m.experts))
    routed = b.elementwise(
        f"{name}.topk", "topk", reads, TOKENS * m.picks, kind="softmax", work_elements=TOKENS * m.experts
    )
    entry = linear(ctx, b, f"{name}.latent_in", x, width, ctx.hidden) if m.latent else x
    formats = {
        "weight_format": ctx.formats.weight(f"{path}.experts", expert=True),
        "activation_format": ctx.formats.activation(f"{path}.experts"),
    }
    facts = {"experts": m.experts, "picks": m.picks, "width": m.width, "gated": m.gated}
    common: dict[str, Any] = {
        "items": e, "all_items": m.experts, "selection": chosen, "bias": m.bias, "attrs": facts, **formats
    }  # fmt: skip
    rows = TOKENS * m.picks * e / m.experts
    up = b.grouped_linear(f"{name}.experts.up_proj", entry, f, width, **common)
    if m.gated:
        gate = b.grouped_linear(f"{name}.experts.gate_proj", entry, f, width, **common)
        active = b.elementwise(f"{name}.experts.act_fn", m.act, [gate], rows * f)
        inner = b.elementwise(f"{name}.experts.mul", "mul", [active, up], rows * f)
    else:
        inner = b.elementwise(f"{name}.experts.act_fn", m.act, [up], rows * f)
    down = b.grouped_linear(f"{name}.experts.down_proj", inner, width, f, **common)
    out = b.elementwise(
        f"{name}.combine", "add", [down, routed], TOKENS * width, work_elements=2 * rows * width, kind="reduction"
    )
    partial = [e_name, f_name]
    if m.latent_norm:  # a norm is not linear: sums must be whole before it
        b.reduce_over(out, tuple(partial))
        partial = []
        out = b.norm(f"{name}.latent_norm", "rms_norm", out, TOKENS, width)
    if m.latent:
        out = linear(ctx, b, f"{name}.latent_out", out, ctx.hidden, width)
    if m.shared_width:
        shared = mlp(ctx, b, Mlp(m.shared_width, m.act, m.gated), x, name=f"{name}.shared_experts", reduced=False)
        partial.append(ctx.dim("shared_experts_ffn", m.shared_width, "ffn")[1])
        if m.shared_gate:
            gate = plain_linear(ctx, b, f"{name}.shared_expert_gate", x, 1, ctx.hidden)
            shared = b.elementwise(f"{name}.shared_gate_mul", "sigmoid", [shared, gate], TOKENS * ctx.hidden)
        out = b.elementwise(f"{name}.add_shared", "add", [out, shared], TOKENS * ctx.hidden)
    if partial:
        b.reduce_over(out, tuple(partial))  # sums of sums: one message after the last linear step suffices
    return out


@part(DenseAndMoe)
def dense_and_experts(ctx: Context, b: BlockBuilder, spec: DenseAndMoe, x: str) -> str:
    """Gemma 4's feed-forward: dense on the normed input, experts on the residual with norms and a router of its own."""
    rows, hidden = TOKENS, ctx.hidden
    dense = mlp(ctx, b, spec.mlp, x)
    dense = b.norm("post_feedforward_layernorm_1", "rms_norm", dense, rows, hidden)
    scored = b.norm("moe.gate.norm", "rms_norm", ctx.residual, rows, hidden)  # its learned scale is the router's
    entry = b.norm("pre_feedforward_layernorm_2", "rms_norm", ctx.residual, rows, hidden)
    routed = experts(ctx, b, spec.moe, entry, name="moe", routed_by=scored)
    routed = b.norm("post_feedforward_layernorm_2", "rms_norm", routed, rows, hidden)
    return b.elementwise("feedforward.sum", "add", [Operand(dense), Operand(routed)], rows * hidden)
