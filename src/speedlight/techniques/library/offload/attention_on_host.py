"""Keys and values in the host's memory, attention computed there by the host's processor."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every
from ...placing import kv_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _there(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("kv", "host", settings["share"], way="computed"))


HOST_ATTENTION = register(Technique(
    name="host-attention",
    title="Decode attention on the host's processor",
    family="offload",
    mechanism="keys and values never cross the link: the host reads them from its own memory, only queries and results cross",
    papers=("flexgen",),
    citation="FlexGen, arXiv 2303.06865 section 4.3; FastDecode, arXiv 2403.11421",
    parameters=(Parameter("share", 1.0, "share of keys and values kept there", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),),
    edits=(Edit("workload", "places.kv", _there),),
    refuse=every(decoding, kv_outside),
    exact=True,
    memory_only=True,
))  # fmt: skip
