"""Modules to capture: (factory, inputs) by name. Small, but of every shape that models come in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

EXAMPLES = Path(__file__).parents[3] / "examples"


class SelfAttention(nn.Module):
    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.weights = weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=self.weights)[0]


class GroupedCausal(nn.Module):
    """Causal attention, four query heads on two key/value heads."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, 4, 16).transpose(1, 2)
        k, v = (p(x).view(b, t, 2, 16).transpose(1, 2) for p in (self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return y.transpose(1, 2).reshape(b, t, 64)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.TransformerDecoder(nn.TransformerDecoderLayer(64, 4, 128, batch_first=True), 3)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.layers(x, memory)


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 16, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bhi,hio->bho", x, self.weight)


class Branches(nn.Module):
    """Slices, concatenation, a shared layer, an in-place sum into part of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Linear(16, 32), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.first(x).chunk(2, dim=-1)
        out = torch.cat([self.shared(left), self.shared(right)], dim=-1)
        out[:, :16] += left
        return out


def sequence(*parts: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*copy.deepcopy(parts))  # a capture may change what it is given


def hugging(name: str, config: str, **sizes: Any) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        import transformers

        made = getattr(transformers, config)(**sizes)
        made.use_cache = False
        return getattr(transformers, name)(made)

    return factory


SMALL = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 100,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
VISION = {k: SMALL[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")} | {
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
TOKENS = "2x16:int64"

MODULES: dict[str, tuple[Any, list[str]]] = {
    "mlp": (f"{EXAMPLES}/mlp.py:mlp", ["4x784"]),
    "mlp on sequences": (sequence(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 10)), ["4x7x32"]),
    "conv": (
        sequence(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 16, 3, 2),
                 nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)), ["2x3x20x24"]),
    "dilated": (sequence(nn.Conv2d(8, 16, 3, dilation=2), nn.LeakyReLU(), nn.MaxPool2d(2)), ["2x8x20x24"]),
    "transposed": (sequence(nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.Tanh(), nn.ConvTranspose2d(16, 4, 3)), ["2x8x20x24"]),
    "conv1d": (sequence(nn.Conv1d(8, 16, 5, 2), nn.GroupNorm(4, 16), nn.Conv1d(16, 8, 3)), ["2x8x50"]),
    "conv3d": (sequence(nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 8, (1, 3, 3))),
               ["2x3x6x10x12"]),
    "attention with weights": (lambda: SelfAttention(True), ["2x10x64"]),
    "attention": (lambda: SelfAttention(False), ["2x10x64"]),
    "grouped causal attention": (GroupedCausal, ["2x10x64"]),
    "encoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 4), ["2x10x64"]),
    "decoder": (Decoder, ["2x10x64", "2x12x64"]),
    "einsum": (Einsum, ["4x8x16"]),
    "branches": (Branches, ["4x16"]),
    "resnet18": (f"{EXAMPLES}/resnet.py:resnet18", ["1x3x64x64"]),
    "resnet50": (f"{EXAMPLES}/resnet.py:resnet50", ["1x3x224x224"]),
    "vit": (f"{EXAMPLES}/vit.py:vit_b_16", ["1x3x224x224"]),
    "unet": (f"{EXAMPLES}/unet.py:unet_small", ["2x3x64x64"]),
    "gpt2": (hugging("GPT2LMHeadModel", "GPT2Config", n_embd=64, n_layer=3, n_head=4, vocab_size=100, n_positions=64,
                     bos_token_id=1, eos_token_id=2), [TOKENS]),
    "bert": (hugging("BertModel", "BertConfig", **SMALL), [TOKENS]),
    "llama": (hugging("LlamaForCausalLM", "LlamaConfig", **SMALL, num_key_value_heads=2), [TOKENS]),
    "qwen3": (hugging("Qwen3ForCausalLM", "Qwen3Config", **SMALL, num_key_value_heads=2, head_dim=16), [TOKENS]),
    "t5": (hugging("T5ForConditionalGeneration", "T5Config", d_model=64, d_kv=16, d_ff=128, num_layers=3, num_heads=4,
                   vocab_size=100), [TOKENS, "decoder_input_ids=2x8:int64"]),
    "clip": (hugging("CLIPModel", "CLIPConfig", text_config={**SMALL, "max_position_embeddings": 20}, vision_config=VISION,
                     projection_dim=32), [TOKENS, "2x3x32x32"]),
    "whisper": (hugging("WhisperForConditionalGeneration", "WhisperConfig", vocab_size=100, num_mel_bins=8,
                        encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
                        d_model=64, encoder_ffn_dim=128, decoder_ffn_dim=128, max_source_positions=50,
                        max_target_positions=20, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                        decoder_start_token_id=1), ["2x8x100", "decoder_input_ids=2x8:int64"]),
    "swin": (hugging("SwinModel", "SwinConfig", image_size=32, patch_size=2, embed_dim=16, depths=[2, 2],
                     num_heads=[2, 4], window_size=4), ["2x3x32x32"]),
    # grouped convolutions: torch's counter is right forwards and wrong backwards
    "grouped": (sequence(nn.Conv2d(8, 16, 3, groups=4), nn.ReLU6(), nn.Conv2d(16, 16, 3, groups=16), nn.Hardswish()),
                ["2x8x20x24"]),
    "convnext": (hugging("ConvNextModel", "ConvNextConfig", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 3, 1]),
                 ["2x3x64x64"]),
    # torch's counter does not see recurrent layers
    "lstm": (lambda: nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True), ["2x12x16"]),
}  # fmt: skip
