"""Pictures that lie channels last."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, has
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _last(subject: Subject, settings: Settings) -> Scenario:
    return with_model(subject, layout="channels_last")


def _captured(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.graph.attrs.get("kind") != "module" or not subject.graph.attrs.get("inputs"):
        return Refusal("how its pictures lie is for its own software to say", "a captured module such as resnet50")
    if subject.model.layout == "channels_last" or subject.graph.attrs.get("layout") == "channels_last":
        return Refusal("its pictures lie channels last already")
    return None


CHANNELS_LAST = register(Technique(
    name="channels-last",
    title="Channels-last memory format (NHWC)",
    family="kernels",
    mechanism="convolutions read their channels in a row as products do, so that nothing is reordered around them; what works on planes may have to copy",
    citation="PyTorch, Channels Last Memory Format tutorial",
    edits=(Edit("graph", "layout", _last),),
    refuse=every(has("conv", what="convolutions"), _captured),
    exact=True,
))  # fmt: skip
