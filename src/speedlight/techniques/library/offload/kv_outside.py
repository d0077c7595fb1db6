"""Keys and values kept in the host's memory or on a disk, fetched layer by layer when attention reads them."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import kv_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("kv", settings["tier"], settings["share"]))


KV_OUTSIDE = register(Technique(
    name="kv-offload",
    title="KV cache in host memory",
    family="offload",
    mechanism="cached keys and values lie outside the device; what attention reads crosses the link every step, a layer ahead",
    papers=("flexgen",),
    citation="FlexGen, arXiv 2303.06865",
    parameters=(
        Parameter("share", 1.0, "share of keys and values kept outside", low=0.0, high=1.0, neutral=0.0, trials=(0.5,)),
        Parameter("tier", "host", "where they lie", choices=("host", "disk")),
    ),
    edits=(Edit("workload", "places.kv", _out),),
    refuse=kv_outside,
    exact=True,
    memory_only=True,
))  # fmt: skip
