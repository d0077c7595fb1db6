"""InstInfer: keys and values on computational disks that do decode attention at the flash's own rate."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every
from ...placing import kv_outside, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _there(subject: Subject, settings: Settings) -> Scenario:
    rate = settings["channels"] * settings["channel_gb_s"] * 1e9
    return with_place(subject, Place("kv", "disk", 1.0, way="computed", rate=rate))


IN_STORAGE = register(Technique(
    name="in-storage-attention",
    title="Attention inside computational disks (InstInfer)",
    family="offload",
    mechanism="keys and values are read at the sum of a disk's flash channels; queries and results alone cross the link",
    papers=("instinfer",),
    citation="InstInfer, arXiv 2409.04992",
    parameters=(
        Parameter("channels", 8.0, "flash channels of all disks", low=1.0, trials=(16.0, 32.0)),
        Parameter("channel_gb_s", 1.4, "of a channel (ONFI 4.1: 1.2 to 1.6)", "GB/s", low=0.1),
    ),
    edits=(Edit("workload", "places.kv", _there),),
    refuse=every(decoding, kv_outside),
    exact=True,
    memory_only=True,
    kernel_grade="assumed",
))  # fmt: skip
