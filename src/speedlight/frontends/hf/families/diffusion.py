"""Diffusion transformers on latent patches: the records of configuration facts with ``model_type: diffusion_transformer``.

Fields: ``hidden_size``; ``blocks`` (one kind), ``joint_blocks`` or ``double_blocks`` (image and text streams side by side),
``single_blocks`` (one stream); ``cross_attention``, ``linear_attention``; heads, text and latent sizes; the published
``params``. What they leave open follows the papers named below and is listed among the assumptions.
"""

from __future__ import annotations

from typing import Any

from ...._foundation.errors import BadInput
from ..arch import Arch, Diffusion, Mlp
from ..config import Config
from .common import hidden_size, registry

FAMILIES, family = registry()

# Output width of text encoders, by the beginning of their names (their own model cards).
_TEXT_WIDTHS = {
    "t5-xxl": 4096, "umt5-xxl": 4096, "mt5-xl": 2048, "gemma-2-2b": 2304, "llama-3-8b": 4096, "clip-l": 768, "bert": 1024,
}  # fmt: skip

Notes = list[tuple[str, Any]]


@family("diffusion_transformer")
def diffusion_transformer(c: Config) -> Arch:
    """MMDiT (SD 3, arXiv 2403.03206 Fig. 2), FLUX's double and single blocks, PixArt-style cross attention
    (arXiv 2310.00426 §2.3), CogVideoX's joint sequence (arXiv 2408.06072 §2.2), SANA (arXiv 2410.10629 §2.2)."""
    hidden = hidden_size(c)
    joint = c.integer("joint_blocks", "double_blocks", default=0, least=0, most=10**4)
    single = c.integer("single_blocks", default=0, least=0, most=10**4)
    plain = c.integer("blocks", default=0, least=0, most=10**4)
    if joint + single + plain == 0:
        raise BadInput(
            f"{c.where}: the field blocks, joint_blocks or double_blocks is missing", expected="at least one block"
        )
    notes: Notes = [
        ("one step", "of the transformer alone: text encoders and VAE are not in it; guidance doubles the batch")
    ]
    heads, width = _heads(c, hidden, notes)
    cross, linear = c.flag("cross_attention"), c.flag("linear_attention")
    spec = Diffusion(
        heads, width, joint, single, plain,
        c.integer("dual_attention_blocks", default=0, least=0, most=max(joint, 1)), cross, linear,
        _text_tokens(c, bool(joint), bool(single), linear, notes), _text_width(c), _feed_forward(c, hidden, linear, notes),
        "full" if joint else "shared" if cross else "low", _channels(c, bool(joint), linear, notes), _volume(c),
        int(c.number("params", 0)), tuple((k, _plain(c[k])) for k in _FACTS if c.get(k) is not None),
    )  # fmt: skip
    return Arch(
        name=c.model_type, family="diffusion", vocab=0, hidden=hidden, layers=(), head="none", causal=False,
        diffusion=spec, assumptions=tuple(notes), layer_prefix="transformer_blocks.*",
    )  # fmt: skip


_FACTS = ("vae_downsample", "patch", "guidance", "text_encoders")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _heads(c: Config, hidden: int, notes: Notes) -> tuple[int, int]:
    """(heads, head dimension); 64 a head (SANA: 32) where nothing is stated."""
    width = c.integer("head_dim", default=64 if hidden % 64 == 0 else 32)
    heads = c.integer("num_attention_heads", default=max(1, hidden // width))
    if not c.stated("num_attention_heads"):
        notes.append(("attention heads", f"{heads} of {width}: not stated"))
    if heads * width != hidden:
        raise BadInput(
            f"{c.where}: num_attention_heads {heads} × head_dim {width} is {heads * width}",
            expected=f"hidden_size {hidden}",
        )
    return heads, width


def _text_tokens(c: Config, joint: bool, single: bool, linear: bool, notes: Notes) -> int:
    """Text tokens a step sees: stated, or the pipelines' usual lengths (SD 3.5: 77 + 256; Wan: 512; SANA: 300)."""
    if c.stated("text_tokens"):
        return c.integer("text_tokens", most=10**6)
    usual = 300 if linear else 256 if single else 333 if joint or not c.stated("intermediate_size") else 512
    notes.append(("text tokens", f"{usual}: not stated"))
    return usual


def _text_width(c: Config) -> int:
    names = c.get("text_encoders")
    widths = [
        width for name in (names if isinstance(names, list) else ()) for start, width in _TEXT_WIDTHS.items()
        if isinstance(name, str) and name.startswith(start)
    ]  # fmt: skip
    return max(widths, default=4096)


def _feed_forward(c: Config, hidden: int, linear: bool, notes: Notes) -> Mlp:
    """Two layers of four times the width with GELU; SANA's mix-FFN of 2.5 times with a 3 × 3 depthwise convolution."""
    if c.stated("intermediate_size"):
        return Mlp(c.integer("intermediate_size"), "gelu_tanh", False, True)
    if linear:
        notes.append(("feed-forward", "mix-FFN of 2.5 × hidden (SANA): not stated"))
        return Mlp(hidden * 5 // 2, "silu", True, True, conv=3)
    notes.append(("feed-forward", "two layers of 4 × hidden: not stated"))
    return Mlp(4 * hidden, "gelu_tanh", False, True)


def _channels(c: Config, joint: bool, linear: bool, notes: Notes) -> int:
    """Channels of the latent: 16 for the newer VAEs, 32 for SANA's, 4 for Stable Diffusion's."""
    video = isinstance(c.get("vae_downsample"), list)
    usual = 32 if linear else 16 if joint or video else 4
    notes.append(("latent channels", f"{usual}: not stated"))
    return usual


def _volume(c: Config) -> int:
    """Latent positions a patch spans: a side for images, (frames, height, width) for video."""
    patch = c.get("patch")
    if isinstance(patch, (list, tuple)):
        volume = 1
        for index, side in enumerate(patch):
            if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= 1024:
                raise BadInput(f"{c.where}: patch[{index}] is {side!r}", expected="a positive whole number")
            volume *= side
        return volume
    return c.integer("patch", default=2, most=1024) ** 2
