"""Decoders with routed experts and ordinary attention."""

from __future__ import annotations

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Index, Layer, Mlp, Moe
from ..config import Config
from .common import (
    activation,
    deepseek_moe,
    expert_counts,
    first_dense,
    head_sizes,
    layer_kinds,
    registry,
    rotary_share,
    window_of,
)
from .llama_like import decoder, gated, stack, windowed

FAMILIES, family = registry()


@family("mixtral")
def mixtral(c: Config) -> Arch:
    """Mixtral (arXiv 2401.04088): every feed-forward is eight experts, two per token."""
    n, g, d = head_sizes(c)
    e, k = expert_counts(c)
    layer = Layer(
        Attention(n, g, d), Moe(e, k, c.integer("intermediate_size"), activation(c, "hidden_act", default="silu"))
    )
    return decoder(c, "mixtral", stack(layer, [window_of(c)] * c.layers()))


@family("qwen2_moe", "qwen3_moe", "qwen3_vl_moe", "qwen3_vl_moe_text")
def qwen_moe(c: Config) -> Arch:
    """Qwen 1.5/2 MoE (a gated shared expert, q, k, v biases) and Qwen 3 MoE (neither, but query and key norms)."""
    third = not c.model_type.startswith("qwen2")
    n, g, d = head_sizes(c)
    count = c.layers()
    bias = c.flag("qkv_bias", default=not third)
    own = c.flag("attention_bias")
    attention = Attention(
        n, g, d, q_bias=bias or own, kv_bias=bias or own, out_bias=own, qk_norm="head" if third else "none"
    )
    e, k = expert_counts(c, ("num_experts", "num_local_experts"))
    act = activation(c, "hidden_act", default="silu")
    shared = c.integer("shared_expert_intermediate_size", default=0, least=0)
    moe = Moe(e, k, c.integer("moe_intermediate_size"), act, shared_width=shared, shared_gate=bool(shared))
    step = c.integer("decoder_sparse_step", default=1)
    only = c.get("mlp_only_layers") or ()
    if not isinstance(only, (list, tuple)):
        raise c.bad("mlp_only_layers", "a list of layer indices")
    layers = tuple(
        Layer(attention, moe if i not in only and (i + 1) % step == 0 else gated(c, bias=False)) for i in range(count)
    )
    return decoder(c, "qwen_moe", layers)


@family("olmoe")
def olmoe(c: Config) -> Arch:
    """OLMoE: norms over all query and key heads together."""
    n, g, d = head_sizes(c)
    e, k = expert_counts(c)
    moe = Moe(e, k, c.integer("intermediate_size"), activation(c, "hidden_act", default="silu"))
    return decoder(c, "olmoe", (Layer(Attention(n, g, d, qk_norm="full"), moe),) * c.layers())


@family("phimoe")
def phimoe(c: Config) -> Arch:
    """Phi-3.5-MoE: layer norms."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias")
    e, k = expert_counts(c)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias)
    layer = Layer(attention, Moe(e, k, c.integer("intermediate_size")), "layer_norm", True)
    windows = [window_of(c)] * c.layers()
    return decoder(
        c, "phimoe", stack(layer, windows), norm="layer_norm", norm_bias=True, head_bias=c.flag("lm_head_bias")
    )


@family("granitemoe", "granitemoeshared")
def granitemoe(c: Config) -> Arch:
    """Granite 3 MoE, with a shared expert in its second form."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias")
    e, k = expert_counts(c)
    act = activation(c, "hidden_act", default="silu")
    moe = Moe(
        e,
        k,
        c.integer("intermediate_size"),
        act,
        shared_width=c.integer("shared_intermediate_size", default=0, least=0),
    )
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias)
    return decoder(c, "granite", (Layer(attention, moe),) * c.layers())


