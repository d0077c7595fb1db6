"""Forty models to export: (factory, inputs) by name. Small sizes of what people run, in every shape models come in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

EXAMPLES = Path(__file__).parents[3] / "examples"
Entry = tuple[Callable[[], nn.Module], tuple[str, ...]]


class Positional(nn.Module):
    """A model that takes keywords, called by position, so that exporters and captures name the same inputs."""

    def __init__(self, inner: nn.Module, *names: str) -> None:
        super().__init__()
        self.inner = inner
        self.names = names

    def forward(self, *args: torch.Tensor) -> Any:
        found = self.inner(**dict(zip(self.names, args, strict=True)), return_dict=True)
        return tuple(v for v in found.values() if isinstance(v, torch.Tensor))


def transformer(kind: str, head: str, names: tuple[str, ...], **sizes: Any) -> Callable[[], nn.Module]:
    """A transformers model of small sizes with random weights."""

    def build() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{kind}Config")(**sizes)
        config.use_cache = False
        model = getattr(transformers, f"{kind}{head}")(config)
        return Positional(model, *names)

    return build


TEXT = {
    "vocab_size": 1000,
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 40,
}
IDS, MASK = "input_ids", "attention_mask"


def resnet() -> nn.Module:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from resnet import resnet50  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(EXAMPLES))
    found: nn.Module = resnet50()
    return found


class Inverted(nn.Module):
    """MobileNet's block: widen, depthwise, squeeze and excite, narrow."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        wide = channels * 4
        self.up, self.down = nn.Conv2d(channels, wide, 1, bias=False), nn.Conv2d(wide, channels, 1, bias=False)
        self.depth = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(wide), nn.BatchNorm2d(wide), nn.BatchNorm2d(channels)])
        self.squeeze, self.excite = nn.Conv2d(wide, 16, 1), nn.Conv2d(16, wide, 1)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.hardswish(self.norms[0](self.up(x)))
        y = F.hardswish(self.norms[1](self.depth(y)))
        gate = self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True))))
        y = self.norms[2](self.down(y * F.hardsigmoid(gate)))
        return x + y if self.stride == 1 else y


def mobilenet() -> nn.Module:
    blocks = [Inverted(96, s) for s in (1, 2, 1, 1, 2, 1)]
    return nn.Sequential(nn.Conv2d(3, 96, 3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 100))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 32), (32, 64), (64, 128))])
        self.up = nn.ModuleList([nn.ConvTranspose2d(a, b, 2, 2) for a, b in ((128, 64), (64, 32))])
        self.merge = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in ((128, 64), (64, 32))])
        self.norm = nn.GroupNorm(8, 32)
        self.last = nn.Conv2d(32, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for i, conv in enumerate(self.down):
            x = F.silu(conv(x))
            if i < 2:
                kept.append(x)
                x = F.max_pool2d(x, 2)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = F.silu(merge(torch.cat([up(x), kept.pop()], 1)))
        return self.last(self.norm(F.interpolate(x, scale_factor=2.0, mode="bilinear")))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + (self.down(F.gelu(self.up(y))) * self.scale).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    stem = nn.Conv2d(3, 64, 4, 4)
    return nn.Sequential(
        stem, *[ConvNeXtBlock(64) for _ in range(3)], nn.Conv2d(64, 128, 2, 2), *[ConvNeXtBlock(128) for _ in range(3)]
    )


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, 64)
        self.rnn = getattr(nn, kind)(64, 96, num_layers=2, batch_first=True, **options)
        self.head = nn.Linear(96 * (2 if options.get("bidirectional") else 1), 10)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(ids))[0])


