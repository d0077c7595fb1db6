"""Whole layers on the host's processor, the rest on the device, one after the other (llama.cpp's partial offload)."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import weights_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _layers(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", "host", settings["share"], way="layers"))


HOST_LAYERS = register(Technique(
    name="host-layers",
    title="Some layers on the host's processor",
    family="offload",
    mechanism="a share of the layers is computed where its weights lie, in the host's memory; device and host take turns",
    citation="llama.cpp, --n-gpu-layers",
    parameters=(Parameter("share", 0.5, "share of the layers on the host", low=0.0, high=1.0, neutral=0.0, trials=(0.25,)),),
    edits=(Edit("workload", "places.weights", _layers),),
    refuse=weights_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
