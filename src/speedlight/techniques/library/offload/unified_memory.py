"""Device memory oversubscribed through the driver: pages come when they are touched."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...placing import weights_outside, with_place, with_transfers
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _out(subject: Subject, settings: Settings) -> Scenario:
    return with_place(subject, Place("weights", "host", settings["share"]))


def _paged(subject: Subject, settings: Settings) -> Scenario:
    return with_transfers(subject, ahead=False, piped=False, page_bytes=65536, fault_s=3e-5, faults=4)


UNIFIED = register(Technique(
    name="unified-memory",
    title="Unified memory, demand-paged",
    family="offload",
    mechanism="weights beyond the device's memory are paged in by faults while kernels wait: no prefetch, a fault's latency a block",
    papers=("harmony",),
    citation="CUDA C++ Programming Guide, unified memory; Harmony, arXiv 2202.01306",
    parameters=(Parameter("share", 1.0, "share of the weights outside", low=0.0, high=1.0, trials=(0.5,)),),
    edits=(Edit("workload", "places.weights", _out), Edit("stack", "stack.transfers", _paged)),
    refuse=weights_outside,
    exact=True,
    memory_only=True,
    kernel_grade="assumed",
))  # fmt: skip
