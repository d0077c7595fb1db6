"""Weights kept in the host's memory or on a disk and streamed through the device, a layer ahead of its use."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import weights_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", settings["tier"], settings["share"]))


WEIGHTS_OUTSIDE = register(Technique(
    name="weights-offload",
    title="Weights streamed from host memory or a disk",
    family="offload",
    mechanism="a share of the weights lies outside the device and crosses the link every step, the next layer's while one computes",
    papers=("flexgen", "hermes"),
    citation="FlexGen, arXiv 2303.06865; ZeRO-Inference, arXiv 2207.00032",
    parameters=(
        Parameter("share", 1.0, "share of the weights kept outside", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),
        Parameter("tier", "host", "where they lie", choices=("host", "disk")),
    ),
    edits=(Edit("workload", "places.weights", _out),),
    refuse=weights_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
