"""How model types find their family, and what is assumed where nobody registered one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from speedlight.frontends.hf import Config, architecture
from speedlight.frontends.hf.arch import Arch, Attention, Mla, Mlp, Moe
from speedlight.frontends.hf.families import _MODULES, MODULE_OF, family_of
from speedlight.graph import stats

from .helpers import graph_of

UNKNOWN: dict[str, Any] = {"model_type": "brand_new", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 4,
                           "num_attention_heads": 6, "intermediate_size": 200}  # fmt: skip


@pytest.mark.parametrize("module", _MODULES)
def test_the_table_is_in_step_with_the_modules(module: str) -> None:
    families = import_module(f"speedlight.frontends.hf.families.{module}").FAMILIES
    assert set(families) == {name for name, where in MODULE_OF.items() if where == module}


def test_no_type_is_claimed_twice() -> None:
    names = " ".join(_MODULES.values()).split()
    assert len(names) == len(set(names))


def test_a_family_costs_its_own_module_only() -> None:
    assert family_of("llama") is not None
    assert family_of("nobody") is None


def assumed(arch: Arch) -> dict[str, Any]:
    return dict(arch.assumptions)


def test_an_unknown_dense_decoder_is_read_like_llama() -> None:
    known = graph_of({**UNKNOWN, "model_type": "llama", "num_key_value_heads": 2})
    arch = architecture(Config({**UNKNOWN, "num_key_value_heads": 2}))
    assert stats.parameters(graph_of({**UNKNOWN, "num_key_value_heads": 2})) == stats.parameters(known)
    assert "brand_new" in assumed(arch)["model_type"]
    assert {"attention", "feed-forward", "tie_word_embeddings"} <= set(assumed(arch))


def test_older_field_names() -> None:
    arch = architecture(Config({"model_type": "x", "n_embd": 96, "n_layer": 3, "n_head": 6, "n_inner": 300, "vocab_size": 50,
                                "activation_function": "gelu_new", "tie_word_embeddings": True}))  # fmt: skip
    assert arch.layers[0].ffn == Mlp(300, "gelu_tanh", False)
    assert arch.tied
    assert len(arch.layers) == 3


def test_an_unknown_mixture() -> None:
    arch = architecture(Config({**UNKNOWN, "num_experts": 16, "moe_topk": 4, "moe_intermediate_size": 40, "n_shared_experts": 2,
                                "first_k_dense_replace": 1}))  # fmt: skip
    assert [type(y.ffn) for y in arch.layers] == [Mlp, Moe, Moe, Moe]
    assert arch.layers[1].ffn == Moe(16, 4, 40, "silu", True, shared_width=80)
    assert "16 of width 40" in assumed(arch)["experts"]


def test_unknown_latent_attention() -> None:
    arch = architecture(Config({**UNKNOWN, "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
                                "v_head_dim": 16}))  # fmt: skip
    assert isinstance(arch.layers[0].mixer, Mla)
    assert "kv_lora_rank" in assumed(arch)["attention"]


def test_a_nested_language_model_of_an_unknown_type() -> None:
    """Outer type unknown, inner known: the inner family reads it, and the tower is said to be left out."""
    inner = {**UNKNOWN, "model_type": "qwen3", "head_dim": 16}
    arch = architecture(Config({"model_type": "new_vl", "text_config": inner, "vision_config": {"depth": 3}}))
    assert arch.family == "qwen3"
    assert "vision_config" in assumed(arch)["multi-modal parts"]


def test_windows_alternate_as_the_family_has_it() -> None:
    gemma = architecture(Config({**UNKNOWN, "model_type": "gemma3_text", "num_hidden_layers": 12, "head_dim": 16,
                                 "sliding_window": 32}))  # fmt: skip
    windows = [y.mixer.window for y in gemma.layers]
    assert windows == [32, 32, 32, 32, 32, None] * 2
    qwen = {**UNKNOWN, "model_type": "qwen2", "sliding_window": 32, "max_window_layers": 2}
    assert all(y.mixer.window is None for y in architecture(Config(qwen)).layers)
    on = architecture(Config({**qwen, "use_sliding_window": True}))
    assert [y.mixer.window for y in on.layers] == [None, None, 32, 32]


def test_mistral_without_a_window() -> None:
    arch = architecture(Config({**UNKNOWN, "model_type": "mistral", "sliding_window": None}))
    assert isinstance(arch.layers[0].mixer, Attention)
    assert arch.layers[0].mixer.window is None


def test_multi_token_prediction_is_said_to_be_left_out() -> None:
    arch = architecture(Config({**UNKNOWN, "num_nextn_predict_layers": 1}))
    assert "1 layers" in assumed(arch)["multi-token prediction"]


def test_a_searched_architecture_folds_its_equal_layers() -> None:
    block = {"attention": {"n_heads_in_group": 3}, "ffn": {"ffn_mult": 2.0}}
    empty = {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.0}}
    config = {
        **UNKNOWN,
        "model_type": "nemotron-nas",
        "block_configs": [block, empty, block, {**block, "ffn": {"no_op": True}}],
    }
    graph = graph_of(config)
    assert [b.layers for b in graph.blocks if b.layers] == [(0, 2), (1,), (3,)]
