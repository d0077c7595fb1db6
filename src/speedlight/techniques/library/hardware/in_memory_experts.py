"""Duplex: experts whose few tokens leave them bound by bandwidth run on the logic die beneath the memory."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every, has
from ...placing import not_yet, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _die(subject: Subject, settings: Settings) -> Scenario:
    rate = settings["ratio"] * subject.machine.main.bandwidth
    place = Place("experts", "memory", settings["share"], way="computed", rate=rate, intensity=settings["intensity"])
    return with_place(subject, place)


IN_MEMORY_EXPERTS = register(Technique(
    name="in-memory-experts",
    title="Experts on the memory's logic die (Duplex)",
    family="hardware",
    mechanism="a share of the experts is read at the rate of extra through-silicon vias and computed there while the device does the rest",
    papers=("duplex",),
    citation="Duplex, arXiv 2409.01141",
    parameters=(
        Parameter("share", 0.8, "share of the experts' work that goes there", low=0.0, high=1.0, neutral=0.0),
        Parameter("ratio", 4.0, "bandwidth inside the memory over the bus's", low=1.0),
        Parameter("intensity", 8.0, "operations its units do for each byte they read", "FLOP/B", low=0.1),
    ),
    edits=(Edit("workload", "places.experts", _die),),
    refuse=every(decoding, has("moe", what="experts"), not_yet("experts")),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
