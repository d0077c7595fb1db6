"""Decoders in Llama's mould: pre-norm or its variants, rotary positions, gated feed-forward, one kind of attention a layer."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ..arch import Arch, Attention, Layer, Mlp, Mtp
from ..config import Config
from .common import (
    activation,
    head_sizes,
    hidden_size,
    layer_kinds,
    mtp_modules,
    mtp_note,
    registry,
    rotary_share,
    window_of,
)

FAMILIES, family = registry()
_KINDS = ("full_attention", "sliding_attention")


def decoder(c: Config, name: str, layers: tuple[Layer, ...], **fields: Any) -> Arch:
    """A causal decoder with the usual outer fields."""
    modules = fields.pop("mtp", None) or mtp_modules(c)
    last = layers[-1] if layers else None
    whole = modules and last is not None and last.mixer is not None and last.ffn is not None and not last.side_input
    return Arch(
        mtp=Mtp(modules, fields.pop("mtp_layer", last)) if whole else None,
        name=c.model_type, family=name, vocab=c.integer("vocab_size"), hidden=hidden_size(c), layers=layers,
        tied=fields.pop("tied", c.flag("tie_word_embeddings")),
        max_context=c.integer("max_position_embeddings", "max_sequence_length", "n_positions", "model_max_length",
                              default=2048, most=10**9),
        assumptions=(*mtp_note(c), *fields.pop("assumptions", ())), **fields,
    )  # fmt: skip


def gated(c: Config, default: str = "silu", *, bias: bool | None = None) -> Mlp:
    """The gated feed-forward with its usual fields."""
    width = c.integer("intermediate_size")
    return Mlp(width, activation(c, "hidden_act", "hidden_activation", default=default), True,
               c.flag("mlp_bias") if bias is None else bias)  # fmt: skip


def windowed(c: Config, count: int, default: str = "full_attention", pattern: Any = None) -> list[int | None]:
    """The window of each layer, from ``layer_types`` or the family's pattern."""
    window = window_of(c)
    if window is None:
        return [None] * count
    kinds = layer_kinds(c, count, _KINDS, pattern or (lambda i: default))
    return [window if kind == "sliding_attention" else None for kind in kinds]


def stack(base: Layer, windows: list[int | None], **attention: Any) -> tuple[Layer, ...]:
    """The layer once for each window."""
    return tuple(replace(base, mixer=replace(base.mixer, window=w, **attention)) for w in windows)


@family("llama", "mistral", "ministral", "ministral3", "yi", "aquila", "internlm", "internlm2", "internlm3", "codellama",
        "code_llama", "granite", "helium", "seed_oss", "smollm3", "ernie4_5", "arcee", "xverse")  # fmt: skip
def llama(c: Config) -> Arch:
    """Llama and those that differ from it only in sizes, biases, windows and which layers rotate."""
    n, g, d = head_sizes(c)
    count = c.layers()
    bias = c.flag("attention_bias", "qkv_bias", "bias", "use_bias", default=c.model_type == "seed_oss")
    out_bias = c.flag("attention_out_bias", default=bias and c.model_type != "seed_oss")
    gate = c.model_type != "arcee"
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="silu" if gate else "relu2"), gate,
              c.flag("mlp_bias", "use_bias", *(["bias"] if c.model_type == "internlm3" else [])))  # fmt: skip
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=out_bias)
    windows = windowed(c, count, "sliding_attention" if c.model_type in ("mistral", "ministral") else "full_attention")
    if c.model_type == "smollm3" and not c.flag("use_sliding_window"):
        windows = [None] * count
    layers = stack(Layer(attention, mlp), windows)
    every = c.integer("no_rope_layer_interval", default=0, least=0) if c.model_type == "smollm3" else 0
    if every:  # SmolLM3: every fourth layer has no positions
        layers = tuple(
            replace(y, mixer=replace(y.mixer, rope=0.0)) if (i + 1) % every == 0 else y for i, y in enumerate(layers)
        )
    tied = c.flag("tie_word_embeddings", default=c.model_type in ("smollm3", "ernie4_5"))
    return decoder(c, "llama", layers, tied=tied)


