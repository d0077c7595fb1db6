"""State-space and hybrid decoders: Mamba, Jamba, Bamba, Nemotron-H."""

from __future__ import annotations

import math
from typing import Any

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Layer, Mamba1, Mamba2, Mlp, Moe
from ..config import Config
from .common import activation, expert_counts, head_sizes, hidden_size, layer_kinds, registry, rotary_share
from .llama_like import decoder, gated

FAMILIES, family = registry()


def _state_dtype(c: Config, *names: str) -> str | None:
    stated = c.word(*(names or ("mamba_ssm_cache_dtype", "mamba_ssm_dtype")))
    return {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(stated)


def _rank(c: Config, name: str, hidden: int) -> int:
    """Width of the step-size projection; ``auto`` is ⌈hidden/16⌉."""
    if c.get(name) in (None, "auto"):
        return math.ceil(hidden / 16)
    return c.integer(name)


@family("mamba", "falcon_mamba")
def mamba(c: Config) -> Arch:
    """Mamba (arXiv 2312.00752); Falcon-Mamba norms step size, B and C."""
    hidden = hidden_size(c)
    inner = c.integer("intermediate_size", "d_inner", default=c.integer("expand", default=2) * hidden)
    mixer = Mamba1(
        inner, c.integer("state_size", "d_state", default=16), c.integer("conv_kernel", "d_conv", default=4),
        _rank(c, "time_step_rank", hidden), c.flag("use_bias"), c.flag("use_conv_bias", default=True),
        "plain" if c.model_type == "falcon_mamba" else "none", _state_dtype(c),
    )  # fmt: skip
    return decoder(c, "mamba", (Layer(mixer),) * c.layers("num_hidden_layers", "n_layer"),
                   tied=c.flag("tie_word_embeddings", default=True))  # fmt: skip


@family("mamba2")
def mamba2(c: Config) -> Arch:
    """Mamba-2 (arXiv 2405.21060)."""
    heads, width = c.integer("num_heads", default=128), c.integer("head_dim", default=64)
    expected = c.integer("expand", default=2) * hidden_size(c)
    if heads * width != expected:
        raise BadInput(f"{c.where}: num_heads {heads} × head_dim {width} is {heads * width}",
                       expected=f"expand × hidden_size = {expected}")  # fmt: skip
    mixer = Mamba2(
        heads, width, _groups(c, "n_groups", heads, 8), c.integer("state_size", default=128), c.integer("conv_kernel", default=4),
        c.integer("chunk_size", default=256), c.flag("use_bias"), c.flag("use_conv_bias", default=True),
        state_dtype=_state_dtype(c),
    )  # fmt: skip
    return decoder(c, "mamba", (Layer(mixer),) * c.layers(), tied=c.flag("tie_word_embeddings"))


def _groups(c: Config, name: str, heads: int, default: int) -> int:
    groups = c.integer(name, default=default)
    if heads % groups:
        raise BadInput(f"{c.where}: {name} is {groups}", expected=f"a divisor of the {heads} state heads")
    return groups


@family("jamba")
def jamba(c: Config) -> Arch:
    """Jamba (arXiv 2403.19887): one attention layer in eight, experts in every other feed-forward, no positions."""
    hidden, count = hidden_size(c), c.layers()
    n, g, d = head_sizes(c)
    mixer = Mamba1(
        c.integer("mamba_expand", default=2) * hidden, c.integer("mamba_d_state", default=16),
        c.integer("mamba_d_conv", default=4), _rank(c, "mamba_dt_rank", hidden), c.flag("mamba_proj_bias"),
        c.flag("mamba_conv_bias", default=True), "learned", _state_dtype(c),
    )  # fmt: skip
    attention = Attention(n, g, d, rope=0.0)
    mlp = gated(c, bias=False)
    every, offset = c.integer("attn_layer_period", default=8), c.integer("attn_layer_offset", default=4, least=0)
    experts_every, experts_offset = (
        c.integer("expert_layer_period", default=2),
        c.integer("expert_layer_offset", default=1, least=0),
    )
    kinds = c.per_layer("layers_block_type", count, ("mamba", "attention", "linear_attention", "full_attention"))
    e, k = expert_counts(c, ("num_experts", "num_local_experts"), default_items=16, default_picks=2)
    moe: Any = Moe(e, k, mlp.width, mlp.act) if e > 1 else mlp
    layers = tuple(
        Layer(
            attention if (kinds[i] in ("attention", "full_attention") if kinds else i % every == offset) else mixer,
            moe if i % experts_every == experts_offset else mlp,
        )
        for i in range(count)
    )
    return decoder(c, "jamba", layers)


def _mamba2_of(c: Config, prefix: str = "mamba_") -> Mamba2:
    """Mamba-2 as Bamba and Granite 4 name its fields."""
    hidden = hidden_size(c)
    inner = c.integer(f"{prefix}expand", default=2) * hidden
    heads = c.integer(f"{prefix}n_heads", default=128)
    width = c.get(f"{prefix}d_head")
    if width in (None, "auto"):
        if inner % heads:
            raise BadInput(f"{c.where}: {prefix}n_heads is {heads}", expected=f"a divisor of the inner width {inner}")
        size = inner // heads
    else:
        size = c.integer(f"{prefix}d_head")
    if size * heads != inner:
        raise BadInput(f"{c.where}: {prefix}n_heads {heads} × {prefix}d_head {size} is {size * heads}",
                       expected=f"{prefix}expand × hidden_size = {inner}")  # fmt: skip
    return Mamba2(
        heads, size, _groups(c, f"{prefix}n_groups", heads, 1), c.integer(f"{prefix}d_state", default=256),
        c.integer(f"{prefix}d_conv", default=4), c.integer(f"{prefix}chunk_size", default=256),
        c.flag(f"{prefix}proj_bias"), c.flag(f"{prefix}conv_bias", default=True), state_dtype=_state_dtype(c),
    )  # fmt: skip


_HYBRID = ("mamba", "attention", "linear_attention", "full_attention")


@family("bamba", "granitemoehybrid")
def bamba(c: Config) -> Arch:
    """Bamba and Granite 4: Mamba-2 layers with a few attention layers; Granite's feed-forward may have experts."""
    count = c.layers()
    n, g, d = head_sizes(c)
    granite = c.model_type == "granitemoehybrid"
    bias = c.flag("attention_bias")
    rope = rotary_share(c, default=0.5) if not granite else float(c.word("position_embedding_type") == "rope")
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=rope)
    listed = c.get("attn_layer_indices") or ()
    if not isinstance(listed, (list, tuple)):
        raise c.bad("attn_layer_indices", "a list of layer indices")
    name = "layers_block_type" if c.get("layers_block_type") else "layer_types"
    kinds = layer_kinds(c, count, _HYBRID, lambda i: "attention" if i in listed else "mamba", name)
    ffn: Any = gated(c)
    if granite:
        act = activation(c, "hidden_act", default="silu")
        shared = c.integer("shared_intermediate_size", default=1024)
        ffn = Mlp(shared, act)
        if c.integer("num_local_experts", default=8, least=0):
            e, k = expert_counts(c, default_items=8, default_picks=2)
            ffn = Moe(e, k, c.integer("intermediate_size"), act, shared_width=shared)
    mixer = _mamba2_of(c)
    layers = tuple(Layer(attention if "mamba" not in kind and "linear" not in kind else mixer, ffn) for kind in kinds)
    return decoder(c, "bamba", layers)


