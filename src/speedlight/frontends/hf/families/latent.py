"""Decoders with multi-head latent attention: DeepSeek V2 to V4, Kimi K2, GLM-5, MiniCPM 3."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, CompressedAttention, Index, Layer, Mla, Moe
from ..config import Config
from .common import deepseek_moe, expert_counts, first_dense, registry
from .llama_like import decoder, gated

FAMILIES, family = registry()


def latent(c: Config, **more: Any) -> Mla:
    """The latent attention's sizes from their usual fields."""
    heads = c.integer("num_attention_heads", most=10**5)
    rank = None if c.get("q_lora_rank") is None else c.integer("q_lora_rank", least=0) or None
    return Mla(
        heads, rank, c.integer("kv_lora_rank"), c.integer("qk_nope_head_dim"), c.integer("qk_rope_head_dim", least=0),
        c.integer("v_head_dim"), bias=c.flag("attention_bias"), **more,
    )  # fmt: skip


@family("deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25", "glm4_moe_lite")
def deepseek(c: Config) -> Arch:
    """DeepSeek V2 (arXiv 2405.04434), V3 and R1 (arXiv 2412.19437), Kimi K2 (arXiv 2507.20534): latent attention, dense
    first layers, then fine-grained experts with shared ones."""
    count = c.layers()
    attention = latent(c)
    if c.stated("n_routed_experts", "num_experts", "num_local_experts") is None:
        return decoder(c, "deepseek", (Layer(attention, gated(c, bias=False)),) * count)
    moe = deepseek_moe(c, balance_bias=c.model_type != "deepseek_v2")
    default = {"deepseek_v2": 0, "deepseek_v3": 3, "kimi_k2": 1, "glm4_moe_lite": 1}.get(c.model_type, 1)
    layers = tuple(Layer(attention, moe if s else gated(c, bias=False)) for s in first_dense(c, count, default))
    return decoder(c, "deepseek", layers)


@family("deepseek_v32", "glm_moe_dsa")
def sparse_latent(c: Config) -> Arch:
    """DeepSeek V3.2 and GLM-5: the same with an indexer that picks 2,048 tokens a query; in GLM-5.2 most layers reuse the
    choice of an earlier one."""
    count = c.layers()
    index = Index(c.integer("index_n_heads"), c.integer("index_head_dim"), c.integer("index_topk"))
    kinds = c.per_layer("indexer_types", count, ("full", "shared")) or ["full"] * count
    base = latent(c)
    moe = deepseek_moe(c)
    layers = tuple(
        Layer(replace(base, index=replace(index, shared=kind == "shared")), moe if s else gated(c, bias=False))
        for kind, s in zip(kinds, first_dense(c, count, 3), strict=True)
    )
    note = ("sparse attention indexer", f"each query attends to its best {index.topk} tokens; every token is scored")
    return decoder(c, "deepseek", layers, assumptions=(note,))


@family("minicpm3")
def minicpm3(c: Config) -> Arch:
    """MiniCPM 3: latent attention over a dense model."""
    layer = Layer(latent(c), gated(c))
    return decoder(c, "minicpm", (layer,) * c.layers(), tied=c.flag("tie_word_embeddings", default=True))


_RATES = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


@family("deepseek_v4", "deepseek_ref")
def deepseek_v4(c: Config) -> Arch:
    """DeepSeek V4: windows, compressed sparse and heavily compressed attention in turns, hyper-connected residuals."""
    count = c.layers()
    heads, groups = c.integer("num_attention_heads"), c.integer("o_groups")
    if heads % groups:
        raise BadInput(f"{c.where}: o_groups is {groups}", expected=f"a divisor of the {heads} heads")
    rope = c.integer("qk_rope_head_dim", default=64)
    base = CompressedAttention(
        heads, c.integer("head_dim"), c.integer("q_lora_rank"), rope, c.integer("sliding_window", default=128), groups,
        c.integer("o_lora_rank"),
    )  # fmt: skip
    sparse = {
        "index_heads": c.integer("index_n_heads"),
        "index_dim": c.integer("index_head_dim"),
        "topk": c.integer("index_topk"),
    }
    e, k = expert_counts(c, ("n_routed_experts", "num_local_experts"))
    width = c.integer("moe_intermediate_size", "intermediate_size")
    moe = Moe(
        e, k, width, "silu", balance_bias=True, shared_width=c.integer("n_shared_experts", default=1, least=0) * width
    )
    streams = c.integer("hc_mult", default=4, most=64)
    layers = []
    for rate in _rates(c, count):
        mixer = replace(base, rate=rate, overlap=0 < rate < 16, **(sparse if 0 < rate < 16 else {}))
        layers.append(Layer(mixer, moe, streams=streams))
    notes = (
        ("compressed attention", "entries counted as context/rate, without rounding; the indexer scores every entry"),
        ("hash routing", "the first layers' table look-up instead of a router's choice costs nothing"),
    )
    return decoder(c, "deepseek", tuple(layers), assumptions=notes)


def _rates(c: Config, count: int) -> list[int]:
    """Tokens per compressed entry of each layer."""
    stated = c.per_layer("compress_ratios", count, spare=16)
    if stated is not None:
        for index, rate in enumerate(stated):
            if isinstance(rate, bool) or not isinstance(rate, int) or not 0 <= rate <= 10**6:
                raise BadInput(
                    f"{c.where}: compress_ratios[{index}] is {rate!r}", expected="0, 4 or 128 tokens an entry"
                )
        return stated
    kinds = c.per_layer("layer_types", count, tuple(_RATES))
    table = {**_RATES, **{k: v for k, v in c.part("compress_rates").items() if isinstance(v, int) and v > 0}}
    if kinds is None:
        kinds = [
            "compressed_sparse_attention" if i >= 2 and i % 2 else "heavily_compressed_attention" for i in range(count)
        ]
    return [table[kind] for kind in kinds]
