"""Bytes from a disk to the device without a stop in the host's memory."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every
from ...placing import offloading, with_transfers
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register


def _from_disk(subject: Subject, settings: Settings) -> Refusal | None:
    if any(place.tier == "disk" for place in subject.workload.places):
        return None
    return Refusal("nothing is read from a disk", "--offload weights:disk")


def _bypass(subject: Subject, settings: Settings) -> Scenario:
    return with_transfers(subject, bypass=True, piped=True, copy=0)


DIRECT_STORAGE = register(Technique(
    name="direct-storage",
    title="Disk to device without the host's memory (GPUDirect Storage)",
    family="offload",
    mechanism="the disk's DMA writes into the device: the host's memory and its copying threads leave the path",
    papers=("endor",),
    citation="NVIDIA GPUDirect Storage; Endor, arXiv 2406.11674",
    edits=(Edit("stack", "stack.transfers.path", _bypass),),
    refuse=every(offloading, _from_disk),
    exact=True,
))  # fmt: skip
