"""Gemma 1 to 4: wide heads, a large tied vocabulary, and from Gemma 2 on local and global layers in turns."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, DenseAndMoe, Layer, Mlp, Moe
from ..config import Config
from .common import activation, expert_counts, head_sizes, layer_kinds, registry, window_of
from .llama_like import decoder, gated

FAMILIES, family = registry()
_KINDS = ("full_attention", "sliding_attention")


@family("gemma")
def gemma(c: Config) -> Arch:
    """Gemma (arXiv 2403.08295 Table 1)."""
    n, g, d = head_sizes(c, default_dim=256)
    layer = Layer(Attention(n, g, d), gated(c, "gelu_tanh", bias=False))
    return decoder(c, "gemma", (layer,) * c.layers(), tied=c.flag("tie_word_embeddings", default=True))


@family("gemma2", "gemma3", "gemma3_text")
def gemma2(c: Config) -> Arch:
    """Gemma 2 (arXiv 2408.00118 §2) alternates window and full; Gemma 3 (arXiv 2503.19786 §2) has five windows to one."""
    third = c.model_type != "gemma2"
    n, g, d = head_sizes(c, default_dim=256)
    count = c.layers()
    every = c.integer("sliding_window_pattern", "_sliding_window_pattern", default=6 if third else 2)
    kinds = layer_kinds(c, count, _KINDS, lambda i: "sliding_attention" if (i + 1) % every else "full_attention")
    window = window_of(c) or 4096
    bias = c.flag("attention_bias")
    base = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, qk_norm="head" if third else "none")
    mlp = gated(c, "gelu_tanh", bias=False)
    layers = tuple(
        Layer(replace(base, window=window if kind == "sliding_attention" else None), mlp, placement="sandwich")
        for kind in kinds
    )
    return decoder(c, "gemma", layers, tied=c.flag("tie_word_embeddings", default=True))


@family("gemma4", "gemma4_text")
def gemma4(c: Config) -> Arch:
    """Gemma 4: global layers have wider heads, fewer key-value heads and (optionally) keys that serve as values; layers
    may reuse earlier layers' keys and values, have experts beside the feed-forward, and an embedding of their own."""
    count = c.layers()
    kinds = layer_kinds(c, count, _KINDS, lambda i: "sliding_attention" if (i + 1) % 6 else "full_attention")
    kinds[-1] = "full_attention"  # transformers forces the last layer to be global
    n, g, d = head_sizes(c, default_dim=256)
    same = c.flag("attention_k_eq_v")
    wide = c.integer("global_head_dim", default=512)
    few = c.integer("num_global_key_value_heads", default=g, most=n) if same else g
    if n % few:
        raise BadInput(f"{c.where}: num_global_key_value_heads is {few}", expected=f"a divisor of the {n} query heads")
    local = Attention(n, g, d, window=window_of(c) or 512, qk_norm="head", v_norm=True)
    whole = Attention(n, few, wide, qk_norm="head", v_norm=True, k_eq_v=same, rope=0.25)
    first_shared = count - c.integer("num_kv_shared_layers", default=0, least=0, most=count)
    mlp = gated(c, "gelu_tanh", bias=False)
    ffn: Any = mlp
    if c.flag("enable_moe_block"):
        e, k = expert_counts(c, ("num_experts",), ("top_k_experts", "num_experts_per_tok"))
        width = c.integer("moe_intermediate_size", "expert_intermediate_size")
        act = activation(c, "hidden_activation", default="gelu_pytorch_tanh")
        ffn = DenseAndMoe(mlp, Moe(e, k, width, act, router_scale=True))
    side = c.integer("hidden_size_per_layer_input", default=256, least=0)
    layers = []
    for i, kind in enumerate(kinds):
        mixer = whole if kind == "full_attention" else local
        shared = i >= first_shared
        here: Any = replace(mlp, width=2 * mlp.width) if shared and c.flag("use_double_wide_mlp") else ffn
        if isinstance(ffn, DenseAndMoe) and isinstance(here, Mlp):
            here = DenseAndMoe(here, ffn.moe)
        layers.append(Layer(replace(mixer, shared_kv=shared), here, placement="sandwich", side_input=side))
    return decoder(
        c, "gemma", tuple(layers), tied=c.flag("tie_word_embeddings", default=True),
        side_vocab=c.integer("vocab_size_per_layer_input", default=262_144) if side else 0,
    )  # fmt: skip