class Detector(nn.Module):
    """A feature pyramid with heads whose boxes are decoded on a grid: shape arithmetic, slices, exponentials."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 32), (32, 64), (64, 128))])
        self.lateral = nn.ModuleList([nn.Conv2d(c, 64, 1) for c in (64, 128)])
        self.heads = nn.ModuleList([nn.Conv2d(64, 3 * 15, 1) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = []
        for stage in self.stages:
            x = F.leaky_relu(stage(x), 0.1)
            maps.append(x)
        low, high = self.lateral[0](maps[1]), self.lateral[1](maps[2])
        low = low + F.interpolate(high, size=low.shape[-2:], mode="nearest")
        found = []
        for feature, head in zip((low, high), self.heads, strict=True):
            y = head(feature)
            b, _, h, w = y.shape
            y = y.view(b, 3, 15, h, w).permute(0, 1, 3, 4, 2)
            grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1).to(y.dtype)
            box = torch.cat([y[..., :2].sigmoid() + grid, y[..., 2:4].exp(), y[..., 4:].sigmoid()], -1)
            found.append(box.reshape(b, -1, 15))
        return torch.cat(found, 1)


class Speech(nn.Module):
    """Strided 1-D convolutions, then attention over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(1, 64, 10, 5), nn.GELU(), nn.Conv1d(64, 96, 3, 2), nn.GELU())
        layer = nn.TransformerEncoderLayer(96, 4, 192, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(self.front(x).transpose(1, 2))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 96, 16, 16)
        self.tokens = nn.ModuleList([nn.Linear(16, 16) for _ in range(2)])
        self.channels = nn.ModuleList([nn.Linear(96, 96) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2)
        for tokens, channels in zip(self.tokens, self.channels, strict=True):
            x = x + F.gelu(tokens(x))
            x = x + F.gelu(channels(x.transpose(1, 2))).transpose(1, 2)
        return x.mean(-1)


class Attended(nn.Module):
    """Causal attention of four query heads on two key/value heads, with an einsum behind."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 32)
        self.mix = nn.Parameter(torch.randn(4, 16, 64) * 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, 4, 16).transpose(1, 2)
        k, v = (p(x).view(b, t, 2, 16).transpose(1, 2).repeat_interleave(2, 1) for p in (self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)
        return torch.einsum("bhte,hed->btd", y, self.mix)


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(16, 32, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


def generator() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(64, 128, 4), nn.BatchNorm2d(128), nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1),
        nn.InstanceNorm2d(64, affine=True), nn.ReLU(), nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def superresolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 5, padding=2), nn.PReLU(64), nn.Conv2d(64, 48, 3, padding=1), nn.PixelShuffle(4)
    )


def tabular() -> nn.Module:
    return nn.Sequential(nn.Linear(200, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.SELU(),
                         nn.Linear(512, 1), nn.Sigmoid())  # fmt: skip


ENCODER = (IDS, MASK)
TOKENS = ("2x32:int64", "2x32:int64")
IMAGE = ("2x3x64x64",)

VISION: dict[str, Entry] = {
    "resnet50": (resnet, IMAGE), "mobilenet": (mobilenet, IMAGE), "unet": (UNet, IMAGE), "convnext": (convnext, IMAGE),
    "detector": (Detector, IMAGE), "mixer": (Mixer, IMAGE), "volumes": (volumes, ("2x1x8x32x32",)),
    "generator": (generator, ("2x64x1x1",)), "superresolution": (superresolution, ("2x3x32x32",)),
}  # fmt: skip
OTHER: dict[str, Entry] = {
    "lstm": (lambda: Recurrent("LSTM"), ("2x20:int64",)), "gru": (lambda: Recurrent("GRU"), ("2x20:int64",)),
    "bi-lstm": (lambda: Recurrent("LSTM", bidirectional=True), ("2x20:int64",)),
    "rnn": (lambda: Recurrent("RNN"), ("2x20:int64",)), "speech": (Speech, ("2x1x4000",)),
    "tabular": (tabular, ("4x200",)), "einsum attention": (Attended, ("2x24x64",)),
}  # fmt: skip
TRANSFORMERS: dict[str, Entry] = {
    "bert": (transformer("Bert", "Model", ENCODER, **TEXT), TOKENS),
    "roberta": (transformer("Roberta", "ForSequenceClassification", ENCODER, **TEXT), TOKENS),
    "distilbert": (transformer("DistilBert", "Model", ENCODER, vocab_size=1000, dim=128, n_layers=3, n_heads=4, hidden_dim=256, max_position_embeddings=40), TOKENS),
    "albert": (transformer("Albert", "Model", ENCODER, embedding_size=64, **TEXT), TOKENS),
    "electra": (transformer("Electra", "ForMaskedLM", ENCODER, embedding_size=64, **TEXT), TOKENS),
    "deberta": (
        transformer("DebertaV2", "Model", ENCODER, relative_attention=True, pos_att_type=["p2c", "c2p"],
                    position_buckets=32, max_relative_positions=64, **TEXT), TOKENS),
    "gpt2": (transformer("GPT2", "LMHeadModel", (IDS,), vocab_size=1000, n_embd=128, n_layer=3, n_head=4, n_positions=40), TOKENS[:1]),
    "gpt-neox": (transformer("GPTNeoX", "ForCausalLM", (IDS,), **TEXT), TOKENS[:1]),
    "opt": (transformer("OPT", "ForCausalLM", (IDS,), vocab_size=1000, hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
                        ffn_dim=256, word_embed_proj_dim=128, max_position_embeddings=32), TOKENS[:1]),
    "bloom": (transformer("Bloom", "ForCausalLM", ENCODER, vocab_size=1000, hidden_size=128, n_layer=3, n_head=4), TOKENS),
    "llama": (transformer("Llama", "ForCausalLM", (IDS,), num_key_value_heads=2, **TEXT), TOKENS[:1]),
    "qwen2": (transformer("Qwen2", "ForCausalLM", (IDS,), num_key_value_heads=2, **TEXT), TOKENS[:1]),
    "gemma": (transformer("Gemma", "ForCausalLM", (IDS,), num_key_value_heads=1, head_dim=32, **TEXT), TOKENS[:1]),
    "phi": (transformer("Phi", "ForCausalLM", (IDS,), **TEXT), TOKENS[:1]),
    "t5": (transformer("T5", "Model", (IDS, "decoder_input_ids"), vocab_size=1000, d_model=128, d_kv=32, d_ff=256, num_layers=2,
                       num_heads=4), ("2x32:int64", "2x16:int64")),
    "bart": (transformer("Bart", "Model", (IDS, "decoder_input_ids"), vocab_size=1000, d_model=128, encoder_layers=3, decoder_layers=3,
                         encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256, max_position_embeddings=32),
             ("2x32:int64", "2x16:int64")),
    "whisper": (transformer("Whisper", "Model", ("input_features", "decoder_input_ids"), vocab_size=1000, d_model=128, encoder_layers=2,
                            decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256,
                            decoder_ffn_dim=256, max_source_positions=100, max_target_positions=20, pad_token_id=0), ("2x80x200", "2x16:int64")),
    "vit": (transformer("ViT", "Model", ("pixel_values",), image_size=64, **TEXT | {"vocab_size": 1}), IMAGE),
    "swin": (transformer("Swin", "Model", ("pixel_values",), image_size=64, embed_dim=32, depths=[2, 2], num_heads=[2, 4],
                         window_size=4), IMAGE),
    "clip": (transformer("CLIP", "Model", (IDS, "pixel_values", MASK),
                         text_config={**TEXT, "max_position_embeddings": 32}, vision_config={**TEXT, "image_size": 64, "patch_size": 16}),
             ("2x32:int64", "2x3x64x64", "2x32:int64")),
    "segformer": (transformer("Segformer", "ForSemanticSegmentation", ("pixel_values",), hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 1, 1],
                              decoder_hidden_size=64), IMAGE),
    "wav2vec2": (transformer("Wav2Vec2", "Model", ("input_values",), conv_dim=(64, 64), conv_stride=(5, 2), conv_kernel=(10, 3),
                             num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **TEXT), ("2x4000",)),
    "hf-resnet": (transformer("ResNet", "Model", ("pixel_values",), embedding_size=32, hidden_sizes=[32, 64], depths=[2, 2],
                              layer_type="basic"), IMAGE),
    "mobilebert": (transformer("MobileBert", "Model", ENCODER, embedding_size=64, true_hidden_size=64, intra_bottleneck_size=64,
                               **TEXT), TOKENS),
}  # fmt: skip
MODELS: dict[str, Entry] = {**VISION, **OTHER, **TRANSFORMERS}
# Models that only the newer exporter writes (torch.export in front of it), which takes five times as long.
DYNAMO = ("gpt2", "gpt-neox", "opt", "bloom", "llama", "qwen2", "gemma", "phi", "bart", "whisper", "speech")
QUICK = ("mobilenet", "detector", "bi-lstm", "bert")
