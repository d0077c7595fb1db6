"""PowerInfer: neurons that fire often on the device, the many that seldom do in the host's memory and computed there."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every
from ...placing import weights_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _split(subject: Subject, settings: Settings) -> Scenario:
    cold = settings["cold"]
    return with_place(subject, Place("weights", "host", cold, use=cold * settings["use"], way="computed"))


HOT_NEURONS = register(Technique(
    name="hot-neurons",
    title="Hot neurons on the device, cold ones on the host (PowerInfer)",
    family="offload",
    mechanism="the host keeps the neurons that are seldom active and computes them where they lie, beside the device's hot ones",
    citation="PowerInfer, arXiv 2312.12456",
    parameters=(
        Parameter("cold", 0.8, "share of the weights kept on the host", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),
        Parameter("use", 0.25, "activity of cold neurons over the mean", low=0.0, high=1.0),
    ),
    edits=(Edit("workload", "places.weights", _split),),
    refuse=every(decoding, weights_outside),
    memory_only=True,
))  # fmt: skip
