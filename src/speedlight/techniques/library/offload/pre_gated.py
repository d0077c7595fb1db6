"""Pre-gated MoE: a layer's router picks the next layer's experts, so that they come while this one computes."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import experts_outside, with_place, with_transfers
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("experts", "host", settings["share"]))


PRE_GATED = register(Technique(
    name="pre-gated-experts",
    title="Experts fetched a layer ahead (Pre-gated MoE)",
    family="offload",
    mechanism="experts lie in host memory; gates that decide one layer early let their transfer run beside a layer's computing",
    papers=("pre-gated-moe",),
    citation="Hwang et al., arXiv 2308.12066",
    parameters=(Parameter("share", 1.0, "share of the experts kept outside", low=0.0, high=1.0, trials=(0.5,)),),
    edits=(
        Edit("workload", "places.experts", _out),
        Edit("stack", "stack.transfers", lambda subject, settings: with_transfers(subject, ahead=True)),
    ),
    refuse=experts_outside,
    memory_only=True,
))  # fmt: skip
