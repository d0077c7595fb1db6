"""Decoders found by architecture search: every layer has sizes of its own (DeciLM, Llama-Nemotron)."""

from __future__ import annotations

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Layer, Mlp
from ..config import Config
from .common import activation, hidden_size, registry
from .llama_like import decoder

FAMILIES, family = registry()


@family("nemotron-nas", "deci")
def nemotron_nas(c: Config) -> Arch:
    """Llama-Nemotron (Puzzle, arXiv 2411.19146): attention may be dropped or grouped otherwise, feed-forwards scaled."""
    count, hidden = c.layers(), hidden_size(c)
    heads = c.integer("num_attention_heads", most=10**5)
    if hidden % heads:
        raise BadInput(
            f"{c.where}: hidden size {hidden} does not divide by num_attention_heads {heads}", expected="a divisor"
        )
    blocks = c.per_layer("block_configs", count)
    if blocks is None:
        return decoder(c, "nemotron_nas", _grouped(c, count, heads, hidden))
    act = activation(c, "hidden_act", default="silu")
    layers = []
    for index, block in enumerate(blocks):
        b = Config({"block": block}, c.where).part("block")
        b.where = f"{c.where}: block_configs[{index}]"
        layers.append(_layer(c, b, heads, hidden, act))
    return decoder(c, "nemotron_nas", tuple(layers))


def _layer(c: Config, b: Config, heads: int, hidden: int, act: str) -> Layer:
    a, f = b.part("attention"), b.part("ffn")
    mixer = ffn = None
    if not a.flag("no_op") and not a.flag("replace_with_linear"):
        group = a.integer("n_heads_in_group", most=heads)
        if heads % group:
            raise BadInput(f"{a.where}: n_heads_in_group is {group}", expected=f"a divisor of the {heads} heads")
        window = None if a.get("window_length") is None else a.integer("window_length")
        mixer = Attention(heads, heads // group, hidden // heads, window=window, out_bias=c.flag("attention_bias"))
    if not f.flag("no_op") and not f.flag("replace_with_linear"):
        factor = f.number("ffn_mult", 0.0)
        width = f.integer("intermediate_size", default=0, least=0) or scaled_width(factor, hidden)
        if width < 1:
            raise BadInput(f"{f.where}: ffn_mult is {factor}", expected="a positive factor")
        ffn = Mlp(width, act)
    return Layer(mixer, ffn)


def _grouped(c: Config, count: int, heads: int, hidden: int) -> tuple[Layer, ...]:
    """DeciLM: key-value heads per layer."""
    counts = c.per_layer("num_key_value_heads_per_layer", count)
    if counts is None:
        raise BadInput(f"{c.where}: the field block_configs or num_key_value_heads_per_layer is missing",
                       expected="one entry a layer")  # fmt: skip
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="silu"))
    layers = []
    for index, g in enumerate(counts):
        if not isinstance(g, int) or g < 1 or heads % g:
            raise BadInput(f"{c.where}: num_key_value_heads_per_layer[{index}] is {g!r}",
                           expected=f"a divisor of the {heads} heads")  # fmt: skip
        layers.append(Layer(Attention(heads, g, hidden // heads), mlp))
    return tuple(layers)


def scaled_width(factor: float, hidden: int) -> int:
    """Feed-forward width for a factor of Llama's rule: 2/3 · factor · hidden, up to the next multiple of 256."""
    width = int(2 * factor * hidden / 3)
    return -(-width // 256) * 256
