"""MCUNetV2: the first layers patch by patch, so that their activations never lie in memory whole."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _patched(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(subject, "patches", n=settings["patches"])


def _windows(subject: Subject, settings: Settings) -> Refusal | None:
    first = subject.graph.blocks[0]
    if any(op.kind == "conv" for op in first.ops) and first.outputs and first.count.constant == 1:
        return None
    return Refusal("its first layers are no convolutions", "a convolutional network")


PATCHES = register(Technique(
    name="patch-based-inference",
    title="Patch-based inference (MCUNetV2)",
    family="edge",
    mechanism="layers at high resolution run for one patch of the image at a time; peak activations shrink, overlapping borders are "
    "computed again",
    papers=("mcunetv2",),
    citation="MCUNetV2, arXiv 2110.15352",
    parameters=(Parameter("patches", 3, "patches a side", low=1, neutral=1, trials=(2, 4)),),
    edits=(Edit("graph", "patches", _patched),),
    refuse=every(inference, has("conv", what="convolutions"), _windows),
    exact=True,
))  # fmt: skip