@family("gpt_oss")
def gpt_oss(c: Config) -> Arch:
    """gpt-oss (arXiv 2508.10925 §2): biases everywhere, a sink logit a head, windows of 128 in every other layer."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias", default=True)
    e, k = expert_counts(c)
    moe = Moe(e, k, c.integer("intermediate_size"), "silu", bias=True, router_bias=True)
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, sinks=True)
    count = c.layers()
    windows = windowed(c, count, pattern=lambda i: "full_attention" if i % 2 else "sliding_attention")
    return decoder(c, "gpt_oss", stack(Layer(attention, moe), windows))


@family("glm4_moe")
def glm4_moe(c: Config) -> Arch:
    """GLM-4.5 and 4.6: DeepSeek-style experts over grouped-query attention."""
    n, g, d = head_sizes(c)
    bias = c.flag("attention_bias")
    norm = "head" if c.flag("use_qk_norm") else "none"
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, qk_norm=norm, rope=rotary_share(c, default=0.5))
    count = c.layers()
    moe = deepseek_moe(c)
    layers = tuple(Layer(attention, moe if s else gated(c, bias=False)) for s in first_dense(c, count, 1))
    return decoder(c, "glm", layers)


@family("minimax_m2")
def minimax_m2(c: Config) -> Arch:
    """MiniMax M2: norms over all query and key heads together, half of each head rotated."""
    n, g, d = head_sizes(c)
    attention = Attention(n, g, d, qk_norm="full", rope=_rotary(c, d))
    e, k = expert_counts(c)
    moe = Moe(e, k, c.integer("intermediate_size"), activation(c, "hidden_act", default="silu"), balance_bias=True)
    return decoder(c, "minimax", (Layer(attention, moe),) * c.layers())


@family("minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text")
def minimax_m3(c: Config) -> Arch:
    """MiniMax M3: dense first layers, then experts with a shared one; sparse attention picks blocks of 128 tokens."""
    n, g, d = head_sizes(c)
    count = c.layers()
    e, k = expert_counts(c)
    width = c.integer("intermediate_size", "moe_intermediate_size")
    shared = c.integer("shared_intermediate_size", default=width, least=0)
    moe = Moe(e, k, width, activation(c, "hidden_act", default="silu"), balance_bias=True, shared_width=shared)
    dense = Mlp(c.integer("dense_intermediate_size"), "silu")
    base = Attention(n, g, d, qk_norm="head", rope=_rotary(c, d))
    s = c.part("sparse_attention_config")
    block = s.integer("sparse_block_size", default=c.integer("index_block_size", default=128))
    picked = s.integer("sparse_topk_blocks", default=c.integer("index_topk_blocks", default=16))
    local = s.integer("sparse_local_block", default=c.integer("index_local_blocks", default=1, least=0), least=0)
    index = Index(
        s.integer("sparse_num_index_heads", default=c.integer("index_n_heads", default=4)),
        s.integer("sparse_index_dim", default=c.integer("index_head_dim", default=128)),
        topk=(picked + local) * block, block=block, latent=False, head_weights=False, query_norm=True, key_norm="rms_norm",
    )  # fmt: skip
    flags = s.per_layer("sparse_attention_freq", count, (0, 1, True, False))
    if flags is None:
        kinds = layer_kinds(c, count, ("full_attention", "minimax_m3_sparse"), lambda _: "full_attention")
        flags = [kind == "minimax_m3_sparse" for kind in kinds]
    layers = tuple(
        Layer(replace(base, index=index) if sparse else base, moe if routed else dense)
        for sparse, routed in zip(flags, first_dense(c, count), strict=True)
    )
    note = ("sparse attention indexer", f"{picked} + {local} blocks of {block} tokens; all keys scored at block cost")
    return decoder(c, "minimax", layers, assumptions=(note,) if any(flags) else ())


def _rotary(c: Config, d: int) -> float:
    """Share of the head that is rotated: ``rotary_dim`` dimensions, or a stated factor."""
    if c.stated("rotary_dim"):
        return min(1.0, c.integer("rotary_dim") / d)
    return rotary_share(c)


@family("llama4", "llama4_text")
def llama4(c: Config) -> Arch:
    """Llama 4: three layers of chunked attention to one global without positions; experts in every (other) layer."""
    n, g, d = head_sizes(c)
    count = c.layers()
    bias = c.flag("attention_bias")
    norm = "plain" if c.flag("use_qk_norm", default=True) else "none"
    base = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias)
    every = c.integer("no_rope_layer_interval", default=4)
    positions = c.per_layer("no_rope_layers", count, (0, 1)) if c.get("no_rope_layers") else None
    rotated = [bool(p) for p in positions] if positions else [(i + 1) % every != 0 for i in range(count)]
    kinds = layer_kinds(c, count, ("chunked_attention", "full_attention"),
                        lambda i: "chunked_attention" if rotated[i] else "full_attention")  # fmt: skip
    chunk = None if c.get("attention_chunk_size") is None else c.integer("attention_chunk_size")
    step = c.integer("interleave_moe_layer_step", default=1, least=0)
    routed = c.get("moe_layers")
    if routed is None:
        routed = list(range(step - 1, count, step)) if step else []
    if not isinstance(routed, (list, tuple)):
        raise c.bad("moe_layers", "a list of layer indices")
    e, k = expert_counts(c)
    width = c.integer("intermediate_size")
    act = activation(c, "hidden_act", default="silu")
    moe, dense = (
        Moe(e, k, width, act, shared_width=width),
        Mlp(c.integer("intermediate_size_mlp", default=2 * width), act),
    )
    layers = tuple(
        Layer(
            replace(base, chunk=chunk if kinds[i] == "chunked_attention" else None, rope=1.0 if rotated[i] else 0.0,
                    qk_norm=norm if rotated[i] else "none"),
            moe if i in routed else dense,
        )
        for i in range(count)
    )  # fmt: skip
    return decoder(c, "llama4", layers)


@family("mimo_v2_flash")
def mimo_v2(c: Config) -> Arch:
    """MiMo-V2-Flash: five windowed layers with sinks and more key-value heads to one global; values narrower than keys."""
    count = c.layers()
    whole = _mimo_attention(c, "", None)
    near = _mimo_attention(c, "swa_", c.integer("sliding_window", "sliding_window_size", default=128))
    flags = c.per_layer("hybrid_layer_pattern", count, (0, 1))
    kinds = [bool(f) for f in flags] if flags is not None else [
        kind == "sliding_attention" for kind in
        layer_kinds(c, count, ("full_attention", "sliding_attention"), lambda i: "sliding_attention" if i % 6 else "full_attention")
    ]  # fmt: skip
    moe = deepseek_moe(c)
    layers = tuple(
        Layer(near if local else whole, moe if s else gated(c, bias=False))
        for local, s in zip(kinds, first_dense(c, count, 1), strict=True)
    )
    return decoder(c, "mimo", layers)


def _mimo_attention(c: Config, prefix: str, window: int | None) -> Attention:
    n, g, d = head_sizes(c, (f"{prefix}num_attention_heads", "num_attention_heads"),
                         (f"{prefix}num_key_value_heads", "num_key_value_heads"), (f"{prefix}head_dim", "head_dim"))  # fmt: skip
    bias = c.flag("attention_bias")
    sinks = c.flag(
        "add_swa_attention_sink_bias" if window else "add_full_attention_sink_bias", default=window is not None
    )
    return Attention(
        n, g, d, c.integer(f"{prefix}v_head_dim", "v_head_dim", default=d), window, q_bias=bias, kv_bias=bias, sinks=sinks,
        rope=rotary_share(c),
    )  # fmt: skip


@family("step3p5", "step3p7")
def step3(c: Config) -> Arch:
    """Step-3.5 and 3.7 Flash: windowed and global layers, a scalar gate a head, experts after dense first layers."""
    count = c.layers()
    n, g, d = head_sizes(c)
    other = c.part("attention_other_setting")
    m = c.integer("num_sliding_attention_heads", default=other.integer("num_attention_heads", default=n))
    if m % g:
        raise BadInput(
            f"{c.where}: num_sliding_attention_heads is {m}", expected=f"a multiple of the {g} key-value heads"
        )
    bias = c.flag("attention_bias")
    base = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=bias, qk_norm="head", gate="head")
    spare = c.integer("num_nextn_predict_layers", default=0, least=0)
    kinds = layer_kinds(c, count, ("full_attention", "sliding_attention"), lambda _: "full_attention", spare=spare)
    window = window_of(c)
    e, k = expert_counts(c, ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"))
    shared = c.integer("share_expert_dim", "share_expert_dims", default=0, least=0)
    moe = Moe(e, k, c.integer("moe_intermediate_size"), "silu", balance_bias=True, shared_width=shared)
    routed = first_dense(c, count, 3)
    listed = c.get("moe_layers_enum")
    if isinstance(listed, str):
        chosen = {int(x) for x in listed.split(",") if x.strip().isdigit()}
        routed = [i in chosen for i in range(count)]
    layers = tuple(
        Layer(replace(base, heads=m, window=window) if kind == "sliding_attention" else base,
              moe if s else gated(c, bias=False))
        for kind, s in zip(kinds, routed, strict=True)
    )  # fmt: skip
    return decoder(c, "step", layers)
