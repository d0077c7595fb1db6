"""Parameter counts equal those of transformers' own models, exactly, for every family (tied weights once, no buffers).

Models are built on the meta device, so nothing is allocated. Most cases are small; ``REAL`` are published sizes. The
configuration is handed to both sides as it is, in the spelling that hub files use.
"""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import pytest

from speedlight.frontends.hf import Config, architecture, formats_of
from speedlight.frontends.hf.build import build_graph
from speedlight.graph import stats

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

S: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6}
W = {"intermediate_size": 200}
G = {"num_key_value_heads": 2}
E8 = {"num_local_experts": 8, "num_experts_per_tok": 2}
LATENT = {"kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 24}
FINE = {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 2, "moe_intermediate_size": 56,
        "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}  # fmt: skip
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 24,
         "linear_conv_kernel_dim": 4, "head_dim": 32}  # fmt: skip
QWEN_MOE = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
    "shared_expert_intermediate_size": 72,
}
HALF = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]
LOCAL = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]

SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "vocab_size": 1000, "n_embd": 96, "n_layer": 3, "n_head": 6, "n_positions": 128},
    "gpt_bigcode": {"model_type": "gpt_bigcode", "vocab_size": 1000, "n_embd": 96, "n_layer": 3, "n_head": 6},
    "gpt_bigcode-mha": {"model_type": "gpt_bigcode", "vocab_size": 1000, "n_embd": 96, "n_layer": 3, "n_head": 6,
                        "multi_query": False},
    "gpt_neo": {"model_type": "gpt_neo", "vocab_size": 1000, "hidden_size": 96, "num_layers": 4, "num_heads": 6,
                "attention_types": [[["global", "local"], 2]]},
    "gpt_neox": {"model_type": "gpt_neox", **S, **W},
    "gptj": {"model_type": "gptj", "vocab_size": 1000, "n_embd": 96, "n_layer": 3, "n_head": 6, "rotary_dim": 8},
    "codegen": {"model_type": "codegen", "vocab_size": 1000, "n_embd": 96, "n_layer": 3, "n_head": 8, "rotary_dim": 8},
    "opt": {"model_type": "opt", **S, "ffn_dim": 200, "word_embed_proj_dim": 96},
    "opt-350m-like": {"model_type": "opt", **S, "ffn_dim": 200, "word_embed_proj_dim": 48, "do_layer_norm_before": False},
    "bloom": {"model_type": "bloom", "vocab_size": 1000, "hidden_size": 96, "n_layer": 3, "n_head": 6},
    "falcon-7b-like": {"model_type": "falcon", **S},
    "falcon-40b-like": {"model_type": "falcon", **S, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon-rw-like": {"model_type": "falcon", **S, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
    "mpt": {"model_type": "mpt", "vocab_size": 1000, "d_model": 96, "n_layers": 3, "n_heads": 6},
    "llama": {"model_type": "llama", **S, **W, **G},
    "llama-biased": {"model_type": "llama", **S, **W, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "mistral": {"model_type": "mistral", **S, **W, **G, "head_dim": 32},
    "qwen2": {"model_type": "qwen2", **S, **W, **G},
    "qwen3": {"model_type": "qwen3", **S, **W, **G},
    "olmo": {"model_type": "olmo", **S, **W},
    "olmo2": {"model_type": "olmo2", **S, **W, **G},
    "olmo3": {"model_type": "olmo3", **S, **W, **G},
    "granite": {"model_type": "granite", **S, **W, **G},
    "smollm3": {"model_type": "smollm3", **S, **W, **G, "pad_token_id": 0},
    "exaone4": {"model_type": "exaone4", **S, **W, **G},
    "glm": {"model_type": "glm", **S, **W, **G, "head_dim": 16, "pad_token_id": 0},
    "glm4": {"model_type": "glm4", **S, **W, **G, "head_dim": 16, "pad_token_id": 0},
    "helium": {"model_type": "helium", **S, **W, **G, "head_dim": 16},
    "seed_oss": {"model_type": "seed_oss", **S, **W, **G, "head_dim": 32},
    "ernie4_5": {"model_type": "ernie4_5", **S, **W, **G, "head_dim": 16},
    "internlm3": {"model_type": "internlm3", **S, **W, **G, "head_dim": 16, "qkv_bias": True, "bias": True},
    "arcee": {"model_type": "arcee", **S, **W, **G, "head_dim": 16},
    "nemotron": {"model_type": "nemotron", **S, **W, **G, "head_dim": 16},
    "phi": {"model_type": "phi", **S, **W},
    "phi-qk-norm": {"model_type": "phi", **S, **W, "qk_layernorm": True},
    "phi3": {"model_type": "phi3", **S, **W, **G, "pad_token_id": 0},
    "stablelm": {"model_type": "stablelm", **S, **W, **G, "use_qkv_bias": True},
    "stablelm-parallel": {"model_type": "stablelm", **S, **W, **G, "use_parallel_residual": True, "qk_layernorm": True},
    "starcoder2": {"model_type": "starcoder2", **S, **W, **G},
    "cohere": {"model_type": "cohere", **S, **W, **G, "use_qk_norm": True},
    "cohere2": {"model_type": "cohere2", **S, **W, **G},
    "gemma": {"model_type": "gemma", **S, **W, **G, "head_dim": 32},
    "gemma2": {"model_type": "gemma2", **S, **W, **G, "head_dim": 32},
    "gemma3": {"model_type": "gemma3_text", **S, **W, **G, "head_dim": 32},
    "gemma4-dense": {"model_type": "gemma4_text", **S, **W, "num_key_value_heads": 3, "head_dim": 32, "global_head_dim": 64,
                     "num_global_key_value_heads": 2, "attention_k_eq_v": True, "hidden_size_per_layer_input": 0,
                     "layer_types": LOCAL},
    "gemma4-moe": {"model_type": "gemma4_text", **S, **W, "num_key_value_heads": 3, "head_dim": 32, "global_head_dim": 64,
                   "hidden_size_per_layer_input": 0, "layer_types": LOCAL, "enable_moe_block": True, "num_experts": 8,
                   "top_k_experts": 2, "moe_intermediate_size": 40},
    "gemma4-e2b-like": {"model_type": "gemma4_text", **S, "num_hidden_layers": 6, **W, **G, "head_dim": 32,
                        "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 500, "num_kv_shared_layers": 2,
                        "use_double_wide_mlp": True, "layer_types": ["sliding_attention", "full_attention"] * 3},
    "mixtral": {"model_type": "mixtral", **S, **W, **G, **E8},
    "qwen2_moe": {"model_type": "qwen2_moe", **S, **W, **G, **QWEN_MOE, "decoder_sparse_step": 2},
    "qwen3_moe": {"model_type": "qwen3_moe", **S, **W, **G, "num_experts": 8, "num_experts_per_tok": 2,
                  "moe_intermediate_size": 40, "mlp_only_layers": [1], "head_dim": 32},
    "olmoe": {"model_type": "olmoe", **S, **W, "num_experts": 8, "num_experts_per_tok": 2},
    "phimoe": {"model_type": "phimoe", **S, **W, **G, **E8, "attention_bias": True, "lm_head_bias": True},
    "granitemoe": {"model_type": "granitemoe", **S, **W, **G, **E8},
    "granitemoeshared": {"model_type": "granitemoeshared", **S, **W, **G, **E8, "shared_intermediate_size": 64},
    "gpt_oss": {"model_type": "gpt_oss", **S, **W, **G, **E8, "head_dim": 32, "pad_token_id": 0},
    "glm4_moe": {"model_type": "glm4_moe", **S, **W, **G, **FINE, "head_dim": 32, "use_qk_norm": True, "attention_bias": True},
    "minimax_m2": {"model_type": "minimax_m2", **S, **W, **G, **E8, "head_dim": 32, "use_qk_norm": True},
    "minimax_m3": {"model_type": "minimax_m3_vl_text", **S, **W, **G, **E8, "head_dim": 32, "dense_intermediate_size": 300,
                   "shared_intermediate_size": 64, "moe_layer_freq": [0, 1, 1, 1],
                   "sparse_attention_config": {"sparse_attention_freq": [0, 0, 1, 1], "sparse_index_dim": 16,
                                               "sparse_num_index_heads": 3}},
    "llama4": {"model_type": "llama4_text", **S, **W, **G, **E8, "head_dim": 32, "intermediate_size_mlp": 300,
               "interleave_moe_layer_step": 2, "num_experts_per_tok": 1, "pad_token_id": 0},
    # transformers fixes the windowed layers' pattern and doubles their key-value heads, as the published model does
    "mimo_v2": {"model_type": "mimo_v2_flash", **S, **W, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32,
                "v_head_dim": 24, "swa_num_attention_heads": 8, "swa_num_key_value_heads": 4, "swa_head_dim": 32,
                "swa_v_head_dim": 24, "hybrid_layer_pattern": [0, 1, 1, 1], "moe_layer_freq": [0, 1, 1, 1], "n_routed_experts": 8,
                "num_experts_per_tok": 2, "moe_intermediate_size": 40, "sliding_window": 64},
    "deepseek_v2": {"model_type": "deepseek_v2", **S, **W, **LATENT, **FINE},
    "deepseek_v2-lite-like": {"model_type": "deepseek_v2", **S, **W, **LATENT, **FINE, "q_lora_rank": None},
    "deepseek_v3": {"model_type": "deepseek_v3", **S, **W, **LATENT, **FINE},
    "deepseek_v32": {"model_type": "deepseek_v32", **S, **W, **LATENT, **FINE, "index_n_heads": 3, "index_head_dim": 16,
                     "index_topk": 64},
    "glm5": {"model_type": "glm_moe_dsa", **S, **W, **LATENT, **FINE, "index_n_heads": 3, "index_head_dim": 16,
             "index_topk": 64, "indexer_types": ["full", "full", "shared", "shared"]},
    "glm4_moe_lite": {"model_type": "glm4_moe_lite", **S, **W, **LATENT, **FINE},
    "minicpm3": {"model_type": "minicpm3", **S, **W, **LATENT},
    "deepseek_v4": {"model_type": "deepseek_v4", **S, "num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 48,
                    "qk_rope_head_dim": 8, "o_groups": 2, "o_lora_rank": 20, "n_routed_experts": 8, "n_shared_experts": 1,
                    "num_experts_per_tok": 2, "moe_intermediate_size": 40, "index_n_heads": 3, "index_head_dim": 16,
                    "index_topk": 64, "sliding_window": 32, "hc_mult": 4, "compress_ratios": [0, 4, 128, 4]},
    "mamba": {"model_type": "mamba", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 3, "state_size": 8},
    "mamba2": {"model_type": "mamba2", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 3, "num_heads": 12,
               "head_dim": 16, "n_groups": 2, "state_size": 24},
    "falcon_mamba": {"model_type": "falcon_mamba", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 3},
    "jamba": {"model_type": "jamba", **S, **W, **G, "num_hidden_layers": 8, "num_experts": 4, "mamba_d_state": 8,
              "mamba_dt_rank": 6, "use_mamba_kernels": False},
    "bamba": {"model_type": "bamba", **S, **W, **G, "mamba_n_heads": 12, "mamba_d_head": 16, "mamba_n_groups": 2,
              "mamba_d_state": 24, "attn_layer_indices": [2]},
    "granite4": {"model_type": "granitemoehybrid", **S, **W, **G, **E8, "mamba_n_heads": 12, "mamba_d_head": 16,
                 "mamba_d_state": 24, "shared_intermediate_size": 64, "layer_types": ["mamba", "mamba", "attention", "mamba"]},
    "nemotron_h": {"model_type": "nemotron_h", **S, **W, **G, "head_dim": 32, "hybrid_override_pattern": "M-M*",
                   "mamba_num_heads": 12, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 24},
    "nemotron3": {"model_type": "nemotron_h", **S, **W, **G, "head_dim": 32, "hybrid_override_pattern": "MEM*",
                  "mamba_num_heads": 12, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 24, "n_routed_experts": 8,
                  "num_experts_per_tok": 2, "moe_intermediate_size": 40, "moe_shared_expert_intermediate_size": 72,
                  "moe_latent_size": 32},
    "qwen3_next": {"model_type": "qwen3_next", **S, **W, **G, **DELTA, **QWEN_MOE, "layer_types": HALF},
    "qwen3_5": {"model_type": "qwen3_5_text", **S, **W, **G, **DELTA, "layer_types": HALF},
    "qwen3_5_moe": {"model_type": "qwen3_5_moe_text", **S, **G, **DELTA, **QWEN_MOE, "layer_types": HALF},
    "kimi_linear": {"model_type": "kimi_linear", **S, **W, **LATENT, "num_experts": 8, "num_experts_per_token": 2,
                    "moe_intermediate_size": 40, "num_shared_experts": 2, "pad_token_id": 0, "bos_token_id": 1,
                    "eos_token_id": 2, "linear_attn_config": {"full_attn_layers": [4], "kda_layers": [1, 2, 3], "num_heads": 3,
                                                              "head_dim": 16, "short_conv_kernel_size": 4}},
    "bert": {"model_type": "bert", **S, **W},
    "roberta": {"model_type": "roberta", **S, **W, "type_vocab_size": 1, "max_position_embeddings": 130},
    "distilbert": {"model_type": "distilbert", "vocab_size": 1000, "dim": 96, "n_layers": 3, "n_heads": 6, "hidden_dim": 200},
    "electra": {"model_type": "electra", **S, **W, "embedding_size": 40},
    "electra-generator": {"model_type": "electra", **S, **W, "embedding_size": 40, "architectures": ["ElectraForMaskedLM"]},
    "modernbert": {"model_type": "modernbert", **S, **W, "pad_token_id": 0},
    "vit": {"model_type": "vit", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, **W, "image_size": 64,
            "num_labels": 10},
    "deit": {"model_type": "deit", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, **W, "image_size": 64,
             "num_labels": 10},
    "clip": {"model_type": "clip", "projection_dim": 64,
             "vision_config": {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, **W, "image_size": 64,
                               "patch_size": 16},
             "text_config": {**S, **W}},
}  # fmt: skip

# Published sizes: transformers' class defaults (they are those of a well-known checkpoint), or the sizes of a model card.
REAL: dict[str, tuple[dict[str, Any], int]] = {
    "gpt2": ({"model_type": "gpt2"}, 124_439_808),
    "gpt2-xl": ({"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25}, 1_557_611_200),
    "bert-base": ({"model_type": "bert"}, 109_514_298),
    "vit-b-16": ({"model_type": "vit", "num_labels": 1000}, 86_567_656),
    "clip-vit-l-14": (
        {"model_type": "clip", "projection_dim": 768,
         "vision_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
                           "patch_size": 14},
         "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}}, 427_616_513),
    "opt-125m": ({"model_type": "opt"}, 125_239_296),
    "mamba-130m": ({"model_type": "mamba", "num_hidden_layers": 24}, 129_135_360),
    "llama-2-7b": ({"model_type": "llama"}, 6_738_415_616),
    "llama-3.1-8b": ({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                      "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}, 8_030_261_248),
    "mistral-7b": ({"model_type": "mistral"}, 7_241_732_096),
    "mixtral-8x7b": ({"model_type": "mixtral"}, 46_702_792_704),
    "phi-2": ({"model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
               "num_attention_heads": 32}, 2_779_683_840),
    "phi-3-mini": ({"model_type": "phi3"}, 3_821_079_552),
    "gemma-7b": ({"model_type": "gemma"}, 8_537_680_896),
    "gemma-2-2b": ({"model_type": "gemma2"}, 2_614_341_888),
    "falcon-7b": ({"model_type": "falcon"}, 6_921_720_704),
    "gpt-j-6b": ({"model_type": "gptj"}, 6_050_882_784),
    "gpt-neox-20b": ({"model_type": "gpt_neox"}, 20_554_567_680),
    "gpt-oss-20b": ({"model_type": "gpt_oss", "num_hidden_layers": 24, "num_local_experts": 32}, 20_914_757_184),
    "deepseek-v3": ({"model_type": "deepseek_v3"}, 671_026_404_352),
    "qwen3-next-80b": ({"model_type": "qwen3_next"}, 79_674_391_296),
    "command-r": ({"model_type": "cohere"}, 34_980_831_232),
}  # fmt: skip


def reference(config: dict[str, Any]) -> int:
    """Parameters of transformers' model of this configuration."""
    fields = copy.deepcopy(config)
    kind = fields.pop("model_type")
    name = (fields.pop("architectures", None) or [""])[0]
    auto = transformers.AutoModelForCausalLM
    if kind in ("bert", "roberta", "distilbert", "modernbert") or name.endswith("MaskedLM"):
        auto = transformers.AutoModelForMaskedLM
    elif kind == "electra":
        auto = transformers.AutoModelForPreTraining
    elif kind in ("vit", "deit"):
        auto = transformers.AutoModelForImageClassification
        if kind == "deit":
            auto = transformers.DeiTForImageClassification
    elif kind in ("clip", "minimax_m3_vl_text"):
        auto = transformers.AutoModel
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        made = transformers.AutoConfig.for_model(kind, **fields)
        model = auto._from_config(made) if auto is transformers.DeiTForImageClassification else auto.from_config(made)
    seen: dict[int, int] = {id(p): p.numel() for p in model.parameters()}
    count = sum(seen.values())
    if kind == "minimax_m3_vl_text":  # transformers has no language model of its own here: add the head
        count += made.vocab_size * made.hidden_size
    return count


def ours(config: dict[str, Any]) -> int:
    """Parameters of our graph."""
    c = Config(config)
    return stats.parameters(build_graph(architecture(c), formats_of(c)))


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.logging.set_verbosity_error()


@pytest.mark.parametrize("name", SMALL)
def test_small_models_have_exactly_as_many_parameters(name: str) -> None:
    config = SMALL[name]
    assert ours(config) == reference(config)


@pytest.mark.parametrize("name", REAL)
def test_published_sizes(name: str) -> None:
    """The published count, transformers' model and ours are one number."""
    config, published = REAL[name]
    assert reference(config) == published
    made = transformers.AutoConfig.for_model(
        config["model_type"], **{k: v for k, v in config.items() if k != "model_type"}
    )
    stated = made.to_dict() if config["model_type"] != "clip" else config
    assert ours({**stated, **config}) == published


def test_enough_architectures() -> None:
    kinds = {re.sub(r"_text$", "", c["model_type"]) for c in SMALL.values()}
    assert len(kinds) >= 45
