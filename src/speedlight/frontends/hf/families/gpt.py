"""The older decoders: GPT-2 and its descendants, OPT, BLOOM, Falcon, MPT."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Layer, Mlp
from ..config import Config
from .common import activation, head_sizes, hidden_size, registry, rotary_share

FAMILIES, family = registry()


def _arch(c: Config, name: str, layers: tuple[Layer, ...], tied: bool, **fields: Any) -> Arch:
    fields.setdefault("norm_bias", True)
    return Arch(
        name=c.model_type, family=name, vocab=c.integer("vocab_size"), hidden=hidden_size(c), layers=layers,
        tied=c.flag("tie_word_embeddings", default=tied), norm="layer_norm",
        max_context=c.integer("n_positions", "max_position_embeddings", "max_seq_len", "seq_length", default=2048), **fields,
    )  # fmt: skip


@family("gpt2", "gpt-sw3", "gpt_bigcode")
def gpt2(c: Config) -> Arch:
    """GPT-2; GPT-BigCode (SantaCoder, StarCoder) shares one key-value head among all queries."""
    single = c.model_type == "gpt_bigcode" and c.flag("multi_query", default=True)
    n, g, d = head_sizes(c, kv=("num_key_value_heads",) if c.model_type == "gpt_bigcode" else ("",),
                         default_kv=1 if single else None)  # fmt: skip
    hidden = hidden_size(c)
    attention = Attention(n, g, d, q_bias=True, kv_bias=True, out_bias=True, rope=0.0)
    mlp = Mlp(
        c.integer("n_inner", default=4 * hidden), activation(c, "activation_function", default="gelu_new"), False, True
    )
    layer = Layer(attention, mlp, "layer_norm", True)
    positions = c.integer("n_positions", "n_ctx", "max_position_embeddings", default=1024)
    return _arch(c, "gpt2", (layer,) * c.layers(), True, positions=positions)


@family("gpt_neo")
def gpt_neo(c: Config) -> Arch:
    """GPT-Neo: full and 256-token local attention in turns; no biases on q, k, v."""
    n, g, d = head_sizes(c, ("num_heads", "num_attention_heads"))
    count = c.layers("num_layers", "num_hidden_layers")
    hidden = hidden_size(c)
    mlp = Mlp(c.integer("intermediate_size", default=4 * hidden), activation(c, "activation_function", default="gelu_new"),
              False, True)  # fmt: skip
    window = c.integer("window_size", default=256)
    kinds = c.per_layer("attention_layers", count, ("global", "local")) or [
        ("global", "local")[i % 2] for i in range(count)
    ]
    base = Attention(n, g, d, out_bias=True, rope=0.0)
    layers = tuple(
        Layer(replace(base, window=window if kind == "local" else None), mlp, "layer_norm", True) for kind in kinds
    )
    return _arch(c, "gpt_neo", layers, True, positions=c.integer("max_position_embeddings", default=2048))


@family("gpt_neox")
def gpt_neox(c: Config) -> Arch:
    """GPT-NeoX and Pythia: attention and feed-forward side by side, a norm for each."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias", default=True)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=rotary_share(c, default=0.25))
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="gelu"), False, True)
    parallel = c.flag("use_parallel_residual", default=True)
    layer = Layer(attention, mlp, "layer_norm", True, placement="parallel2" if parallel else "pre")
    return _arch(c, "gpt_neox", (layer,) * c.layers(), False)


@family("gptj", "codegen")
def gptj(c: Config) -> Arch:
    """GPT-J and CodeGen: side by side on one norm, no attention biases, a biased head."""
    n, g, d = head_sizes(c)
    hidden = hidden_size(c)
    attention = Attention(n, g, d, rope=min(1.0, c.integer("rotary_dim", default=64) / d))
    mlp = Mlp(
        c.integer("n_inner", default=4 * hidden), activation(c, "activation_function", default="gelu_new"), False, True
    )
    layer = Layer(attention, mlp, "layer_norm", True, placement="parallel")
    return _arch(c, "gptj", (layer,) * c.layers(), False, head_bias=True)


@family("opt")
def opt(c: Config) -> Arch:
    """OPT: learned positions offset by two; the 350 m variant norms after each part and has a narrower table."""
    n, g, d = head_sizes(c)
    bias = c.flag("enable_bias", default=True)
    affine = c.flag("layer_norm_elementwise_affine", default=True)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=0.0)
    mlp = Mlp(
        c.integer("ffn_dim", default=4 * hidden_size(c)),
        activation(c, "activation_function", default="relu"),
        False,
        bias,
    )
    before = c.flag("do_layer_norm_before", default=True)
    layer = Layer(attention, mlp, "layer_norm", affine, affine, "pre" if before else "post")
    return _arch(
        c, "opt", (layer,) * c.layers(), True, positions=c.integer("max_position_embeddings", default=2048) + 2,
        final_norm=before and not c.flag("_remove_final_layer_norm"), norm_bias=affine, norm_weight=affine,
        embed_width=c.integer("word_embed_proj_dim", default=hidden_size(c)),
    )  # fmt: skip


@family("bloom")
def bloom(c: Config) -> Arch:
    """BLOOM: linear attention biases instead of positions, a norm after the embedding."""
    n, g, d = head_sizes(c)
    hidden = hidden_size(c)
    attention = Attention(n, g, d, q_bias=True, kv_bias=True, out_bias=True, rope=0.0)
    layer = Layer(attention, Mlp(4 * hidden, "gelu_tanh", False, True), "layer_norm", True)
    return _arch(c, "bloom", (layer,) * c.layers(), True, embed_norm=True)


@family("falcon", "refinedweb", "refinedwebmodel", "RefinedWeb", "RefinedWebModel")
def falcon(c: Config) -> Arch:
    """Falcon: multi-query (7B) or grouped (40B, 180B, "new decoder architecture") attention beside the feed-forward."""
    new = c.flag("new_decoder_architecture")
    n = c.integer("num_attention_heads", "n_head", most=10**5)
    default = n if not c.flag("multi_query", default=True) else 1
    kv = ("num_kv_heads", "n_head_kv", "num_key_value_heads") if new else ("",)
    n, g, d = head_sizes(c, kv=kv, default_kv=n if new else default)
    bias = c.flag("bias")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=0.0 if c.flag("alibi") else 1.0)
    width = c.integer("ffn_hidden_size", default=4 * hidden_size(c))
    norms = c.integer("num_ln_in_parallel_attn", default=2 if new else 1)
    placement = "parallel2" if norms == 2 else "parallel"
    if not new and not c.flag("parallel_attn", default=True):
        placement = "pre"
    layer = Layer(attention, Mlp(width, activation(c, "activation", default="gelu"), False, bias), "layer_norm", True,
                  placement=placement)  # fmt: skip
    return _arch(c, "falcon", (layer,) * c.layers(), True)


@family("mpt")
def mpt(c: Config) -> Arch:
    """MPT: linear attention biases, no other bias anywhere, norms without offset."""
    n, _, d = head_sizes(c, ("n_heads",), ("",))
    config = c.part("attn_config")
    g = config.integer("kv_n_heads", default=n, most=n)
    if n % g:
        raise BadInput(f"{config.where}: kv_n_heads is {g}", expected=f"a divisor of the {n} heads")
    rope = 0.0 if config.flag("alibi", default=True) else float(config.flag("rope"))
    width = c.integer("expansion_ratio", default=4) * hidden_size(c)
    layer = Layer(Attention(n, g, d, rope=rope), Mlp(width, "gelu", False), "layer_norm")
    return _arch(c, "mpt", (layer,) * c.layers("n_layers"), True, norm_bias=False)
