"""Cache and state bytes are exact: every figure here is hand-computed, and the hand computation stands in the test."""

from __future__ import annotations

import pytest

from speedlight.frontends.formats import override
from speedlight.frontends.hf import Config, architecture, formats_of
from speedlight.frontends.hf.build import build_graph
from speedlight.frontends.zoo import zoo_entry
from speedlight.graph import stats

from .helpers import bundled, kept_bytes

GIB = 2**30


@pytest.mark.parametrize(
    ("model", "per_token"),
    [
        ("llama-2-7b", 32 * 2 * 32 * 128 * 2),  # multi-head: layers · (k, v) · heads · dim · bf16
        ("llama-3.1-8b", 32 * 2 * 8 * 128 * 2),  # grouped
        ("falcon-7b", 32 * 2 * 1 * 64 * 2),  # multi-query
        ("starcoder", 40 * 2 * 1 * 128 * 4),  # multi-query, kept in fp32 as published
        ("deepseek-v3", 61 * (512 + 64) * 2),  # latent
        ("kimi-k2", 61 * (512 + 64) * 2),
        ("deepseek-v3.2", 61 * (512 + 64 + 128) * 2),  # latent and the indexer's keys
        ("jamba-v0.1", 4 * 2 * 8 * 128 * 2),  # 4 attention layers of 32
        ("qwen3.5-27b", 16 * 2 * 4 * 256 * 2),  # 16 of 64
        ("nemotron-h-56b", 10 * 2 * 8 * 128 * 2),  # 10 of 118
        ("mamba-2.8b", 0),
        ("bert-large", 0),
    ],
)  # fmt: skip
def test_bytes_per_cached_token(model: str, per_token: int) -> None:
    assert stats.kv_bytes_per_token(bundled(model)) == per_token


def test_llama_3_8b_at_a_million_tokens_is_128_gib() -> None:
    """HeadInfer's check: 131,072 B a token · 2^20 tokens."""
    assert kept_bytes(bundled("llama-3-8b"), "kv", context=2**20) == 128 * GIB


def test_gemma_3_keeps_windows_and_global_layers() -> None:
    """27B: 62 layers, every sixth global (10), 52 with a window of 1,024; 16 key-value heads of 128."""
    context = 100_000
    per_layer_token = 2 * 16 * 128 * 2
    assert kept_bytes(bundled("gemma-3-27b"), "kv", context=context) == per_layer_token * (10 * context + 52 * 1024)


def test_gpt_oss_keeps_windows_and_global_layers() -> None:
    """120b: 36 layers, half with a window of 128; 8 key-value heads of 64."""
    context = 50_000
    assert kept_bytes(bundled("gpt-oss-120b"), "kv", context=context) == 2 * 8 * 64 * 2 * 18 * (context + 128)


def test_short_contexts_do_not_fill_windows() -> None:
    assert kept_bytes(bundled("gpt-oss-120b"), "kv", context=100) == 2 * 8 * 64 * 2 * 36 * 100


def test_llama_4_keeps_chunks() -> None:
    """Scout: 48 layers, every fourth global, 36 within chunks of 8,192; 8 key-value heads of 128."""
    context = 200_000
    assert kept_bytes(bundled("llama-4-scout"), "kv", context=context) == 2 * 8 * 128 * 2 * (12 * context + 36 * 8192)


def test_sequences_multiply() -> None:
    graph = bundled("mixtral-8x7b")
    assert kept_bytes(graph, "kv", count=7, context=333) == 7 * kept_bytes(graph, "kv", context=333)


def test_mamba_states() -> None:
    """2.8B: 64 layers, inner 5,120: 16 states a channel and 3 earlier inputs of the convolution, in fp32 as published."""
    graph = bundled("mamba-2.8b")
    one = 64 * 5120 * (16 + 3) * 4
    assert kept_bytes(graph, "state", context=10) == one
    assert kept_bytes(graph, "state", context=10_000, count=5) == 5 * one


def test_mamba_2_states() -> None:
    """Codestral: 64 layers, 128 heads of 64, 128 states, 8 groups; bf16."""
    inner = 128 * 64
    one = 64 * (inner * 128 + 3 * (inner + 2 * 8 * 128)) * 2
    assert kept_bytes(bundled("mamba-codestral-7b"), "state", context=10) == one


def test_delta_net_states_are_kept_in_fp32() -> None:
    """Qwen3.5-27B: 48 of 64 layers; 48 value heads of 128 × 128 in fp32, 3 inputs of 2·16·128 + 48·128 channels in bf16."""
    one = 48 * (48 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 48 * 128) * 2)
    assert kept_bytes(bundled("qwen3.5-27b"), "state", context=10) == one


def test_nemotron_states_follow_the_stated_format() -> None:
    """Nemotron 3 Nano: 23 Mamba-2 layers, 64 heads of 64, 128 states in fp32, the convolution's inputs in bf16."""
    inner = 64 * 64
    one = 23 * (inner * 128 * 4 + 3 * (inner + 2 * 8 * 128) * 2)
    assert kept_bytes(bundled("nemotron-3-nano-30b-a3b-bf16"), "state", context=10) == one


def test_deepseek_v4_compresses_the_far_context() -> None:
    """V4-Flash: 43 layers of 512 wide entries: a window of 128 in all; 21 layers keep one entry per 4 tokens and one of
    the indexer (128 wide), 20 one per 128."""
    context = 128 * 1000
    window = 43 * 128 * 512
    compressed = 21 * context / 4 * (512 + 128) + 20 * context / 128 * 512
    assert kept_bytes(bundled("deepseek-v4-flash"), "kv", context=context) == (window + compressed) * 2


def test_gemma_4_layers_that_share_keys_keep_none() -> None:
    shared = {
        "model_type": "gemma4_text", "vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 16, "intermediate_size": 128, "hidden_size_per_layer_input": 0,
        "layer_types": ["sliding_attention", "full_attention"] * 3, "sliding_window": 32, "num_kv_shared_layers": 2,
    }  # fmt: skip
    graph = build_graph(architecture(Config(shared)), formats_of(Config(shared)))
    assert stats.kv_bytes_per_token(graph) == 2 * (2 * 2 * 16 * 2)  # two of three global layers keep their own


def test_cache_format_is_its_own() -> None:
    config = Config(zoo_entry("llama-3.1-8b")["config"])  # type: ignore[index]
    graph = build_graph(architecture(config), override(formats_of(config), kv="fp8"))
    assert stats.kv_bytes_per_token(graph) == 131072 / 2


def test_nothing_is_cached_without_caching() -> None:
    from .helpers import at

    for name in ("llama-3.1-8b", "deepseek-v3", "qwen3.5-27b", "mamba-2.8b", "deepseek-v4-flash"):
        graph = bundled(name)
        for cls in ("kv", "state"):
            assert at(graph, stats.kept(graph, cls), new=100, caching=0) == 0


def test_bf16_deepseek_v3_weighs_1_34_tb() -> None:
    """671 B parameters of two bytes, from a configuration that is published in fp8."""
    config = Config(zoo_entry("deepseek-v3")["config"])  # type: ignore[index]
    from .helpers import at

    graph = build_graph(architecture(config), override(formats_of(config), dtype="bf16"))
    assert at(graph, stats.kept(graph, "weight")) == pytest.approx(2 * 671_026_404_352)
