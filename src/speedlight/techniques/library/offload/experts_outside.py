"""Experts in the host's memory, fetched when a router has picked them; those used most stay on the device."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import experts_outside, with_place, with_transfers
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    share = settings["share"]
    return with_place(subject, Place("experts", "host", share, use=share * (1 - settings["hit"])))


EXPERTS_OUTSIDE = register(Technique(
    name="expert-offload",
    title="Experts in host memory, fetched on demand with a cache",
    family="offload",
    mechanism="picked experts that are not cached cross the link before their layer goes on: only the router knows which they are",
    papers=("pre-gated-moe",),
    citation="Eliseev and Mazur, arXiv 2312.17238",
    parameters=(
        Parameter("share", 1.0, "share of the experts kept outside", low=0.0, high=1.0, trials=(0.5,)),
        Parameter("hit", 0.0, "share of the picks of those that a cache serves beyond an even use", low=0.0, high=1.0),
    ),
    edits=(
        Edit("workload", "places.experts", _out),
        Edit("stack", "stack.transfers", lambda subject, settings: with_transfers(subject, ahead=False)),
    ),
    refuse=experts_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
