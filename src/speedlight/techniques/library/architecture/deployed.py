"""What a trained network drops before it is deployed: branches, norms."""

from __future__ import annotations

from ...conditions import every, has, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Quote, Refusal, Settings, Technique, register


def _branches(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn == "batch_norm" for _, op in subject.graph.ops()):
        return None
    return Refusal("no batch norm follows a convolution here", "folded-norms, for norms over features")


REPARAMETERIZED = register(Technique(
    name="reparameterized",
    title="Branches and batch norms folded into one convolution (RepVGG, MobileOne, FastViT)",
    family="architecture",
    mechanism="parallel convolutions, skips and norms of training become one convolution: fewer kernels, and their intermediate images are neither written nor read",
    papers=("fastvit", "damo-yolo"),
    citation="RepVGG, arXiv 2101.03697; FastViT, arXiv 2303.14189",
    edits=(Edit("graph", "branches", lambda subject, settings: with_rewrite(subject, "merged_branches")),),
    refuse=every(inference, has("conv", what="convolutions"), _branches),
    exact=True,
))  # fmt: skip


def _norms(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn in ("layer_norm", "rms_norm") for _, op in subject.graph.ops()):
        return None
    return Refusal("no norm over features is computed here", "reparameterized, for batch norms")


FOLDED_NORMS = register(Technique(
    name="folded-norms",
    title="Layer norms trained into batch norms and folded (SLAB's progressive re-parameterisation)",
    family="architecture",
    mechanism="a norm that reads statistics at run time becomes a fixed scale and shift inside the next product: its pass over memory and its launch go",
    papers=("slab",),
    citation="SLAB, arXiv 2405.11582",
    edits=(Edit("graph", "norms", lambda subject, settings: with_rewrite(subject, "folded_layer_norms")),),
    refuse=every(inference, _norms),
    quality=(Quote("ImageNet-1K top-1, SLAB-Swin beside Flatten-Swin", "+0.1 points, with its linear attention", "SLAB, abstract"),),
))  # fmt: skip