@family("mimo", "qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text")
def qwen2(c: Config) -> Arch:
    """Qwen 1.5 to 2.5: biases on q, k and v only."""
    n, g, d = head_sizes(c)
    count = c.layers()
    attention = Attention(n, g, d, q_bias=True, kv_bias=True)
    return decoder(c, "qwen2", stack(Layer(attention, gated(c)), _qwen_windows(c, count)))


@family("qwen3", "qwen3_vl", "qwen3_vl_text")
def qwen3(c: Config) -> Arch:
    """Qwen 3: a norm over each query and key head, no biases."""
    n, g, d = head_sizes(c, default_dim=128)
    bias = c.flag("attention_bias")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, qk_norm="head")
    return decoder(c, "qwen3", stack(Layer(attention, gated(c)), _qwen_windows(c, c.layers())))


def _qwen_windows(c: Config, count: int) -> list[int | None]:
    if not c.flag("use_sliding_window"):
        return [None] * count
    first = c.integer("max_window_layers", default=28, least=0)
    return windowed(c, count, pattern=lambda i: "sliding_attention" if i >= first else "full_attention")


@family("olmo")
def olmo(c: Config) -> Arch:
    """OLMo: norms without learned scale."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias)
    layer = Layer(attention, gated(c, bias=False), norm="layer_norm", norm_weight=False)
    return decoder(c, "olmo", (layer,) * c.layers(), norm="layer_norm", norm_weight=False)


@family("olmo2", "olmo3")
def olmo2(c: Config) -> Arch:
    """OLMo 2 and 3: norms after each part, and over all query and key heads together."""
    n, g, d = head_sizes(c)
    count = c.layers()
    attention = Attention(n, g, d, qk_norm="full")
    layer = Layer(attention, gated(c, bias=False), placement="branch")
    windows = windowed(c, count, pattern=lambda i: "sliding_attention" if (i + 1) % 4 else "full_attention")
    return decoder(c, "olmo2", stack(layer, windows))


@family("exaone4")
def exaone4(c: Config) -> Arch:
    """EXAONE 4: norms after each part; three windowed layers to one full."""
    n, g, d = head_sizes(c)
    count = c.layers()
    every = c.get("sliding_window_pattern")
    pattern = None
    if isinstance(every, int) and every > 0:
        pattern = lambda i: "sliding_attention" if (i + 1) % every else "full_attention"  # noqa: E731
    elif isinstance(every, str) and every:  # "LLLG"
        pattern = lambda i: "sliding_attention" if every[i % len(every)] == "L" else "full_attention"  # noqa: E731
    layer = Layer(Attention(n, g, d, qk_norm="head"), gated(c, bias=False), placement="branch")
    return decoder(c, "exaone", stack(layer, windowed(c, count, pattern=pattern)))


@family("exaone")
def exaone(c: Config) -> Arch:
    """EXAONE 3."""
    n, g, d = head_sizes(c)
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "activation_function", default="silu"))
    return decoder(c, "exaone", (Layer(Attention(n, g, d), mlp),) * c.layers())


@family("glm", "glm4")
def glm(c: Config) -> Arch:
    """GLM-4: half of each head rotated, biases on q, k and v; the 0414 release norms before and after each part."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias", default=True)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, rope=rotary_share(c, default=0.5))
    layer = Layer(attention, gated(c, bias=False), placement="sandwich" if c.model_type == "glm4" else "pre")
    return decoder(c, "glm", (layer,) * c.layers())


@family("phi3")
def phi3(c: Config) -> Arch:
    """Phi-3 and Phi-4: fused projections (one weight each, the same sum of parameters)."""
    n, g, d = head_sizes(c)
    attention = Attention(n, g, d, rope=rotary_share(c))
    windows = [window_of(c)] * c.layers()
    return decoder(c, "phi", stack(Layer(attention, gated(c, bias=False)), windows))


