"""Vision towers beside a language model: their weights are kept in memory, a text step does not run them.

Counts follow the published module lists; a tower nobody listed here is named among the assumptions instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import Config

Extra = tuple[tuple[str, int], ...]
Notes = tuple[tuple[str, Any], ...]


def tower_weights(config: Config) -> tuple[Extra, Notes]:
    """(named weight counts, what is assumed)."""
    left_out = [key for key in ("vision_config", "audio_config") if isinstance(config.get(key), dict)]
    extra: Extra = ()
    notes: Notes = ()
    counter = _TOWERS.get(config.model_type)
    if "vision_config" in left_out and counter is not None:
        count = counter(config.part("vision_config"), config)
        extra = (("visual", count),)
        notes = (("vision tower", f"{count:,} parameters kept, not run: text tokens only"),)
        left_out.remove("vision_config")
    if left_out:
        notes = (*notes, ("multi-modal parts", f"{', '.join(left_out)}: weights and work left out, text tokens only"))
    return extra, notes


def _qwen(c: Config, _: Config) -> int:
    """Qwen3-VL's tower (arXiv 2511.21631): patches, positions, layers with biases, mergers (one more a deep stack)."""
    hidden, depth, width = c.integer("hidden_size"), c.layers("depth"), c.integer("intermediate_size")
    out, merge = c.integer("out_hidden_size"), c.integer("spatial_merge_size", default=2) ** 2
    patch = (
        c.integer("in_channels", default=3) * c.integer("temporal_patch_size", default=2) * c.integer("patch_size") ** 2
    )
    stem = hidden * patch + hidden + c.integer("num_position_embeddings", default=2304) * hidden
    layer = 4 * hidden + 4 * hidden * (hidden + 1) + hidden * (width + 1) + width * (hidden + 1)
    wide = hidden * merge
    merger = wide * (wide + 1) + out * (wide + 1)
    deep = c.get("deepstack_visual_indexes")
    stacks = len(deep) if isinstance(deep, list) else 0
    return stem + depth * layer + merger + 2 * hidden + stacks * (merger + 2 * wide)


def _gemma3(c: Config, whole: Config) -> int:
    """Gemma 3's SigLIP tower (arXiv 2503.19786 §2.1), its pooling head where kept, and the projector."""
    hidden, width = c.integer("hidden_size", default=1152), c.integer("intermediate_size", default=4304)
    patch = c.integer("patch_size", default=14)
    stem = hidden * (3 * patch**2 + 1) + (c.integer("image_size", default=896) // patch) ** 2 * hidden
    layer = 4 * hidden + 4 * hidden * (hidden + 1) + hidden * (width + 1) + width * (hidden + 1)
    head = hidden + layer - 2 * hidden if c.flag("vision_use_head") else 0  # a probe instead of the first norm
    projector = hidden * whole.text().integer("hidden_size") + hidden
    return stem + c.layers(default=27) * layer + 2 * hidden + head + projector


def _gemma4(c: Config, whole: Config) -> int:
    """Gemma 4's tower: two position tables, gated layers with four norms, no biases, one projection."""
    hidden, width = c.integer("hidden_size"), c.integer("intermediate_size")
    heads, groups, dim = c.integer("num_attention_heads"), c.integer("num_key_value_heads"), c.integer("head_dim")
    stem = 2 * c.integer("position_embedding_size", default=10240) * hidden + hidden * 3 * c.integer("patch_size") ** 2
    layer = 2 * hidden * dim * (heads + groups) + 2 * dim + 3 * hidden * width + 4 * hidden
    return stem + c.layers() * layer + whole.text().integer("hidden_size") * hidden


_TOWERS: dict[str, Callable[[Config, Config], int]] = {
    "qwen3_vl": _qwen, "qwen3_vl_moe": _qwen, "qwen3_5": _qwen, "qwen3_5_moe": _qwen, "gemma3": _gemma3, "gemma4": _gemma4,
}  # fmt: skip
