"""Experts that are not on the device are computed by the host, where they lie."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import experts_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _there(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("experts", "host", settings["share"], way="computed"))


HOST_EXPERTS = register(Technique(
    name="host-experts",
    title="Experts computed on the host (Fiddler, KTransformers)",
    family="offload",
    mechanism="tokens cross the link to the experts instead of experts to the tokens; the host streams picked experts from its memory",
    citation="Fiddler, arXiv 2402.07033",
    parameters=(Parameter("share", 1.0, "share of the experts kept there", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),),
    edits=(Edit("workload", "places.experts", _there),),
    refuse=experts_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
