"""Each ``model_type`` as an architecture: small functions from a configuration to an :class:`~..arch.Arch`.

A module holds one lineage; a model costs the import of its own module only. Each module's ``FAMILIES`` maps model types
to functions, and the table here says which module to open (a test keeps the two in step).
"""

from __future__ import annotations

from importlib import import_module

from .common import Family

_MODULES: dict[str, str] = {
    "llama_like": "llama mistral ministral ministral3 yi aquila internlm internlm2 internlm3 codellama code_llama "
    "granite helium seed_oss smollm3 ernie4_5 arcee xverse mimo qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl "
    "qwen2_5_vl_text qwen3 qwen3_vl qwen3_vl_text olmo olmo2 olmo3 exaone4 exaone glm glm4 phi3 phi "
    "stablelm starcoder2 nemotron cohere cohere2",
    "gpt": "gpt2 gpt-sw3 gpt_bigcode gpt_neo gpt_neox gptj codegen opt bloom falcon refinedweb refinedwebmodel "
    "RefinedWeb RefinedWebModel mpt",
    "gemma": "gemma gemma2 gemma3 gemma3_text gemma4 gemma4_text",
    "sparse": "mixtral qwen2_moe qwen3_moe qwen3_vl_moe qwen3_vl_moe_text olmoe phimoe granitemoe granitemoeshared "
    "gpt_oss glm4_moe minimax_m2 minimax_m3 minimax_m3_vl minimax_m3_vl_text llama4 llama4_text "
    "mimo_v2_flash step3p5 step3p7",
    "latent": "deepseek_v2 deepseek_v3 kimi_k2 kimi_k25 glm4_moe_lite deepseek_v32 glm_moe_dsa minicpm3 deepseek_v4 "
    "deepseek_ref",
    "hybrid": "mamba falcon_mamba mamba2 jamba bamba granitemoehybrid nemotron_h",
    "delta": "qwen3_next qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text kimi_linear kimi_k3",
    "searched": "nemotron-nas deci",
    "encoders": "bert roberta xlm-roberta camembert megatron-bert distilbert electra modernbert deberta deberta-v2",
    "vision": "vit deit clip_vision_model clip_text_model clip siglip siglip_vision_model siglip_text_model",
    "speech": "wav2vec2 hubert",
    "recurrent": "rwkv rwkv5 rwkv6 retnet",
    "seq2seq": "t5 mt5 umt5 switch_transformers bart mbart marian pegasus plbart whisper",
    "diffusion": "diffusion_transformer",
    "denoisers": "FluxTransformer2DModel SD3Transformer2DModel HunyuanVideoTransformer3DModel MochiTransformer3DModel "
    "DiTTransformer2DModel PixArtTransformer2DModel WanTransformer3DModel LTXVideoTransformer3DModel "
    "CogVideoXTransformer3DModel UNet2DConditionModel AutoencoderKL",
}
MODULE_OF: dict[str, str] = {name: module for module, names in _MODULES.items() for name in names.split()}

# Two-tower and vision models: their own outer fields, not those of a nested language model.
WHOLE = frozenset({"clip", "siglip"})


def family_of(model_type: str) -> Family | None:
    """The function that reads this model type, or None where nobody does."""
    module = MODULE_OF.get(model_type)
    if module is None:
        return None
    families: dict[str, Family] = import_module(f".{module}", __name__).FAMILIES
    return families[model_type]
