"""Malformed configurations are refused with a message that names the field, the value and what was expected."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile, BadInput
from speedlight.frontends.hf import Config, architecture, formats_of, read_config
from speedlight.frontends.hf.build import build_graph
from speedlight.frontends.zoo import zoo_entry

LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 2, "intermediate_size": 200,
}  # fmt: skip
MOE = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
V3 = {
    **LLAMA, "model_type": "deepseek_v3", "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 24, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 40,
}  # fmt: skip
OSS = {**MOE, "model_type": "gpt_oss", "head_dim": 16, "sliding_window": 32}
NEMOTRON = {
    **LLAMA, "model_type": "nemotron_h", "hybrid_override_pattern": "M-M*", "mamba_num_heads": 12, "mamba_head_dim": 16,
    "n_groups": 2,
}  # fmt: skip
NEXT = {**LLAMA, "model_type": "qwen3_5_text", "head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
V4 = {
    **LLAMA, "model_type": "deepseek_v4", "head_dim": 32, "q_lora_rank": 48, "o_groups": 2, "o_lora_rank": 20,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "index_n_heads": 3, "index_head_dim": 16,
    "index_topk": 64, "compress_ratios": [0, 4, 128, 4],
}  # fmt: skip
VIT = {
    "model_type": "vit", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 200,
    "num_labels": 10,
}  # fmt: skip
DIT = {"model_type": "diffusion_transformer", "hidden_size": 128, "blocks": 2, "num_attention_heads": 2, "head_dim": 64}


def load(config: Any) -> None:
    c = Config(config)
    build_graph(architecture(c), formats_of(c))


@pytest.mark.parametrize(
    ("base", "change", "named"),
    [
        (LLAMA, {"hidden_size": None}, "hidden_size"),
        (LLAMA, {"hidden_size": "4096"}, "hidden_size"),
        (LLAMA, {"hidden_size": 0}, "hidden_size"),
        (LLAMA, {"hidden_size": -96}, "hidden_size"),
        (LLAMA, {"hidden_size": 96.5}, "hidden_size"),
        (LLAMA, {"hidden_size": True}, "hidden_size"),
        (LLAMA, {"hidden_size": math.inf}, "hidden_size"),
        (LLAMA, {"hidden_size": math.nan}, "hidden_size"),
        (LLAMA, {"hidden_size": 10**12}, "hidden_size"),
        (LLAMA, {"hidden_size": [96]}, "hidden_size"),
        (LLAMA, {"hidden_size": 97}, "num_attention_heads"),
        (LLAMA, {"num_attention_heads": 0}, "num_attention_heads"),
        (LLAMA, {"num_key_value_heads": 4}, "num_key_value_heads"),
        (LLAMA, {"num_key_value_heads": 12}, "num_key_value_heads"),
        (LLAMA, {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        (LLAMA, {"num_hidden_layers": None}, "num_hidden_layers"),
        (LLAMA, {"num_hidden_layers": "many"}, "num_hidden_layers"),
        (LLAMA, {"vocab_size": None}, "vocab_size"),
        (LLAMA, {"vocab_size": {}}, "vocab_size"),
        (LLAMA, {"intermediate_size": None}, "intermediate_size"),
        (LLAMA, {"head_dim": -1}, "head_dim"),
        (LLAMA, {"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        (LLAMA, {"torch_dtype": "float17"}, "torch_dtype"),
        (LLAMA, {"model_type": 7}, "model_type"),
        (MOE, {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        (MOE, {"num_local_experts": None}, "num_local_experts"),
        (MOE, {"num_experts_per_tok": 0}, "num_experts_per_tok"),
        (V3, {"kv_lora_rank": None}, "kv_lora_rank"),
        (V3, {"moe_intermediate_size": None}, "moe_intermediate_size"),
        (V3, {"moe_layer_freq": [1, 1]}, "moe_layer_freq"),
        (V3, {"mlp_layer_types": ["dense", "wide", "sparse", "sparse"]}, "mlp_layer_types"),
        (OSS, {"layer_types": ["full_attention"] * 3}, "layer_types"),
        (OSS, {"layer_types": ["full_attention"] * 3 + ["spiral"]}, "layer_types[3]"),
        (OSS, {"layer_types": "full_attention"}, "layer_types"),
        (OSS, {"sliding_window": -5}, "sliding_window"),
        (NEMOTRON, {"hybrid_override_pattern": "MX*-"}, "hybrid_override_pattern"),
        (NEMOTRON, {"hybrid_override_pattern": "M-"}, "hybrid_override_pattern"),
        (NEMOTRON, {"n_groups": 5}, "n_groups"),
        (NEXT, {"linear_num_value_heads": 3}, "linear_num_value_heads"),
        (NEXT, {"rope_parameters": {"partial_rotary_factor": 3}}, "partial_rotary_factor"),
        (V4, {"o_groups": 4}, "o_groups"),
        (V4, {"compress_ratios": [0, 4, "x", 4]}, "compress_ratios[2]"),
        (VIT, {"image_size": 8}, "patch_size"),
        (VIT, {"patch_size": [16, 14]}, "patch_size"),
        (DIT, {"num_attention_heads": 3}, "num_attention_heads"),
        (DIT, {"blocks": 0}, "blocks"),
        (LLAMA, {"quantization_config": {"quant_method": "magic"}}, "magic"),
        (LLAMA, {"quantization_config": {"quant_method": "gptq", "bits": 5}}, "gptq"),
        (LLAMA, {"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        (LLAMA, {"hf_quant_config": {"quantization": {"quant_algo": "FP7"}}}, "FP7"),
        (LLAMA, {"text_config": {"hidden_size": "big"}}, "hidden_size"),
        ({}, {}, "no fields"),
    ],
    ids=lambda v: json.dumps(v, default=str)[:40] if isinstance(v, dict) and len(v) < 3 else None,
)  # fmt: skip
def test_the_message_names_the_field(base: dict[str, Any], change: dict[str, Any], named: str) -> None:
    config = {**copy.deepcopy(base), **change}
    with pytest.raises(BadInput) as caught:
        load({k: v for k, v in config.items() if v is not None or k not in change})
    assert named in caught.value.message
    assert caught.value.expected


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"hidden_size": 64}, ("num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")),
        ({"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100}, ("intermediate_size",)),
        ({"d_model": 64, "vocab_size": 100, "ffn_dim": 128, "num_layers": 2}, ("num_attention_heads",)),
    ],
)
def test_an_unknown_type_with_too_few_fields_names_them_all(fields: dict[str, Any], missing: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        load({"model_type": "brand_new", **fields})
    assert "brand_new" in caught.value.message
    assert all(name in caught.value.expected for name in missing)


def test_encoder_decoders_are_said_to_be_none_of_ours() -> None:
    with pytest.raises(BadInput, match="encoder–decoder"):
        load({**LLAMA, "model_type": "t6", "is_encoder_decoder": True})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSON"), ("{", "JSON"), ("[1, 2]", "list"), ('"llama"', "str"), ("null", "NoneType"), ("{" * 100_000, "JSON"),
        ("[" * 100_000, "nested"), ('{"a": ' + "9" * 5000 + "}", "usable"),
    ],
)  # fmt: skip
def test_files_that_are_no_configuration(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(BadFile) as caught:
        read_config(file)
    assert named.lower() in str(caught.value).lower()


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="does not exist"):
        read_config(tmp_path / "nothing.json")
    with pytest.raises(BadFile, match="does not exist"):
        read_config(tmp_path)  # a folder without config.json
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadFile, match="UTF-8"):
        read_config(tmp_path)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([10**6, 10**9, 10**30, -(10**30), 1.5, math.inf, math.nan]),
    st.sampled_from(["", "x", "12", "full_attention", "auto", "float32"]),
    st.lists(st.sampled_from([0, 1, -1, "x", None, "full_attention", 2.5]), max_size=5),
    st.sampled_from([{}, {"x": 1}, {"weights": 3}, {"partial_rotary_factor": "a"}, {"quantization": []}, {"quant_method": "fp8"}]),
)  # fmt: skip
MUTATED = [
    "llama-3.1-8b", "gpt2", "falcon-7b", "opt-125m", "bloom-560m", "mpt-7b", "gemma-3-1b", "gemma-4-26b-a4b", "mixtral-8x7b",
    "qwen2.5-0.5b", "qwen3-30b-a3b", "qwen3.5-27b", "qwen3-vl-2b-instruct", "gpt-oss-20b", "deepseek-v3", "deepseek-v3.2",
    "deepseek-v4-flash", "kimi-k3", "kimi-linear-48b-a3b", "minimax-m3", "llama-4-scout", "mimo-v2-flash", "step-3.7-flash",
    "mamba-130m", "mamba-codestral-7b", "jamba-v0.1", "bamba-9b", "nemotron-3-nano-30b-a3b-nvfp4", "nemotron-super-49b-v1",
    "bert-base", "electra-small", "modernbert-base", "vit-b-16", "clip-vit-b-32", "flux.1-dev", "sana1.5-1.6b-1024px",
    "qwen3.6-27b-nvfp4", "kimi-k2.5", "minimax-m3-nvfp4", "t5-small", "switch-base-8", "bart-base", "whisper-tiny",
    "wav2vec2-base", "deberta-v3-small", "siglip-base-patch16-224", "llava-1.5-7b", "qwen2-vl-2b", "qwen2.5-vl-3b",
    "rwkv-6-world-1b6", "retnet-base", "sd-1.5", "sd-vae", "stable-diffusion-3.5-medium", "pixart-sigma-xl-2-1024-ms",
    "dit-xl-2-256", "wan2.1-t2v-1.3b", "ltx-video", "cogvideox1.5-5b", "hunyuanvideo", "mochi-1-preview",
]  # fmt: skip


@pytest.mark.parametrize("name", MUTATED)
@given(data=st.data())
def test_junk_in_any_field_is_refused_or_harmless(name: str, data: st.DataObject) -> None:
    """Whatever one field holds, the answer is a graph or BadInput, never a bare exception."""
    entry = zoo_entry(name)
    assert entry is not None
    config = entry["config"]
    places = [(config, k) for k in config]
    for value in config.values():
        if isinstance(value, dict):
            places += [(value, k) for k in value]
    inner, key = data.draw(st.sampled_from(places))
    inner[key] = data.draw(JUNK)
    with contextlib.suppress(BadInput):
        load(config)
