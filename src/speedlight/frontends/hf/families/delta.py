"""Decoders whose mixers are mostly gated delta rules: Qwen3-Next, Qwen3.5, Kimi Linear, Kimi K3."""

from __future__ import annotations

from typing import Any

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, DeltaNet, Layer, Moe
from ..config import Config
from .common import activation, expert_counts, first_dense, head_sizes, layer_kinds, mtp_modules, registry, rotary_share
from .latent import latent
from .llama_like import decoder, gated

FAMILIES, family = registry()


@family("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
def qwen3_next(c: Config) -> Arch:
    """Three gated DeltaNet layers to one of gated attention; experts with a gated shared one, or dense."""
    count = c.layers()
    n, g, d = head_sizes(c, default_dim=256)
    bias = c.flag("attention_bias")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, qk_norm="head",
                          rope=rotary_share(c, default=0.25), gate="query")  # fmt: skip
    keys, values = c.integer("linear_num_key_heads", default=16), c.integer("linear_num_value_heads", default=32)
    if values % keys:
        raise BadInput(f"{c.where}: linear_num_value_heads is {values}", expected=f"a multiple of the {keys} key heads")
    delta = DeltaNet(
        keys, values, c.integer("linear_key_head_dim", default=128), c.integer("linear_value_head_dim", default=128),
        c.integer("linear_conv_kernel_dim", default=4),
        state_dtype={"bfloat16": "bf16", "float16": "fp16"}.get(c.word("mamba_ssm_dtype"), "fp32"),
    )  # fmt: skip
    every = c.integer("full_attention_interval", default=4)
    kinds = layer_kinds(c, count, ("linear_attention", "full_attention"),
                        lambda i: "linear_attention" if (i + 1) % every else "full_attention")  # fmt: skip
    dense: Any = None
    moe: Any = None
    if c.stated("num_experts", "num_local_experts") and c.integer("num_experts", "num_local_experts", least=0):
        e, k = expert_counts(c, ("num_experts", "num_local_experts"))
        shared = c.integer("shared_expert_intermediate_size", default=0, least=0)
        act = activation(c, "hidden_act", default="silu")
        moe = Moe(e, k, c.integer("moe_intermediate_size"), act, shared_width=shared, shared_gate=bool(shared))
    only = c.get("mlp_only_layers") or ()
    if not isinstance(only, (list, tuple)):
        raise c.bad("mlp_only_layers", "a list of layer indices")
    step = c.integer("decoder_sparse_step", default=1)
    layers = []
    for i, kind in enumerate(kinds):
        routed = moe is not None and i not in only and (i + 1) % step == 0
        if not routed and dense is None:
            dense = gated(c, bias=False)
        layers.append(Layer(delta if kind == "linear_attention" else attention, moe if routed else dense))
    # Qwen3-Next's configuration does not state its one module; its checkpoint and model card do. Qwen3.5's does.
    modules = mtp_modules(c) or int(c.model_type == "qwen3_next")
    return decoder(c, "qwen3_next", tuple(layers), mtp=modules)


@family("kimi_linear", "kimi_k3")
def kimi(c: Config) -> Arch:
    """Kimi Linear (arXiv 2510.26692 §4) and K3: three Kimi-delta layers to one of latent attention without rotation."""
    count = c.layers()
    linear = c.part("linear_attn_config")
    heads = linear.integer("num_heads", default=c.integer("linear_num_heads", default=32))
    width = linear.integer("head_dim", default=c.integer("linear_head_dim", default=128))
    full = linear.flag("use_full_rank_gate")
    delta = DeltaNet(
        heads, heads, width, width,
        linear.integer("short_conv_kernel_size", default=c.integer("linear_conv_kernel_dim", default=4)),
        channel_gate=True, gate_rank=width, out_gate_rank=0 if full else width,
    )  # fmt: skip
    attention = latent(c, rope=False, gate=c.flag("mla_use_output_gate"))
    kinds = _kimi_kinds(c, linear, count)
    e, k = expert_counts(c, ("num_experts", "num_local_experts", "n_routed_experts"))
    expert = c.integer("moe_intermediate_size")
    shared = c.integer("num_shared_experts", "n_shared_experts", default=1, least=0)
    narrow = c.get("routed_expert_hidden_size")
    moe = Moe(
        e, k, expert, activation(c, "hidden_act", default="silu"), balance_bias=True, shared_width=shared * expert,
        latent=None if narrow is None else c.integer("routed_expert_hidden_size"), latent_norm=c.flag("latent_moe_use_norm"),
    )  # fmt: skip
    layers = tuple(
        Layer(attention if kind == "full_attention" else delta, moe if routed else gated(c, bias=False))
        for kind, routed in zip(kinds, first_dense(c, count, 1), strict=True)
    )
    notes: tuple[tuple[str, str], ...] = ()
    if c.get("attn_res_block_size"):
        notes = (("attention residuals", "attn_res_block_size: their weights and work are left out (not published)"),)
    return decoder(c, "kimi", layers, assumptions=notes)


def _kimi_kinds(c: Config, linear: Config, count: int) -> list[str]:
    """Which layers attend: listed from 1 in ``linear_attn_config``, or ``layer_types``, or every fourth."""
    full = linear.get("full_attn_layers")
    if c.get("layer_types") is None and full is not None:
        if not isinstance(full, list) or not all(isinstance(i, int) and 1 <= i <= count for i in full):
            raise linear.bad("full_attn_layers", f"a list of layer numbers from 1 to {count}")
        return ["full_attention" if i + 1 in full else "linear_attention" for i in range(count)]
    return layer_kinds(c, count, ("linear_attention", "full_attention"),
                       lambda i: "full_attention" if i and i % 4 == 0 else "linear_attention")  # fmt: skip
