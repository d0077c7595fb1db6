"""Encoder–decoders: T5 and Switch Transformers, BART and its descendants, Whisper.

The source is read once by an encoder; the decoder attends to its states in every layer.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Convolution, CrossAttention, Layer, Mlp, Moe, Sound
from ..config import Config
from .common import activation, registry

FAMILIES, family = registry()


@family("t5", "mt5", "umt5", "switch_transformers")
def t5(c: Config) -> Arch:
    """T5 (arXiv 1910.10683 §2.1), its gated form T5 1.1 (arXiv 2002.05202), mT5, UMT5 (a table of relative positions in
    every layer, arXiv 2304.09151) and Switch Transformers (experts in some layers, one a token: arXiv 2101.03961 §2).

    An ``architectures`` entry that ends in ``EncoderModel`` is the encoder alone, as text-to-image pipelines use it.
    """
    hidden = c.integer("d_model", most=10**6)
    count = c.layers("num_layers", "num_hidden_layers")
    heads, width = c.integer("num_heads", most=10**5), c.integer("d_kv", default=64, most=10**5)
    every = c.model_type == "umt5"
    feed = c.word(
        "feed_forward_proj", default="relu" if c.model_type in ("t5", "switch_transformers") else "gated-gelu"
    )
    act = activation(
        Config({"act": "gelu_new" if feed == "gated-gelu" else feed.rpartition("-")[2]}), "act", default="relu"
    )
    dense = Mlp(c.integer("d_ff"), act, feed.startswith("gated-"), False)
    moe = _switch(c, act) if c.model_type == "switch_transformers" else None

    def layers(number: int, sparse_step: int, *, causal: bool) -> tuple[Layer, ...]:
        cross = CrossAttention(heads, width, hidden) if causal else None
        buckets = c.integer("relative_attention_num_buckets", default=32)
        return tuple(
            Layer(
                Attention(heads, heads, width, rope=0.0, causal=causal, relative_bias=buckets if every or i == 0 else 0),
                moe if moe is not None and sparse_step and (i % sparse_step == 1 or sparse_step == 1) else dense,
                cross=cross,
            )
            for i in range(number)
        )  # fmt: skip

    vocab = c.integer("vocab_size", default=250112 if c.model_type in ("mt5", "umt5") else 32128)
    encoder = Arch(
        name=c.model_type, family="t5", vocab=vocab, hidden=hidden, layers=layers(count, _step(c, "encoder", count), causal=False),
        head="none", causal=False, layer_prefix="encoder.block.*",
    )  # fmt: skip
    if _encoder_only(c):
        return encoder
    deep = c.layers("num_decoder_layers", default=12 if moe is not None else count)
    notes: tuple[tuple[str, Any], ...] = ()
    if moe is not None:
        said = f"{c.integer('expert_capacity', default=64)} tokens an expert at most: none is dropped here"
        notes = (("expert capacity", said),)
    return Arch(
        name=c.model_type, family="t5", vocab=vocab, hidden=hidden, layers=layers(deep, _step(c, "decoder", deep), causal=True),
        tied=c.flag("tie_word_embeddings", default=True), encoder=encoder, layer_prefix="decoder.block.*",
        assumptions=notes,
    )  # fmt: skip


def _encoder_only(c: Config) -> bool:
    names = c.get("architectures")
    return isinstance(names, list) and any(isinstance(n, str) and n.endswith("EncoderModel") for n in names)


def _switch(c: Config, act: str) -> Moe:
    """One expert a token; the router in the model's own precision."""
    return Moe(
        c.integer("num_experts", most=10**5), 1, c.integer("d_ff"), act, False, router_bias=c.flag("router_bias")
    )


def _step(c: Config, side: str, layers: int) -> int:
    """Every how many layers have experts: stated, or from how many of them there are; 0 for none."""
    if c.model_type != "switch_transformers":
        return 0
    if c.stated(f"{side}_sparse_step"):
        return c.integer(f"{side}_sparse_step", least=0)
    sparse = c.integer(f"num_sparse_{side}_layers", default=3, least=0)
    if sparse > layers:
        raise BadInput(f"{c.where}: num_sparse_{side}_layers is {sparse}", expected=f"at most the {layers} layers")
    return layers // sparse if sparse else 0