@family("phi")
def phi(c: Config) -> Arch:
    """Phi-1 and 2: attention and feed-forward side by side on one norm; a bias everywhere."""
    n, g, d = head_sizes(c)
    norm = c.flag("qk_layernorm")
    attention = Attention(
        n, g, d, q_bias=True, kv_bias=True, out_bias=True, rope=rotary_share(c, default=0.5),
        qk_norm="head" if norm else "none", norm_fn="layer_norm", qk_norm_bias=True,
    )  # fmt: skip
    mlp = Mlp(c.integer("intermediate_size", "n_inner", default=4 * hidden_size(c)),
              activation(c, "hidden_act", default="gelu_new"), False, True)  # fmt: skip
    layer = Layer(attention, mlp, "layer_norm", True, placement="parallel")
    return decoder(c, "phi", (layer,) * c.layers(), norm="layer_norm", norm_bias=True, head_bias=True)


@family("stablelm")
def stablelm(c: Config) -> Arch:
    """StableLM: layer norms, a quarter of each head rotated."""
    n, g, d = head_sizes(c)
    bias = c.flag("use_qkv_bias")
    attention = Attention(
        n, g, d, q_bias=bias, kv_bias=bias, rope=rotary_share(c, default=0.25),
        qk_norm="heads" if c.flag("qk_layernorm") else "none", norm_fn="layer_norm",
    )  # fmt: skip
    layer = Layer(attention, gated(c, bias=False), "layer_norm", True,
                  placement="parallel" if c.flag("use_parallel_residual") else "pre")  # fmt: skip
    return decoder(c, "stablelm", (layer,) * c.layers(), norm="layer_norm", norm_bias=True)


@family("starcoder2")
def starcoder2(c: Config) -> Arch:
    """StarCoder 2: two-layer feed-forward, biases, layer norms."""
    n, g, d = head_sizes(c)
    bias = c.flag("use_bias", default=True)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias)
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="gelu_pytorch_tanh"), False, bias)
    layer = Layer(attention, mlp, "layer_norm", True)
    tied = c.flag("tie_word_embeddings", default=True)
    return decoder(
        c, "starcoder", stack(layer, [window_of(c)] * c.layers()), tied=tied, norm="layer_norm", norm_bias=True
    )


@family("nemotron")
def nemotron(c: Config) -> Arch:
    """Nemotron-4 / Minitron: layer norms, squared ReLU, half of each head rotated."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=rotary_share(c, default=0.5))
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default="relu2"), False, c.flag("mlp_bias"))
    layer = Layer(attention, mlp, "layer_norm", True)
    return decoder(c, "nemotron", (layer,) * c.layers(), norm="layer_norm", norm_bias=True)


@family("cohere", "cohere2")
def cohere(c: Config) -> Arch:
    """Command R and A: attention and feed-forward side by side; three windowed layers to one full without positions."""
    n, g, d = head_sizes(c)
    count = c.layers()
    bias = c.flag("attention_bias")
    attention = Attention(
        n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, qk_norm="heads" if c.flag("use_qk_norm") else "none",
        norm_fn="layer_norm",
    )  # fmt: skip
    layer = Layer(attention, gated(c, bias=False), "layer_norm", placement="parallel")
    windows: list[int | None] = [None] * count
    if c.model_type == "cohere2":
        every = c.integer("sliding_window_pattern", default=4)
        windows = windowed(c, count, pattern=lambda i: "sliding_attention" if (i + 1) % every else "full_attention")
    layers = tuple(
        replace(layer, mixer=replace(attention, window=w, rope=1.0 if w or c.model_type == "cohere" else 0.0))
        for w in windows
    )
    return decoder(c, "cohere", layers, tied=c.flag("tie_word_embeddings", default=True), norm="layer_norm")
