"""Less of the image in a step: merged tokens, edited pixels, sparse attention."""

from __future__ import annotations

from ....graph.rewrite.denoiser import is_unet
from ....scenario.scenario import Rewrite, Scenario
from ...conditions import every, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from .pipeline import denoises, split


def unet(subject: Subject, settings: Settings) -> Refusal | None:
    if is_unet(subject.graph):
        return None
    return Refusal("its denoiser is no U-Net", "feature-caching, which knows both")


LATENT_MERGING = register(Technique(
    name="latent-token-merging",
    title="Token merging in a U-Net (ToMe for Stable Diffusion)",
    family="diffusion",
    mechanism="at the outermost level that attends, similar tokens are merged before a part of each transformer block and spread again behind it",
    papers=("token-merging-for-fast-stable-diffusion",),
    citation="Token merging for fast Stable Diffusion, arXiv 2303.17604",
    parameters=(
        Parameter("ratio", 0.5, "share of the tokens that is merged away", low=0.0, high=0.75, trials=(0.6,), neutral=0.0),
        Parameter("parts", "attn1", "parts of a block on merged tokens", choices=("attn1", "attn1+attn2", "attn1+attn2+ff", "attn1+ff")),
    ),
    edits=(Edit("graph", "latent-tokens", lambda subject, settings: with_rewrite(subject, "merged_latents", ratio=settings["ratio"], parts=settings["parts"])),),
    refuse=every(inference, denoises, unet),
))  # fmt: skip


EDITED = register(Technique(
    name="edited-region",
    title="Only edited pixels computed (SIGE)",
    family="diffusion",
    mechanism="features of the original image are kept; convolutions run on gathered blocks around the edit, attention asks from there",
    papers=("efficient-spatially-sparse-inference-for-conditional-gans-an",),
    citation="SIGE, arXiv 2211.02048",
    parameters=(Parameter("share", 0.15, "share of the image that is edited", low=0.005, high=1.0, trials=(0.05, 0.4), neutral=1.0),),
    edits=(Edit("graph", "latent-tokens", lambda subject, settings: with_rewrite(subject, "edited_region", share=settings["share"])),),
    refuse=every(inference, denoises, unet),
))  # fmt: skip


def _sparse(subject: Subject, settings: Settings) -> Scenario:
    rewrite = Rewrite("fewer_pairs", (("share", settings["share"]),))
    if settings["full"] > 0 and len(subject.scenario.programs) > 1:
        return split(subject.scenario, (("full", settings["full"], ()), ("sparse", 1 - settings["full"], (rewrite,))))
    return with_rewrite(subject, "fewer_pairs", share=settings["share"])


SPARSE = register(Technique(
    name="sparse-latent-attention",
    title="Sparse attention with statistics of the step before (Re-ttention)",
    family="diffusion",
    mechanism="self-attention of a step looks at a few percent of the query-key pairs, the softmax's sum is corrected from the step before; the first steps look at all",
    papers=("re-ttention",),
    citation="Re-ttention, arXiv 2505.22918",
    parameters=(
        Parameter("share", 0.031, "share of the pairs that is computed", low=0.001, high=1.0, trials=(0.1, 0.25), neutral=1.0, source="Re-ttention, abstract: 3.1 % of the tokens"),
        Parameter("full", 0.1, "share of the steps that look at all", low=0.0, high=0.9),
    ),
    edits=(Edit("graph", "latent-attention", _sparse),),
    refuse=every(inference, denoises),
))  # fmt: skip


CLIPS = register(Technique(
    name="local-frames",
    title="Temporal attention to near and to a few global frames (Video-Infinity)",
    family="diffusion",
    mechanism="a frame's tokens attend to neighbouring and to some sampled frames instead of all, so attention grows with the length of a clip and not with its square",
    papers=("video-infinity",),
    citation="Video-Infinity, arXiv 2406.16260",
    parameters=(Parameter("frames", 0.25, "share of the frames that a frame looks at", low=0.01, high=1.0, trials=(0.1,), neutral=1.0),),
    edits=(Edit("graph", "latent-attention", lambda subject, settings: with_rewrite(subject, "fewer_pairs", share=settings["frames"])),),
    refuse=every(inference, denoises, lambda s, _: None if "frames" in dict(s.graph.attrs.get("asked", {})) else Refusal("the model makes no video", "a video model such as wan2.1-t2v-1.3b")),
))  # fmt: skip

__all__ = ["CLIPS", "EDITED", "LATENT_MERGING", "SPARSE"]
