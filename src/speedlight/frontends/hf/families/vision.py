"""Image models made of transformer layers: ViT, DeiT, CLIP's two towers.

An image is a sequence of its patches and class tokens; a step's sequences are its images.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...._foundation.errors import BadInput
from ..arch import Arch, Attention, Layer, Mlp, Patches
from ..config import Config
from .common import activation, head_sizes, hidden_size, registry

FAMILIES, family = registry()


def patches_of(c: Config, *, extra_tokens: int = 1, bias: bool = True) -> Patches:
    """The way in: image and patch size, one learned position a patch and class token."""
    image, patch = _side(c, "image_size", 224), _side(c, "patch_size", 16)
    if image < patch:
        raise BadInput(f"{c.where}: patch_size is {patch}", expected=f"at most image_size {image}")
    found = Patches(image, patch, c.integer("num_channels", "in_chans", default=3, most=4096), extra_tokens, bias)
    return Patches(image, patch, found.channels, extra_tokens, bias, found.tokens)


def _side(c: Config, name: str, default: int) -> int:
    """A side in pixels; a pair must be square."""
    value = c.get(name)
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and value[0] == value[1]:
            return Config({name: value[0]}, c.where).integer(name, most=10**5)
        raise c.bad(name, "one number, or a pair of equal numbers")
    return c.integer(name, default=default, most=10**5)


def _layer(c: Config, *, causal: bool = False, bias: bool = True, act: str = "gelu") -> Layer:
    n, g, d = head_sizes(c, kv=("",), dim=("",))
    attention = Attention(n, g, d, q_bias=bias, kv_bias=bias, out_bias=True, rope=0.0, causal=causal)
    mlp = Mlp(c.integer("intermediate_size"), activation(c, "hidden_act", default=act), False, True)
    return Layer(attention, mlp, "layer_norm", True)


def _arch(c: Config, **fields: Any) -> Arch:
    patches: Patches | None = fields.get("patches")
    fields.setdefault("tokens_per_sequence", patches.tokens if patches else None)
    return Arch(
        name=c.model_type, family="vision", vocab=fields.pop("vocab", 0), hidden=hidden_size(c), norm="layer_norm",
        norm_bias=True, causal=fields.pop("causal", False), layer_prefix="encoder.layers.*", **fields,
    )  # fmt: skip


@family("vit", "deit")
def vit(c: Config) -> Arch:
    """ViT (arXiv 2010.11929) and DeiT (arXiv 2012.12877, one more token): classifier on the class token, or a pooler."""
    names = c.get("architectures")
    bare = isinstance(names, list) and any(isinstance(n, str) and n.endswith("Model") for n in names)
    labels = c.get("id2label")
    notes: tuple[tuple[str, Any], ...] = ()
    classes = len(labels) if isinstance(labels, dict) and labels else 0
    if c.get("num_labels") is not None:
        classes = c.integer("num_labels")
    if not bare and not classes:
        classes, notes = 1000, (("classes", "1000: neither num_labels nor id2label is stated"),)
    patches = patches_of(c, extra_tokens=2 if c.model_type == "deit" else 1)
    layer = _layer(c, bias=c.flag("qkv_bias", default=True))
    return _arch(
        c, layers=(layer,) * c.layers(), patches=patches, head="pooler" if bare else "classes", outputs=classes,
        head_bias=True, assumptions=notes,
    )  # fmt: skip


@family("clip_vision_model")
def clip_vision(c: Config) -> Arch:
    """CLIP's image tower (arXiv 2103.00020 §2.4): no convolution bias, a norm before the layers, one on the class token."""
    projected = _projected(c, "projection_dim")
    return _arch(
        c, layers=(_layer(c, act="quick_gelu"),) * c.layers(), patches=patches_of(c, bias=False), embed_norm=True,
        pooled_norm=True, head="projection" if projected else "none", outputs=projected,
    )  # fmt: skip


@family("clip_text_model")
def clip_text(c: Config) -> Arch:
    """CLIP's text tower: causal, 77 positions."""
    projected = _projected(c, "projection_dim")
    positions = c.integer("max_position_embeddings", default=77)
    return _arch(
        c, layers=(_layer(c, causal=True, act="quick_gelu"),) * c.layers(), vocab=c.integer("vocab_size", default=49408),
        positions=positions, head="projection" if projected else "none", outputs=projected, max_context=positions,
        causal=True, tokens_per_sequence=positions,
    )  # fmt: skip


def _projected(c: Config, name: str) -> int:
    """Width of the projection; a bare tower (``CLIPVisionModel``) has none."""
    names = c.get("architectures")
    with_it = isinstance(names, list) and any("WithProjection" in str(n) for n in names)
    return c.integer(name, default=512) if with_it else 0


@family("clip")
def clip(c: Config) -> Arch:
    """Both towers: for each image one text of 77 tokens, compared by their projections."""
    width = c.integer("projection_dim", default=512)
    named = {"architectures": ["WithProjection"], "projection_dim": width}
    defaults = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                "patch_size": 32}  # fmt: skip
    image = Config({**defaults, **c.part("vision_config"), **named, "model_type": "clip"}, c.where)
    words = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    text = Config({**words, **c.part("text_config"), **named, "model_type": "clip_text_model"}, c.where)
    tower = clip_text(text)
    return replace(
        clip_vision(image), tower=tower, assumptions=(("text", f"one text of {tower.positions} tokens an image"),)
    )


@family("siglip_vision_model")
def siglip_vision(c: Config) -> Arch:
    """SigLIP's image tower (arXiv 2303.15343 §3.1): no class token; a learned query pools the tokens, unless told not to."""
    return _arch(
        c, layers=(_layer(c, act="gelu_tanh"),) * c.layers(), patches=patches_of(c, extra_tokens=0),
        head="map" if c.flag("vision_use_head", default=True) else "none",
    )  # fmt: skip


@family("siglip_text_model")
def siglip_text(c: Config) -> Arch:
    """SigLIP's text tower: every token sees every other; the last one is projected."""
    positions = c.integer("max_position_embeddings", default=64)
    return _arch(
        c, layers=(_layer(c, act="gelu_tanh"),) * c.layers(), vocab=c.integer("vocab_size", default=32000), positions=positions,
        head="projection", outputs=c.integer("projection_size", default=hidden_size(c)), head_bias=True,
        max_context=positions, tokens_per_sequence=positions,
    )  # fmt: skip


@family("siglip")
def siglip(c: Config) -> Arch:
    """Both towers: for each image one text of 64 tokens, compared by their pooled states."""
    base = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    image = Config(
        {**base, "image_size": 224, "patch_size": 16, **c.part("vision_config"), "model_type": "siglip"}, c.where
    )
    text = Config({**base, **c.part("text_config"), "model_type": "siglip_text_model"}, c.where)
    tower = siglip_text(text)
    seen = siglip_vision(image)
    return replace(
        seen, tower=tower, outputs=seen.hidden, extra=(("logit_bias", 1),),
        assumptions=(("text", f"one text of {tower.positions} tokens an image"),),
    )  # fmt: skip
