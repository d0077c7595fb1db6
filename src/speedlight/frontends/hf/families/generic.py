"""Model types nobody registered: the architecture as far as the usual field names determine it.

What is read this way is said in the assumptions, field by field; what the fields do not determine is refused by name.
"""

from __future__ import annotations

from typing import Any

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Layer, Mlp, Moe
from ..config import Config
from .common import activation, expert_counts, first_dense, head_sizes, hidden_size, rotary_share, window_of
from .llama_like import decoder

_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num")
_WIDTH = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff", "dense_intermediate_size", "hidden_dim")
_EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
_PICKS = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "top_k_experts", "moe_k")
_EXPERT_WIDTH = ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size")


def generic(c: Config) -> Arch:
    """A decoder from fields alone.

    Raises:
        BadInput: naming every field that is missing.
    """
    kind = c.model_type or "(none)"
    missing = [" or ".join(names) for names in (_HIDDEN, _LAYERS, _HEADS, ("vocab_size",)) if c.stated(*names) is None]
    experts = c.stated(*_EXPERTS) is not None and c.integer(*_EXPERTS, least=0) > 1
    if not experts and c.stated(*_WIDTH) is None:
        missing.append(" or ".join(_WIDTH))
    if c.get("is_encoder_decoder"):
        raise BadInput(f"{c.where}: model_type {kind!r} is an encoder–decoder", expected="a decoder or an encoder")
    if missing:
        raise BadInput(
            f"{c.where}: model_type {kind!r} is not known, and its fields do not say enough",
            expected="the missing fields: " + "; ".join(missing),
        )
    notes: list[tuple[str, Any]] = [
        ("model_type", f"{kind!r} is not known: read by field names as a pre-norm decoder with rotary positions")
    ]
    mixer = _mixer(c, notes)
    count = c.layers(*_LAYERS)
    dense, routed = _feed_forwards(c, count, experts, notes)
    layers = tuple(Layer(mixer, moe if moe is not None else dense) for moe in routed)
    tied = c.flag("tie_word_embeddings")
    if c.get("tie_word_embeddings") is None:
        notes.append(("tie_word_embeddings", "false: not stated"))
    return decoder(c, "generic", layers, tied=tied, assumptions=tuple(notes))


def _mixer(c: Config, notes: list[tuple[str, Any]]) -> Any:
    if c.stated("kv_lora_rank", "mamba_d_state", "state_size", "ssm_state_size") == "kv_lora_rank":
        from .latent import latent

        notes.append(("attention", "multi-head latent attention, from kv_lora_rank"))
        return latent(c)
    state = c.stated("mamba_d_state", "state_size", "ssm_state_size", "mamba_num_heads")
    if state is not None:
        raise BadInput(
            f"{c.where}: model_type {c.model_type!r} is not known and has state-space layers ({state})",
            expected="a known hybrid (mamba, mamba2, jamba, bamba, nemotron_h, qwen3_next, kimi_linear)",
        )
    n, g, d = head_sizes(c, _HEADS, _KV, ("head_dim", "attention_head_dim", "kv_channels"))
    bias = c.flag("attention_bias", "qkv_bias", "use_qkv_bias", "add_qkv_bias")
    norm = c.flag("use_qk_norm", "qk_layernorm")
    notes.append(("attention", f"{n} heads, {g} key-value heads of {d}; biases {bias}, query-key norms {norm}"))
    if not isinstance(c.get("sliding_window"), (int, type(None))):
        raise c.bad("sliding_window", "a number of tokens or null")
    return Attention(
        n, g, d, window=window_of(c), q_bias=bias, kv_bias=bias, out_bias=c.flag("attention_bias"),
        qk_norm="head" if norm else "none", rope=rotary_share(c),
    )  # fmt: skip


def _feed_forwards(c: Config, count: int, experts: bool, notes: list[tuple[str, Any]]) -> tuple[Mlp, list[Moe | None]]:
    act = activation(c, "hidden_act", "hidden_activation", "activation_function", default="silu")
    is_gated = act in ("silu",) or "gate" in c.word("mlp_type")
    width = c.integer(*_WIDTH, default=4 * hidden_size(c))
    dense = Mlp(width, act, is_gated, c.flag("mlp_bias"))
    notes.append(("feed-forward", f"{'gated' if is_gated else 'two-layer'} {act}, width {width}"))
    if not experts:
        return dense, [None] * count
    e, k = expert_counts(c, _EXPERTS, _PICKS)
    each = c.integer(*_EXPERT_WIDTH, default=width)
    shared = c.integer("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", default=0, least=0)
    if not shared:
        shared = c.integer("n_shared_experts", "num_shared_experts", default=0, least=0, most=1000) * each
    notes.append(("experts", f"{e} of width {each}, {k} per token, shared width {shared}"))
    moe = Moe(e, k, each, act, is_gated, shared_width=shared)
    return dense, [moe if routed else None for routed in first_dense(c, count)]
