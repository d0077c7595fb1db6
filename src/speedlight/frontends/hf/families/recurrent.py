"""Recurrent language models: RWKV 4, 5 and 6, RetNet."""

from __future__ import annotations

from typing import Any

from ...._foundation.errors import BadInput
from ..arch import Arch, ChannelMix, Layer, Mlp, Retention, Rwkv
from ..config import Config
from .common import activation, hidden_size, registry

FAMILIES, family = registry()


@family("rwkv", "rwkv5", "rwkv6")
def rwkv(c: Config) -> Arch:
    """RWKV 4 (arXiv 2305.13048), Eagle and Finch (RWKV 5 and 6, arXiv 2404.05892)."""
    version = {"rwkv": 4, "rwkv5": 5, "rwkv6": 6}[c.model_type]
    hidden = hidden_size(c)
    inner = c.integer("attention_hidden_size", default=hidden)
    usual = 4 * hidden if version == 4 else int(hidden * 3.5) // 32 * 32
    head = c.integer("head_size", default=64)
    if version > 4 and inner % head:
        raise BadInput(f"{c.where}: head_size is {head}", expected=f"a divisor of the inner width {inner}")
    wide = hidden >= 4096  # the published low-rank widths of version 6 double there
    mixer = Rwkv(version, inner, head, c.integer("time_mix_extra_dim", default=64 if wide else 32),
                 c.integer("time_decay_extra_dim", default=128 if wide else 64))  # fmt: skip
    layer = Layer(mixer, ChannelMix(c.integer("intermediate_size", default=usual)), "layer_norm", True)
    return Arch(
        name=c.model_type, family="rwkv", vocab=c.integer("vocab_size", default=50277 if version == 4 else 65536), hidden=hidden,
        layers=(layer,) * c.layers(), embed_norm=True, norm="layer_norm", norm_bias=True,
        tied=c.flag("tie_word_embeddings"), layer_prefix="blocks.*",
    )  # fmt: skip


@family("retnet")
def retnet(c: Config) -> Arch:
    """RetNet (arXiv 2307.08621) by torchscale's fields; gated feed-forwards unless ``use_glu`` is false."""
    hidden = c.integer("decoder_embed_dim", "hidden_size", most=10**6)
    heads = c.integer("decoder_retention_heads", "num_heads", default=3, most=10**5)
    values = c.integer("decoder_value_embed_dim", "v_dim", default=2 * hidden)
    for name, size in (("decoder_embed_dim", hidden), ("decoder_value_embed_dim", values)):
        if size % heads:
            raise BadInput(f"{c.where}: {name} is {size}", expected=f"a multiple of the {heads} retention heads")
    glu = c.flag("use_glu", default=True)
    notes: tuple[tuple[str, Any], ...] = (
        () if c.stated("use_glu") else (("feed-forward", "gated, as torchscale builds it"),)
    )
    mlp = Mlp(c.integer("decoder_ffn_embed_dim", "ffn_proj_size", default=2 * hidden), activation(c, "activation_fn", default="gelu"),
              glu, False)  # fmt: skip
    chunk = c.integer("recurrent_chunk_size", default=512)
    return Arch(
        name="retnet", family="retnet", vocab=c.integer("vocab_size"), hidden=hidden,
        layers=(Layer(Retention(heads, values, chunk), mlp, "rms_norm"),) * c.layers("decoder_layers", "num_layers"),
        tied=c.flag("share_decoder_input_output_embed", "tie_word_embeddings"), assumptions=notes,
        layer_prefix="decoder.layers.*",
    )  # fmt: skip
