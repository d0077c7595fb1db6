"""Structured pruning: fewer heads, neurons or channels, so that dense kernels run a smaller model."""

from __future__ import annotations

import numpy as np

from ....scenario.scenario import Scenario
from ...conditions import every, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Refusal, Settings, Technique, register


def _dimensions(subject: Subject, settings: Settings) -> Refusal | None:
    if any(dim.role in ("heads", "ffn") for dim in subject.graph.dims.values()):
        return None
    return Refusal("the model names no heads and no neurons", "channel-pruning, for convolutional networks")


def _narrow(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "narrowed", heads=float(settings["heads"]), ffn=float(settings["ffn"]))


def _shared(subject: Subject, settings: Settings) -> Refusal | None:
    """What is left of the heads and neurons divides among the ranks."""
    tp = np.unique(np.asarray(subject.parallel.tp))
    for dim in subject.graph.dims.values():
        share = {"kv_heads": settings["heads"], "ffn": settings["ffn"], "expert_ffn": settings["ffn"]}.get(
            dim.role, 1.0
        )
        left = max(1, round(dim.size * float(share)))
        if share < 1 and any(left % n and n % left for n in tp):
            return Refusal(
                f"{left} {dim.role.replace('_', ' ')} do not divide among {int(tp.max())} ranks",
                "shares that leave a multiple of --tp",
            )
    return None


STRUCTURED = register(Technique(
    name="structured-pruning",
    title="Heads and neurons pruned (LLM-Pruner, VTrans)",
    family="sparsity",
    mechanism="whole heads and whole neurons are removed: every kernel is a dense one of a narrower model",
    papers=("vtrans", "edge-llm"),
    citation="LLM-Pruner, arXiv 2305.11627; VTrans, variational information bottleneck pruning",
    parameters=(
        Parameter("heads", 0.75, "share of the heads that stay", low=0.05, high=1.0, neutral=1.0),
        Parameter("ffn", 0.75, "share of the neurons that stay", low=0.05, high=1.0, neutral=1.0, trials=(0.5,)),
    ),
    edits=(Edit("graph", "width", _narrow),),
    refuse=every(inference, _dimensions, _shared),
))  # fmt: skip


def _convolutions(subject: Subject, settings: Settings) -> Refusal | None:
    convs = sum(op.kind == "conv" for _, op in subject.graph.ops())
    if subject.graph.attrs.get("kind") == "module" and convs > 1:
        return None
    return Refusal("the model is no convolutional network", "structured-pruning, for transformers")


CHANNELS = register(Technique(
    name="channel-pruning",
    title="Channels pruned (AMC, MaskSparsity)",
    family="sparsity",
    mechanism="whole filters are removed: activations shrink with the share of channels that stays, products and weights with its square",
    papers=("amc", "pruning-aware-sparse-regularization-for-network-pruning"),
    citation="AMC, arXiv 1802.03494; MaskSparsity, Neurocomputing 2023",
    parameters=(Parameter("kept", 0.7, "share of the channels that stay, everywhere alike", low=0.05, high=1.0, neutral=1.0),),
    edits=(Edit("graph", "width", lambda subject, settings: with_rewrite(subject, "fewer_channels", share=float(settings["kept"]))),),
    refuse=every(inference, _convolutions),
    quality=(
        Quote("top-1 of VGG-16 at a quarter of its FLOPs, over hand-crafted policies", "+2.7 %", "AMC, abstract"),
        Quote("top-1 of ResNet-50 at 51 % fewer FLOPs", "−0.76 points", "MaskSparsity, abstract"),
    ),
))  # fmt: skip