@family("bart", "mbart", "marian", "pegasus", "plbart")
def bart(c: Config) -> Arch:
    """BART (arXiv 1910.13461), Marian: norms after the sums. mBART (arXiv 2001.08210), PEGASUS (arXiv 1912.08777): before."""
    kind = c.model_type
    before = kind in ("mbart", "pegasus") or c.flag("normalize_before")
    embed_norm = kind in ("bart", "mbart", "plbart")
    offset = 2 if embed_norm else 0  # rows of the position table that pad tokens keep free
    hidden = c.integer("d_model", most=10**6)
    act = activation(c, "activation_function", default="gelu")

    def side(name: str, default: int, *, causal: bool) -> Arch:
        n = _heads(c, hidden, name)
        attention = Attention(n, n, hidden // n, q_bias=True, kv_bias=True, out_bias=True, rope=0.0, causal=causal)
        cross = CrossAttention(n, hidden // n, hidden, True, True, True, True) if causal else None
        layer = Layer(attention, Mlp(c.integer(f"{name}_ffn_dim", default=4096), act, False, True), "layer_norm", True,
                      placement="pre" if before else "post", cross=cross)  # fmt: skip
        rows = c.integer("max_position_embeddings", default=1024)
        return Arch(
            name=kind, family="bart", vocab=c.integer("vocab_size"), hidden=hidden, norm="layer_norm", norm_bias=True,
            layers=(layer,) * c.layers(f"{name}_layers", default=default), positions=rows + offset, embed_norm=embed_norm,
            final_norm=before, head="lm" if causal else "none", causal=causal, layer_prefix=f"{name}.layers.*",
            tied=c.flag("tie_word_embeddings", default=True), max_context=rows,
        )  # fmt: skip

    return replace(side("decoder", 12, causal=True), encoder=side("encoder", 12, causal=False))


def _heads(c: Config, hidden: int, side: str) -> int:
    n = c.integer(f"{side}_attention_heads", default=16, most=10**5)
    if hidden % n:
        raise BadInput(f"{c.where}: {side}_attention_heads is {n}", expected=f"a divisor of d_model {hidden}")
    return n


@family("whisper")
def whisper(c: Config) -> Arch:
    """Whisper (arXiv 2212.04356 §2.2): two convolutions turn 3,000 frames of a 30 s window into 1,500 positions.

    Keys have no bias. The decoder starts with four tokens: transcript, language, task, no time stamps.
    """
    hidden = c.integer("d_model", most=10**6)
    act = activation(c, "activation_function", default="gelu")
    rows = c.integer("max_source_positions", default=1500)

    def layers(side: str, *, causal: bool) -> tuple[Layer, ...]:
        n = _heads(Config({f"{side}_attention_heads": 6, **c}, c.where), hidden, side)
        attention = Attention(n, n, hidden // n, q_bias=True, v_bias=True, out_bias=True, rope=0.0, causal=causal)
        cross = CrossAttention(n, hidden // n, hidden, True, False, True, True) if causal else None
        mlp = Mlp(c.integer(f"{side}_ffn_dim", default=4 * hidden), act, False, True)
        return (Layer(attention, mlp, "layer_norm", True, cross=cross),) * c.layers(f"{side}_layers", default=4)

    sound = Sound(
        c.integer("num_mel_bins", default=80),
        (Convolution(hidden, 3), Convolution(hidden, 3, 2)),
        act=act,
        positions=rows,
    )
    encoder = Arch(
        name="whisper", family="whisper", vocab=0, hidden=hidden, layers=layers("encoder", causal=False), sound=sound,
        norm="layer_norm", norm_bias=True, head="none", causal=False, layer_prefix="encoder.layers.*",
    )  # fmt: skip
    targets = c.integer("max_target_positions", default=448)
    return Arch(
        name="whisper", family="whisper", vocab=c.integer("vocab_size", default=51865), hidden=hidden,
        layers=layers("decoder", causal=True), tied=True, positions=targets, norm="layer_norm", norm_bias=True,
        encoder=encoder, source_default=rows, prompt=min(4, targets), source_per_second=rows / 30.0, max_context=targets,
        layer_prefix="decoder.layers.*", assumptions=(("audio", "windows of 30 s, shorter ones padded to it"),),
    )  # fmt: skip
