"""What runs around a denoiser: text encoders before its steps, a picture's decoder after them, and the usual sizes.

Defaults are those of diffusers' pipeline of that name (read at version 0.42); components are bundled models.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...._foundation.expr import Expr, ceildiv, sym

HEIGHT, WIDTH, FRAMES = sym("height"), sym("width"), sym("frames")


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A denoiser's surroundings.

    Attributes:
        source: which pipeline the defaults come from.
        height, width, frames: pixels and pictures; ``frames`` 0 for single pictures.
        steps: denoising steps.
        guided: classifier-free guidance: every step runs a prompted and an unprompted half (arXiv 2207.12598 §3.2).
        encoders: bundled text encoders with the tokens each reads.
        decoder: the bundled autoencoder, "" where none is read.
    """

    source: str
    height: int
    width: int
    steps: int
    guided: bool
    encoders: tuple[tuple[str, int], ...] = ()
    decoder: str = ""
    frames: int = 0

    def facts(self, length: Expr | None) -> dict[str, Any]:
        """What a graph says of it: sizes that may be asked for, tokens of a picture, the pipeline's other members."""
        asked = {"height": self.height, "width": self.width, "steps": self.steps, "guidance": self.guided}
        if self.frames:
            asked["frames"] = self.frames
        around = {"encoders": self.encoders, "decoder": self.decoder, "source": self.source}
        return {"asked": asked, "length": length, "pipeline": around}


def picture_tokens(pixels: int) -> Expr:
    """Tokens of a picture whose tokens span ``pixels`` on a side."""
    return (HEIGHT / pixels) * (WIDTH / pixels)


def video_tokens(pixels: int, rate: int, depth: int = 1) -> Expr:
    """Tokens of a clip: the first picture alone, then ``rate`` to a latent one, ``depth`` of those to a token."""
    return picture_tokens(pixels) * ceildiv((FRAMES - 1) / rate + 1, depth)


_T5 = "t5-v1.1-xxl-encoder"
_CLIP_L, _CLIP_G = ("clip-vit-l-14-text", 77), ("clip-vit-bigg-14-text", 77)

FLUX = Pipeline("FluxPipeline", 1024, 1024, 28, False, (_CLIP_L, (_T5, 512)), "flux.1-vae")
SD3 = Pipeline("StableDiffusion3Pipeline", 1024, 1024, 28, True, (_CLIP_L, _CLIP_G, (_T5, 256)), "sd3-vae")
PIXART_SIGMA = Pipeline("PixArtSigmaPipeline", 1024, 1024, 20, True, ((_T5, 300),), "sdxl-vae")
PIXART_ALPHA = Pipeline("PixArtAlphaPipeline", 1024, 1024, 20, True, ((_T5, 120),), "sd-vae")
DIT = Pipeline("DiTPipeline", 256, 256, 50, True, (), "sd-vae")
SD = Pipeline("StableDiffusionPipeline", 512, 512, 50, True, (_CLIP_L,), "sd-vae")
SD2 = Pipeline("StableDiffusionPipeline", 768, 768, 50, True, (("clip-vit-h-14-text", 77),), "sd-vae")
SDXL = Pipeline("StableDiffusionXLPipeline", 1024, 1024, 50, True, (_CLIP_L, _CLIP_G), "sdxl-vae")
WAN = Pipeline("WanPipeline", 480, 832, 50, True, (("umt5-xxl-encoder", 512),), frames=81)
LTX = Pipeline("LTXPipeline", 512, 704, 50, True, ((_T5, 128),), frames=161)
COGVIDEOX = Pipeline("CogVideoXPipeline", 480, 720, 50, True, ((_T5, 226),), frames=49)
COGVIDEOX_15 = Pipeline("CogVideoXPipeline", 768, 1360, 50, True, ((_T5, 224),), frames=81)
HUNYUAN = Pipeline("HunyuanVideoPipeline", 720, 1280, 50, False, (("llama-3-8b", 256), _CLIP_L), frames=129)
MOCHI = Pipeline("MochiPipeline", 480, 848, 64, True, ((_T5, 256),), frames=19)
