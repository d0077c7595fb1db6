"""Depthwise convolutions replaced, channels widened."""

from __future__ import annotations

import math

from ....graph.rewrite.expand import is_convolution, is_depthwise
from ....scenario.scenario import Scenario
from ...conditions import Condition, every, has
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _sides(subject: Subject) -> list[float]:
    return [
        float(op.dims["kernel_h"].constant or 0) for _, op in subject.graph.ops() if is_convolution(op) and is_depthwise(op)
    ]  # fmt: skip


def _depthwise(least: int) -> Condition:
    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        if max(_sides(subject), default=0) >= least:
            return None
        return Refusal(
            f"the model has no depthwise convolution of {least} × {least} or more", "a network such as convnext_tiny"
        )

    return refuse


PARTIAL = register(Technique(
    name="partial-convolution",
    title="Partial convolution in the place of depthwise ones (FasterNet)",
    family="architecture",
    mechanism="a dense convolution on a share of the channels replaces a depthwise one on all: it reads and writes as little as that share, with products a matrix unit can run",
    papers=("run-don-t-walk",),
    citation="FasterNet, arXiv 2303.03667",
    parameters=(Parameter("share", 0.25, "share of the channels that is convolved", low=0.02, high=1.0, trials=(0.125,)),),
    edits=(Edit("graph", "depthwise", lambda subject, settings: with_rewrite(subject, "partial_convolution", share=settings["share"])),),
    refuse=every(has("conv", what="convolutions"), _depthwise(3)),
))  # fmt: skip


BANDED = register(Technique(
    name="inception-depthwise",
    title="Large depthwise kernels split into a square and two bands (InceptionNeXt)",
    family="architecture",
    mechanism="a share of the channels goes through a small square, a lying and a standing band each, the rest passes by: fewer reads of an operator whose FLOPs were never the cost",
    papers=("inceptionnext",),
    citation="InceptionNeXt, arXiv 2303.16900",
    parameters=(
        Parameter("share", 0.125, "share of the channels that each of the three branches takes", low=0.01, high=0.33),
        Parameter("band", 11, "length of the bands", low=3, high=51),
    ),
    edits=(Edit("graph", "depthwise", lambda subject, settings: with_rewrite(subject, "banded_depthwise", share=settings["share"], band=settings["band"])),),
    refuse=every(has("conv", what="convolutions"), _depthwise(5)),
))  # fmt: skip


def _wider(subject: Subject, settings: Settings) -> Scenario:
    if settings["flops"] == 1:
        return subject.scenario
    return with_rewrite(subject, "fewer_channels", share=math.sqrt(settings["flops"]))


def _captured(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.graph.attrs.get("kind") == "module" and subject.image:
        return None
    return Refusal("its graph is no captured network of images", "an image model such as resnet50")


WIDTH = register(Technique(
    name="width-scaling",
    title="A network scaled by its width alone (fast compound scaling)",
    family="architecture",
    mechanism="FLOPs grow with the square of the channels and activations only with the channels, so bytes grow as the root of FLOPs",
    papers=("fast-and-accurate-model-scaling",),
    citation="Fast and accurate model scaling, arXiv 2103.06877",
    parameters=(Parameter("flops", 2.0, "FLOPs over the network's own", low=0.02, high=64.0, trials=(0.5,), neutral=1.0),),
    edits=(Edit("graph", "width", _wider),),
    refuse=_captured,
    whatif=False,
))  # fmt: skip
