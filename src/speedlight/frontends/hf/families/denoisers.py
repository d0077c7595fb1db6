"""Denoisers and autoencoders in diffusers' own configurations, found by ``_class_name``."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from ...._foundation.expr import substitute, sym
from ....graph.builder import COUNT, SEQS, TOKENS
from ....graph.ir import Tensor
from ..arch import Arch
from ..binding import bind
from ..config import Config
from ..denoise.pieces import Built
from ..parts import Context
from .common import registry

FAMILIES, family = registry()

# Class → (module of ``denoise``, its builder).
BUILDERS: dict[str, tuple[str, str]] = {
    "FluxTransformer2DModel": ("joint", "flux"), "SD3Transformer2DModel": ("joint", "sd3"),
    "HunyuanVideoTransformer3DModel": ("joint", "hunyuan_video"), "MochiTransformer3DModel": ("joint", "mochi"),
    "DiTTransformer2DModel": ("crossing", "dit"), "PixArtTransformer2DModel": ("crossing", "pixart"),
    "WanTransformer3DModel": ("crossing", "wan"), "LTXVideoTransformer3DModel": ("crossing", "ltx"),
    "CogVideoXTransformer3DModel": ("crossing", "cogvideox"), "UNet2DConditionModel": ("unet", "unet"),
    "AutoencoderKL": ("vae", "autoencoder"),
}  # fmt: skip


@family(*BUILDERS)
def denoiser(c: Config) -> Arch:
    """A model that builds its blocks itself: see :mod:`..denoise`."""
    module, name = BUILDERS[c.model_type]
    return Arch(
        name=c.model_type, family="diffusion" if module != "vae" else "autoencoder", vocab=0, hidden=0, layers=(), head="none",
        causal=False, own=_Builder(module, name, c),
    )  # fmt: skip


class _Builder:
    """``builder(ctx, shared)`` of one configuration; its module is imported when the graph is made."""

    def __init__(self, module: str, name: str, config: Config) -> None:
        self.module, self.name, self.config = module, name, config

    def __call__(self, ctx: Context, shared: dict[str, Tensor]) -> Built:
        builders = import_module(f"..denoise.{self.module}", __package__)
        built = getattr(builders, self.name)(self.config, ctx, shared)
        return built if self.module == "vae" else _in_passes(built, shared)


def _in_passes(built: Built, shared: dict[str, Tensor]) -> Built:
    """Guidance runs a step's pictures twice, with the prompt and without: every size of the batch times ``passes``."""
    passes = sym("passes")
    values = {"tokens": TOKENS * passes, "seqs": SEQS * passes, "count": COUNT * passes}
    for name, tensor in shared.items():
        shared[name] = dataclasses.replace(tensor, elements=substitute(tensor.elements, values))
    blocks = tuple(bind(block, values) for block in built.blocks)
    return dataclasses.replace(built, blocks=blocks, symbols={**built.symbols, "passes": 1})
