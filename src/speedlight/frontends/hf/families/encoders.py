"""Text encoders: BERT and its descendants. Every token sees every other; nothing is cached."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ..arch import Arch, Attention, Disentangled, Layer, Mlp
from ..config import Config
from .common import activation, head_sizes, hidden_size, layer_kinds, registry

FAMILIES, family = registry()


def _encoder(c: Config, layers: tuple[Layer, ...], **fields: Any) -> Arch:
    fields.setdefault("norm", "layer_norm")
    fields.setdefault("norm_bias", True)
    return Arch(
        name=c.model_type, family="encoder", vocab=c.integer("vocab_size"), hidden=hidden_size(c), layers=layers,
        embed_norm=True, causal=False, layer_prefix="encoder.layer.*",
        max_context=c.integer("max_position_embeddings", default=512), **fields,
    )  # fmt: skip


def _head(c: Config, default: str) -> str:
    """``mlm`` or ``pooler``, as ``architectures`` says: a bare model ends in a pooler."""
    names = c.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if name.endswith("Model"):
        return "pooler"
    return "mlm" if name.endswith(("MaskedLM", "LMHeadModel")) else default


def _post_norm(c: Config, heads: tuple[str, ...] = ("num_attention_heads",), width: tuple[str, ...] = ("intermediate_size",),
               act: tuple[str, ...] = ("hidden_act",)) -> Layer:  # fmt: skip
    """The original transformer's layer: biases everywhere, a norm after each residual sum."""
    n, g, d = head_sizes(c, heads, ("",), ("",))
    attention = Attention(n, g, d, q_bias=True, kv_bias=True, out_bias=True, rope=0.0, causal=False)
    mlp = Mlp(c.integer(*width), activation(c, *act, default="gelu"), False, True)
    return Layer(attention, mlp, "layer_norm", True, placement="post")


@family("bert", "roberta", "xlm-roberta", "camembert", "megatron-bert")
def bert(c: Config) -> Arch:
    """BERT (arXiv 1810.04805) and RoBERTa (arXiv 1907.11692); the masked-language-model head unless the file says else."""
    head = _head(c, "mlm")
    return _encoder(
        c, (_post_norm(c),) * c.layers(), final_norm=False, positions=c.integer("max_position_embeddings", default=512),
        segments=c.integer("type_vocab_size", default=2, least=0), tied=c.flag("tie_word_embeddings", default=True),
        head=head, head_bias=True, head_act=activation(c, "hidden_act", default="gelu"),
    )  # fmt: skip


@family("distilbert")
def distilbert(c: Config) -> Arch:
    """DistilBERT (arXiv 1910.01108): no segments, no pooler."""
    layer = _post_norm(
        c, ("n_heads", "num_attention_heads"), ("hidden_dim", "intermediate_size"), ("activation", "hidden_act")
    )
    head = _head(c, "mlm")
    return _encoder(
        c, (layer,) * c.layers("n_layers", "num_hidden_layers"), final_norm=False,
        positions=c.integer("max_position_embeddings", default=512), tied=True,
        head="none" if head == "pooler" else head, head_bias=True,
    )  # fmt: skip


@family("electra")
def electra(c: Config) -> Arch:
    """ELECTRA (arXiv 2003.10555): a narrower table; ends in the discriminator, or the generator's decoder."""
    head = {"mlm": "mlm", "pooler": "none"}.get(_head(c, "score"), "score")
    hidden = hidden_size(c)
    return _encoder(
        c, (_post_norm(c),) * c.layers(), final_norm=False, positions=c.integer("max_position_embeddings", default=512),
        segments=c.integer("type_vocab_size", default=2, least=0), tied=True, head=head, head_bias=True,
        embed_width=c.integer("embedding_size", default=hidden), embed_projected_last=True,
    )  # fmt: skip


@family("modernbert")
def modernbert(c: Config) -> Arch:
    """ModernBERT (arXiv 2412.13663 §2.1): rotary positions, gated feed-forward, two local layers to one global; the
    embedding's norm serves as the first layer's."""
    n, g, d = head_sizes(c, kv=("",), dim=("",))
    count = c.layers()
    every = c.integer("global_attn_every_n_layers", default=3)
    kinds = layer_kinds(c, count, ("full_attention", "sliding_attention"),
                        lambda i: "sliding_attention" if i % every else "full_attention")  # fmt: skip
    local = c.integer("local_attention", default=128)
    bias = c.flag("attention_bias")
    mlp = Mlp(
        c.integer("intermediate_size"), activation(c, "hidden_activation", default="gelu"), True, c.flag("mlp_bias")
    )
    layers = tuple(
        Layer(
            Attention(n, g, d, window=local + 1 if kind == "sliding_attention" else None, q_bias=bias, kv_bias=bias,
                      out_bias=bias, causal=False),
            mlp, "layer_norm", c.flag("norm_bias"),
        )
        for kind in kinds
    )  # fmt: skip
    layers = (replace(layers[0], first_norm=False), *layers[1:])
    head = _head(c, "mlm")
    return _encoder(
        c, layers, tied=c.flag("tie_word_embeddings", default=True), norm_bias=c.flag("norm_bias"),
        head="none" if head == "pooler" else head, head_bias=c.flag("decoder_bias", default=True),
        head_dense_bias=c.flag("classifier_bias"),
    )  # fmt: skip


@family("deberta", "deberta-v2")
def deberta(c: Config) -> Arch:
    """DeBERTa (arXiv 2006.03654) and DeBERTa 2 and 3 (arXiv 2111.09543): relative positions in products of their own.

    Version 1 projects queries, keys and values at once and clips positions to the sequence; the later ones put positions
    in buckets, may share the projections and may have a convolution beside the first layer (not read: refused).
    """
    n, _, d = head_sizes(c, kv=("",), dim=("attention_head_size",))
    first = c.model_type == "deberta"
    positions = c.integer("max_position_embeddings", default=512)
    farthest = c.integer("max_relative_positions", default=-1, least=-1)
    span = farthest if farthest > 0 else positions
    buckets = c.integer("position_buckets", default=-1, least=-1)
    if not first and buckets > 0:
        span = buckets
    if c.integer("conv_kernel_size", default=0, least=0) > 0:
        raise c.bad("conv_kernel_size", "0: layers without the convolution")
    if not c.flag("relative_attention"):
        raise c.bad("relative_attention", "true")
    kinds = c.get("pos_att_type") or ()
    kinds = kinds.split("|") if isinstance(kinds, str) else list(kinds)
    mixer = Disentangled(
        n,
        d,
        span,
        clipped=first,
        c2p="c2p" in kinds,
        p2c="p2c" in kinds,
        shared=c.flag("share_att_key") and not first,
        fused=first,
    )
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="gelu"), False, True)
    head = _head(c, "mlm")
    return _encoder(
        c, (Layer(mixer, mlp, "layer_norm", True, placement="post"),) * c.layers(), final_norm=False,
        positions=positions if c.flag("position_biased_input", default=True) else 0,
        segments=c.integer("type_vocab_size", default=0, least=0), tied=c.flag("tie_word_embeddings", default=True),
        head="none" if head == "pooler" else head, head_bias=True, head_act=activation(c, "hidden_act", default="gelu"),
        relative=2 * span, relative_norm="layer_norm" in c.word("norm_rel_ebd", default="none") and not first,
    )  # fmt: skip
