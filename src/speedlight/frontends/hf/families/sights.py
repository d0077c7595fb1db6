"""Image towers that run beside a language model: LLaVA's, Qwen2-VL's and Qwen2.5-VL's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from ..arch import Arch, Attention, Layer, Mlp, Patches, Sight
from ..config import Config
from .common import activation
from .vision import clip_vision

Found = tuple[Sight | None, tuple[tuple[str, int], ...], tuple[tuple[str, Any], ...]]


def sight_of(config: Config) -> Found:
    """(the tower, weights that are kept and never run, what is assumed); None where nobody listed the type."""
    reader = _READERS.get(config.model_type)
    if reader is None or not isinstance(config.get("vision_config"), dict):
        return None, (), ()
    sight, rest = reader(config.part("vision_config"), config)
    said = f"{sight.images} a prompt; set with --images" + ("" if sight.tower.patches.image else ", --height, --width")
    return sight, rest, (("pictures", said),)


def _llava(c: Config, whole: Config) -> tuple[Sight, tuple[tuple[str, int], ...]]:
    """LLaVA 1.5 (arXiv 2310.03744 §3): CLIP's tower up to the last layer but one, its class token dropped."""
    defaults = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
                "image_size": 336, "patch_size": 14, "model_type": "clip_vision_model"}  # fmt: skip
    read = Config({**defaults, **c}, c.where)
    if read.model_type != "clip_vision_model":
        raise c.bad("model_type", "clip_vision_model")
    tower = clip_vision(Config({**read, "architectures": []}, c.where))
    last = whole.get("vision_feature_layer", -2)
    if isinstance(last, bool) or not isinstance(last, int) or not -len(tower.layers) <= last <= -1:
        raise whole.bad("vision_feature_layer", "a layer counted from the end, like -2")
    idle = -1 - last
    hidden, width = tower.hidden, tower.layers[0].ffn.width
    each = 4 * hidden + 4 * hidden * (hidden + 1) + hidden * (width + 1) + width * (hidden + 1)
    kept = (("vision_unused", idle * each + 2 * hidden),)  # the norm on the class token is not run either
    run = replace(tower, layers=tower.layers[: len(tower.layers) - idle])
    classes = 1 if whole.word("vision_feature_select_strategy", default="default") == "default" else 0
    return Sight(run, dropped=classes, side=run.patches.image if run.patches else 336, images=1), kept


def _whole_layers(c: Config) -> Sequence[int]:
    """Layers that attend over the whole picture."""
    value = c["fullatt_block_indexes"] if c.stated("fullatt_block_indexes") else [7, 15, 23, 31]
    if not isinstance(value, list) or not all(type(i) is int for i in value):
        raise c.bad("fullatt_block_indexes", "a list of layer numbers")
    return value


def _qwen2(c: Config, whole: Config) -> tuple[Sight, tuple[tuple[str, int], ...]]:
    """Qwen2-VL (arXiv 2409.12191 §2.1): pictures of any size, patches of 14 pixels, four to a token; an image counts as
    two equal frames. Qwen2.5-VL (arXiv 2502.13923 §2.1.1): RMS norms, gated feed-forward, windows of 112 pixels in most
    layers."""
    newer = whole.model_type == "qwen2_5_vl"
    hidden = c.integer("hidden_size", default=1280) if newer else c.integer("embed_dim", default=1280)
    heads, depth = c.integer("num_heads", default=16), c.layers("depth", default=32)
    patch, merge = c.integer("patch_size", default=14), c.integer("spatial_merge_size", default=2) ** 2
    d = hidden // heads
    width = c.integer("intermediate_size", default=3420) if newer else int(hidden * c.number("mlp_ratio", 4.0))
    act = activation(c, "hidden_act", default="silu" if newer else "quick_gelu")
    everywhere = _whole_layers(c) if newer else range(depth)
    window = (c.integer("window_size", default=112) // patch) ** 2 if newer else None

    def layer(index: int) -> Layer:
        attention = Attention(heads, heads, d, q_bias=True, kv_bias=True, out_bias=True, causal=False,
                              window=None if index in everywhere else window)  # fmt: skip
        return Layer(attention, Mlp(width, act, newer, True), "rms_norm" if newer else "layer_norm", not newer)

    tower = Arch(
        name="qwen_vision", family="vision", vocab=0, hidden=hidden, layers=tuple(layer(i) for i in range(depth)), head="none",
        causal=False, norm="rms_norm" if newer else "layer_norm", norm_bias=not newer, layer_prefix="visual.blocks.*",
        patches=Patches(0, patch, c.integer("in_channels", "in_chans", default=3), 0, False, 0,
                        c.integer("temporal_patch_size", default=2)),
    )  # fmt: skip
    return Sight(tower, merged=merge, projector="merger", side=28 * 36, images=1), ()


_READERS: dict[str, Callable[[Config, Config], tuple[Sight, tuple[tuple[str, int], ...]]]] = {
    "llava": _llava, "qwen2_vl": _qwen2, "qwen2_5_vl": _qwen2,
}  # fmt: skip