_LETTERS = {"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}
_BLOCKS = ("mamba", "linear_attention", "moe", "attention", "full_attention", "mlp")


@family("nemotron_h")
def nemotron_h(c: Config) -> Arch:
    """Nemotron-H and Nemotron 3 (arXiv 2504.03624 §2): each layer is one part — Mamba-2, attention, dense or experts."""
    kinds, notes = _pattern(c)
    hidden = hidden_size(c)
    n, g, d = head_sizes(c, dim=("head_dim", "attention_head_dim"), default_dim=128)
    heads = c.integer("mamba_num_heads", default=128)
    act = activation(c, "mlp_hidden_act", default="relu2")
    mixer = Mamba2(
        heads, c.integer("mamba_head_dim", default=64), _groups(c, "n_groups", heads, 8),
        c.integer("ssm_state_size", default=128), c.integer("conv_kernel", default=4), c.integer("chunk_size", default=128),
        c.flag("mamba_proj_bias", "use_bias"), c.flag("use_conv_bias", default=True), state_dtype=_state_dtype(c),
    )  # fmt: skip
    bias = c.flag("attention_bias")
    mlp_bias = c.flag("mlp_bias")
    parts: dict[str, Layer] = {
        "mamba": Layer(mixer),
        "attention": Layer(Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, rope=0.0)),
        "mlp": Layer(None, Mlp(c.integer("intermediate_size", default=4 * hidden), act, False, mlp_bias)),
    }
    if "moe" in kinds:
        e, k = expert_counts(c, ("n_routed_experts", "num_local_experts"))
        shared = c.integer("moe_shared_expert_intermediate_size", default=0, least=0)
        latent = None if c.get("moe_latent_size") is None else c.integer("moe_latent_size")
        parts["moe"] = Layer(
            None, Moe(e, k, c.integer("moe_intermediate_size"), act, False, mlp_bias, balance_bias=True,
                      shared_width=shared * c.integer("n_shared_experts", default=1, least=0), latent=latent),
        )  # fmt: skip
    parts["linear_attention"], parts["full_attention"] = parts["mamba"], parts["attention"]
    return decoder(c, "nemotron_h", tuple(parts[kind] for kind in kinds), assumptions=notes)


def _pattern(c: Config) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """The kind of each layer: a list, a string of letters, or (where neither is known) the family's usual proportions."""
    stated = c.get("layers_block_type")
    if stated is not None:
        length = len(stated) if isinstance(stated, (list, tuple)) else 0
        count = c.layers("num_hidden_layers", default=max(length, 1))
        return c.per_layer("layers_block_type", count, _BLOCKS) or [], ()
    text = c.get("hybrid_override_pattern")
    if text is None:
        return _usual(c.layers())
    if not isinstance(text, str) or not text or set(text) - set(_LETTERS):
        raise c.bad("hybrid_override_pattern", "letters M (Mamba), * (attention), - (feed-forward), E (experts)")
    count = c.layers("num_hidden_layers", default=len(text))
    if len(text) != count:
        raise BadInput(f"{c.where}: hybrid_override_pattern has {len(text)} letters", expected=f"{count}, one a layer")
    return [_LETTERS[letter] for letter in text], ()


def _usual(count: int) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Mamba and feed-forward in turns with about 8 % attention, spread evenly (Nemotron-H, arXiv 2504.03624 §2.1)."""
    kinds = ["mamba" if i % 2 == 0 else "mlp" for i in range(count)]
    few = max(1, round(0.08 * count))
    for j in range(few):
        kinds[min(count - 1, round((j + 0.5) * count / few))] = "attention"
    note = f"{kinds.count('mamba')} Mamba-2, {few} attention, {kinds.count('mlp')} feed-forward layers: the pattern is not stated"
    return kinds, (("layer pattern", note),)
