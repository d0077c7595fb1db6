"""The models that calibration is judged by: factories of modules with random weights, none of them used to calibrate.

timm's models are named in :mod:`.cases`; here are the others, from their libraries' configurations. Each is a function without
arguments, so that ``speedlight measure benchmarks/here/models.py:bert_small --input 8x128:int64`` runs a single one of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn


class Output(nn.Module):
    """A module of transformers or diffusers whose output is one tensor."""

    def __init__(self, module: nn.Module, field: str, **fixed: Any) -> None:
        super().__init__()
        self.module, self.field, self.fixed = module, field, fixed

    def forward(self, *args: Any) -> Any:
        return getattr(self.module(*args, **self.fixed), self.field)


def _language(kind: str, field: str = "logits", **sizes: Any) -> nn.Module:
    import transformers

    config, model = (getattr(transformers, name) for name in kind.split("/"))
    return Output(model(config(**sizes)), field, **({"use_cache": False} if field == "logits" and "LM" in kind else {}))


def bert_base() -> nn.Module:
    return _language("BertConfig/BertModel", "last_hidden_state")


def bert_small() -> nn.Module:
    sizes = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
    return _language("BertConfig/BertModel", "last_hidden_state", **sizes)


def distilbert() -> nn.Module:
    return _language("DistilBertConfig/DistilBertModel", "last_hidden_state")


def roberta_mini() -> nn.Module:
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    return _language("RobertaConfig/RobertaModel", "last_hidden_state", **sizes)


def albert() -> nn.Module:
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    return _language("AlbertConfig/AlbertModel", "last_hidden_state", **sizes)


def electra_small() -> nn.Module:
    return _language("ElectraConfig/ElectraModel", "last_hidden_state")


def gpt2() -> nn.Module:
    return _language("GPT2Config/GPT2LMHeadModel")


def gpt2_mini() -> nn.Module:
    return _language("GPT2Config/GPT2LMHeadModel", n_embd=256, n_layer=4, n_head=4, vocab_size=8000)


def opt_125m() -> nn.Module:
    return _language(
        "OPTConfig/OPTForCausalLM", hidden_size=768, num_hidden_layers=12, ffn_dim=3072, num_attention_heads=12
    )


def pythia_70m() -> nn.Module:
    sizes = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "intermediate_size": 2048}
    return _language("GPTNeoXConfig/GPTNeoXForCausalLM", vocab_size=50304, **sizes)


def qwen2_half() -> nn.Module:
    """The sizes of Qwen2-0.5B."""
    sizes = {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
    return _language(
        "Qwen2Config/Qwen2ForCausalLM", intermediate_size=4864, vocab_size=151936, tie_word_embeddings=True, **sizes
    )


def qwen3_small() -> nn.Module:
    sizes = {
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
    }
    return _language("Qwen3Config/Qwen3ForCausalLM", intermediate_size=1536, vocab_size=32000, **sizes)


def llama_stories() -> nn.Module:
    sizes = {"hidden_size": 288, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 768}
    return _language("LlamaConfig/LlamaForCausalLM", vocab_size=32000, **sizes)


def t5_encoder() -> nn.Module:
    return _language("T5Config/T5EncoderModel", "last_hidden_state", d_model=512, num_layers=6, num_heads=8, d_ff=2048)


def clip_vision() -> nn.Module:
    sizes = {"hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "intermediate_size": 1536}
    return _language("CLIPVisionConfig/CLIPVisionModel", "last_hidden_state", patch_size=16, **sizes)


def mamba() -> nn.Module:
    return _language("MambaConfig/MambaForCausalLM", hidden_size=256, num_hidden_layers=2, vocab_size=8000)


def whisper_encoder() -> nn.Module:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return Output(WhisperEncoder(WhisperConfig()), "last_hidden_state")


def unet() -> nn.Module:
    from diffusers import UNet2DModel

    made = UNet2DModel(
        sample_size=32, block_out_channels=(64, 128, 256), layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return Diffusion(made)


def unet_text() -> nn.Module:
    from diffusers import UNet2DConditionModel

    made = UNet2DConditionModel(
        sample_size=32, block_out_channels=(96, 192, 384), layers_per_block=1, cross_attention_dim=256, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    return Diffusion(made)


class Diffusion(nn.Module):
    """One denoising step at a fixed time."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, sample: Any, text: Any = None) -> Any:
        more = () if text is None else (text,)
        return self.module(sample, 10, *more, return_dict=False)[0]


def vae_decoder() -> nn.Module:
    from diffusers import AutoencoderKL

    made = AutoencoderKL(
        block_out_channels=(64, 128, 128), layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    return nn.Sequential(made.post_quant_conv, made.decoder)


class Tagger(nn.Module):
    """Words through recurrent layers to tags."""

    def __init__(self, kind: str, words: int, width: int, layers: int, both: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.layers = getattr(nn, kind)(width, width, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(width * (1 + both), 64)

    def forward(self, words: Any) -> Any:
        return self.head(self.layers(self.table(words))[0])


def lstm() -> nn.Module:
    return Tagger("LSTM", 20000, 384, 2, False)


def bilstm() -> nn.Module:
    return Tagger("LSTM", 20000, 192, 1, True)


def gru() -> nn.Module:
    return Tagger("GRU", 20000, 320, 2, False)


class Ranking(nn.Module):
    """Dense features and bags of ids, as in recommendation."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(100_000, 32) for _ in range(8))
        self.below = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 32), nn.ReLU())
        self.above = nn.Sequential(nn.Linear(32 + 36, 256), nn.ReLU(), nn.Linear(256, 1))

    def forward(self, dense: Any, ids: Any) -> Any:
        x = self.below(dense)
        all_of = torch.stack([x, *(t(ids[:, i]) for i, t in enumerate(self.tables))], 1)
        pairs = torch.bmm(all_of, all_of.transpose(1, 2))
        rows, columns = torch.tril_indices(9, 9, -1)
        return self.above(torch.cat([x, pairs[:, rows, columns]], 1))


def ranking() -> nn.Module:
    return Ranking()


def classic() -> nn.Module:
    """A plain perceptron."""
    widths = (784, 2048, 2048, 1024, 10)
    return nn.Sequential(*(m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.GELU())))
